// See ordered_work.h.
#include "src/core/mirror/ordered_work.h"

#include <algorithm>

#include "src/base/assert.h"
#include "src/base/planted.h"

namespace baton::mirror {

void OrderedWork::add(Kind kind, uint64_t number, BlockRange range, uint64_t epoch) {
  queue_.push_back({kind, number, range, epoch});
}

void OrderedWork::done(uint64_t number) {
  const auto place =
      std::find_if(running_.begin(), running_.end(), [&](const Running& each) { return each.number == number; });
  if (place == running_.end()) return;
  const LockHandle lock = place->lock;
  *place = running_.back();
  running_.pop_back();
  locks_.release(lock, granted_);
}

void OrderedWork::give_up_waiting(std::vector<uint64_t>& numbers) {
  for (const Work& work : queue_) numbers.push_back(work.number);
  queue_.clear();
}

bool OrderedWork::take(std::vector<uint64_t>& begin) {
  begin.insert(begin.end(), granted_.begin(), granted_.end());
  granted_.clear();
  while (!queue_.empty() && !barrier_running_) {
    const Work work = queue_.front();
    if (work.kind == Kind::kFlush) {
      // It is no barrier for what follows: that may begin before it has ended.
      if (!running_.empty()) return false;
      begin.push_back(work.number);
      queue_.pop_front();
      continue;
    }
    if (work.epoch > epoch_ && !planted(Plant::kEpochBarrierLeftOut)) {
      // SAFETY: A2 what was flushed before these writes is durable here first.
      if (!running_.empty()) return false;
      epoch_ = work.epoch;
      if (written_) {
        written_ = false;
        barrier_running_ = true;
        return true;
      }
    }
    queue_.pop_front();
    bool granted = false;
    // SAFETY: A3 overlapping ones in the order in which they came.
    const LockMode mode = work.kind == Kind::kWrite ? LockMode::kWrite : LockMode::kRead;
    const LockHandle lock = locks_.acquire(work.range, mode, work.number, granted);
    running_.push_back({work.number, lock});
    written_ = written_ || work.kind == Kind::kWrite;
    if (granted) begin.push_back(work.number);
  }
  return false;
}

}  // namespace baton::mirror
