// OrderedWork: the order in which a secondary carries out what a primary of protocol A or B sends, where a write is
// answered before it is on this disk: overlapping ones in their order, and nothing that the client wrote after a flush
// before everything that it had flushed is durable here. Pure. docs/protocol.md, A2, A3.
#pragma once

#include <cstdint>
#include <deque>
#include <vector>

#include "src/core/mirror/range_locks.h"

namespace baton::mirror {

class OrderedWork {
 public:
  enum class Kind { kRead, kWrite, kFlush };

  /// `number` names it; comes back from take().
  void add(Kind kind, uint64_t number, BlockRange range, uint64_t epoch);
  /// It has ended (a flush does not end here: nothing waits for it).
  void done(uint64_t number);
  /// The flush between two epochs has ended.
  void barrier_done() { barrier_running_ = false; }

  /// What may begin now: appended to `begin`. True: a flush must be made first, then barrier_done() called.
  bool take(std::vector<uint64_t>& begin);

  /// Everything that waits for its turn is given up: appended to `numbers`. What has begun goes on.
  void give_up_waiting(std::vector<uint64_t>& numbers);

  bool empty() const { return queue_.empty() && running_.empty() && !barrier_running_; }

 private:
  struct Work {
    Kind kind;
    uint64_t number;
    BlockRange range;
    uint64_t epoch;
  };
  struct Running {
    uint64_t number;
    LockHandle lock;
  };

  std::deque<Work> queue_;
  std::vector<Running> running_;  // begun, or waiting for an overlapping one
  RangeLocks locks_;
  std::vector<uint64_t> granted_;
  uint64_t epoch_ = 0;
  bool barrier_running_ = false;
  bool written_ = false;  // since the last barrier
};

}  // namespace baton::mirror
