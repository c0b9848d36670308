// Each entry counts the earlier ones in its way; an entry that leaves counts them down. See range_locks.h.
#include "src/core/mirror/range_locks.h"

#include <algorithm>

#include "src/base/assert.h"

namespace baton::mirror {

bool RangeLocks::excludes(const Entry& left, const Entry& right) {
  if (!left.range.overlaps(right.range)) return false;
  if (left.mode == LockMode::kWrite || right.mode == LockMode::kWrite) return true;
  return left.mode == LockMode::kCopy && right.mode == LockMode::kCopy;
}

std::map<LockHandle, RangeLocks::Entry>::iterator RangeLocks::first_overlap(BlockRange range) {
  const uint64_t from = range.first < longest_ ? 0 : range.first - longest_;
  return entries_.lower_bound(LockHandle{from, 0});
}

LockHandle RangeLocks::acquire(BlockRange range, LockMode mode, uint64_t owner, bool& granted) {
  BATON_ASSERT(range.count > 0);
  longest_ = std::max(longest_, range.count);
  Entry entry{range, mode, owner, 0};
  for (auto place = first_overlap(range); place != entries_.end() && place->first.first < range.end();
       ++place) {
    if (excludes(place->second, entry)) ++entry.blockers;
  }
  granted = entry.blockers == 0;
  const LockHandle handle{range.first, next_order_++};
  entries_.emplace(handle, entry);
  return handle;
}

void RangeLocks::release(LockHandle handle, std::vector<uint64_t>& granted) {
  const auto leaving = entries_.find(handle);
  if (leaving == entries_.end()) return;
  const Entry gone = leaving->second;
  entries_.erase(leaving);
  for (auto place = first_overlap(gone.range); place != entries_.end() && place->first.first < gone.range.end();
       ++place) {
    if (place->first.order < handle.order || !excludes(gone, place->second)) continue;
    BATON_ASSERT(place->second.blockers > 0);
    if (--place->second.blockers == 0) granted.push_back(place->second.owner);
  }
}

}  // namespace baton::mirror
