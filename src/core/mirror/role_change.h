// RoleChange: promotion, hand-over and the end in order: each a few durable steps that may take a while.
// docs/protocol.md, P1, P3, S4, O2, O4, "Promotion".
#pragma once

#include <optional>
#include <string>

#include "src/core/mirror/operations.h"

namespace baton::mirror {

struct CopyCore;

class RoleChange {
 public:
  explicit RoleChange(CopyCore& core) : core_(core) {}

  void promote(Permit permit);
  void demote();
  void abort(const std::string& reason);
  void stop();
  void operation_done(uint64_t subject, bool ok);
  /// SAFETY: P3 a promotion under way under an older permit comes to nothing.
  void permit_seen(Permit permit);
  /// CopyCore::step_down: a hand-over under way has nothing left to hand over.
  void stepped_down();
  void advance();

  /// The snapshot's content is the store's again (a forced promotion of an inconsistent copy).
  void flushed_first(uint64_t token, bool ok);
  void reverted(bool ok);

  /// The store is not being changed as a whole (O2).
  bool drained() const { return revert_ != Revert::kRunning; }
  bool stopping() const { return stopping_; }
  bool demoting() const { return demoting_; }
  /// A role is being taken or given up.
  bool changing() const { return promoting_.has_value() || demoting_ || stopping_; }

 private:
  std::string refusal(Permit permit) const;
  void refuse(const std::string& reason);
  void take_permit();
  void give_up_promotion();
  bool begin_promotion();
  bool flush_first();
  void advance_promotion();
  void advance_demotion();
  void advance_stop();

  CopyCore& core_;
  std::optional<Permit> promoting_;
  bool promotion_saving_ = false;
  uint64_t promotion_saved_ = 0;
  bool fresh_ = false;  // the promotion made a generation that nobody else has
  bool drop_snapshot_ = false;  // once the promotion is on disk
  enum class Revert { kNone, kCovering, kRunning, kDone } revert_ = Revert::kNone;
  enum class FirstFlush { kNone, kRunning, kDone } first_flush_ = FirstFlush::kNone;
  uint64_t first_flush_token_ = 0;
  bool demoting_ = false;
  uint64_t demotion_round_ = 0;
  bool demotion_saving_ = false;
  uint64_t demotion_saved_ = 0;
  bool stop_wanted_ = false;  // after the demotion
  bool stopping_ = false;
  enum class StopStep { kDrain, kFlush, kJournal, kSave, kDone } stop_step_ = StopStep::kDrain;
  uint64_t stop_saved_ = 0;
};

}  // namespace baton::mirror
