// Maintenance: what a person asks of a copy besides its roles: to forget its data, to grow, to be read for a backup.
// docs/protocol.md, M1-M3.
#pragma once

#include <optional>
#include <string>

#include "src/core/mirror/operations.h"

namespace baton::mirror {

struct CopyCore;

class Maintenance {
 public:
  explicit Maintenance(CopyCore& core) : core_(core) {}

  void discard();
  void grow(uint64_t size_blocks);
  void backup(bool wanted);
  void advance();

  /// The store is being read from outside: nothing may write to it.
  bool backup() const { return backup_ || backup_wanted_; }

 private:
  enum class Step { kNone, kDrain, kJournal, kSave };

  std::string backup_refusal() const;
  void refuse(const std::string& request, const std::string& reason);
  void advance_discard();
  void advance_grow();

  CopyCore& core_;
  Step discard_ = Step::kNone;
  uint64_t discard_saved_ = 0;
  Step grow_ = Step::kNone;
  uint64_t grow_saved_ = 0;
  bool backup_wanted_ = false;
  bool backup_ = false;
};

}  // namespace baton::mirror
