// See activity_log.h.
#include "src/core/mirror/activity_log.h"

#include <algorithm>

#include "src/base/assert.h"

namespace baton::mirror {

ActivityLog::ActivityLog(uint32_t capacity, const std::vector<uint64_t>& stored) : capacity_(capacity) {
  for (const uint64_t number : stored) {
    if (extents_.contains(number)) continue;
    extents_[number].suspect = true;
    ++suspects_;
  }
}

void ActivityLog::touch(uint64_t number, Extent& extent, Instant now) {
  extent.last_use = now;
  if (!extent.hot) {
    extent.hot = true;
    extent.recency = recency_.insert(recency_.end(), number);
  } else {
    recency_.splice(recency_.end(), recency_, extent.recency);
  }
}

uint64_t ActivityLog::shortage(BlockRange range) const {
  uint64_t missing = 0;
  for (uint64_t number = first_extent(range); number <= last_extent(range); ++number) {
    if (!extents_.contains(number)) ++missing;
  }
  const uint64_t wanted = extents_.size() + missing;
  return missing == 0 || wanted <= capacity_ ? 0 : wanted - capacity_;
}

std::optional<uint64_t> ActivityLog::use(BlockRange range, Instant now) {
  if (shortage(range) > 0) return std::nullopt;
  uint64_t batch = 0;
  for (uint64_t number = first_extent(range); number <= last_extent(range); ++number) {
    const auto [place, fresh] = extents_.try_emplace(number);
    if (fresh) {
      place->second.batch = next_batch_;
      changed_ = true;
    }
    ++place->second.users;
    touch(number, place->second, now);
    batch = std::max(batch, place->second.batch);
  }
  return batch;
}

void ActivityLog::unuse(BlockRange range, uint64_t completion, Instant now) {
  for (uint64_t number = first_extent(range); number <= last_extent(range); ++number) {
    Extent& extent = extents_.at(number);
    BATON_ASSERT(extent.users > 0);
    --extent.users;
    extent.last_completion = std::max(extent.last_completion, completion);
    touch(number, extent, now);
  }
}

void ActivityLog::forget(std::map<uint64_t, Extent>::iterator place) {
  if (place->second.hot) recency_.erase(place->second.recency);
  if (place->second.suspect) --suspects_;
  extents_.erase(place);
  changed_ = true;
}

void ActivityLog::cool(uint64_t number) {
  const auto place = extents_.find(number);
  BATON_ASSERT(place != extents_.end() && place->second.hot && place->second.users == 0);
  if (!place->second.suspect) return forget(place);
  recency_.erase(place->second.recency);
  place->second.hot = false;
}

std::vector<uint64_t> ActivityLog::suspect_list() const {
  std::vector<uint64_t> found;
  for (const auto& [number, extent] : extents_) {
    if (extent.suspect) found.push_back(number);
  }
  return found;
}

void ActivityLog::clear_suspects() {
  for (auto place = extents_.begin(); place != extents_.end() && suspects_ > 0;) {
    const auto present = place++;
    if (!present->second.suspect) continue;
    if (present->second.hot || present->second.users > 0) {
      present->second.suspect = false;
      --suspects_;
    } else {
      forget(present);
    }
  }
}

std::vector<uint64_t> ActivityLog::take_suspects(size_t limit) {
  std::vector<uint64_t> taken;
  for (auto& [number, extent] : extents_) {
    if (taken.size() == limit) break;
    if (!extent.suspect) continue;
    extent.suspect = false;
    --suspects_;
    if (!extent.hot) {  // the first to leave
      extent.hot = true;
      extent.recency = recency_.insert(recency_.begin(), number);
    }
    taken.push_back(number);
  }
  return taken;
}

void ActivityLog::become_suspects() {
  for (auto& [number, extent] : extents_) {
    extent.users = 0;
    extent.hot = false;
    extent.suspect = true;
  }
  recency_.clear();
  suspects_ = extents_.size();
}

void ActivityLog::clear() {
  if (extents_.empty()) return;
  extents_.clear();
  recency_.clear();
  suspects_ = 0;
  changed_ = true;
}

std::vector<uint64_t> ActivityLog::begin_batch() {
  BATON_ASSERT(in_flight_ == 0);
  in_flight_ = next_batch_++;
  changed_ = false;
  std::vector<uint64_t> numbers;
  numbers.reserve(extents_.size());
  for (const auto& [number, extent] : extents_) numbers.push_back(number);
  return numbers;
}

void ActivityLog::end_batch(bool ok) {
  if (ok) {
    durable_ = std::max(durable_, in_flight_);
  } else {
    changed_ = true;
  }
  in_flight_ = 0;
}

}  // namespace baton::mirror
