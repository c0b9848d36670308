// RangeLocks: overlapping requests take their turns in the order in which they came; reads share. First come,
// first served keeps it fair between client requests and copy steps. Pure. docs/protocol.md, O1.
#pragma once

#include <cstdint>
#include <map>
#include <vector>

#include "src/core/mirror/mirror_types.h"

namespace baton::mirror {

enum class LockMode {
  kRead,   // shares with reads and copies
  kCopy,   // reads here, writes at the peer: shares with reads
  kWrite,  // alone
};

/// Names a lock, held or waited for. order 0: none.
struct LockHandle {
  uint64_t first = 0;
  uint64_t order = 0;
  auto operator<=>(const LockHandle&) const = default;
};

class RangeLocks {
 public:
  /// Joins the queue; `granted` says whether the lock is held at once. `owner` comes back from release() later.
  LockHandle acquire(BlockRange range, LockMode mode, uint64_t owner, bool& granted);

  /// Gives up a lock, held or waited for, and appends the owners whose turn has come. Nothing if it is gone.
  void release(LockHandle handle, std::vector<uint64_t>& granted);

  size_t size() const { return entries_.size(); }
  /// Forgets all locks; the handles of before name nothing any more.
  void clear() { entries_.clear(); }

 private:
  struct Entry {
    BlockRange range;
    LockMode mode;
    uint64_t owner;
    uint32_t blockers;  // earlier entries that overlap and exclude this one
  };

  static bool excludes(const Entry& left, const Entry& right);
  std::map<LockHandle, Entry>::iterator first_overlap(BlockRange range);

  std::map<LockHandle, Entry> entries_;
  uint64_t next_order_ = 1;
  uint64_t longest_ = 1;  // blocks of the longest range ever seen: how far back an overlap may begin
};

}  // namespace baton::mirror
