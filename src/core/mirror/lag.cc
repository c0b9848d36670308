// See lag.h.
#include "src/core/mirror/lag.h"

#include <algorithm>

namespace baton::mirror {

void Lag::answered(Instant now, bool at_peer) {
  if (!at_peer) {
    missing_since_ = std::min(missing_since_, now);
    return;
  }
  unflushed_since_ = std::min(unflushed_since_, now);
  after_flush_ = std::min(after_flush_, now);
}

uint64_t Lag::on_its_way(Instant now, uint64_t blocks) {
  on_its_way_.push_back({now, false});
  blocks_ += blocks;
  return next_number_++;
}

void Lag::arrived(uint64_t number, uint64_t blocks) {
  const uint64_t first = next_number_ - on_its_way_.size();
  if (number < first || number >= next_number_) return;
  blocks_ -= blocks;
  on_its_way_[number - first].arrived = true;
  while (!on_its_way_.empty() && on_its_way_.front().arrived) on_its_way_.pop_front();
}

void Lag::flush_begun() { after_flush_ = on_its_way_.empty() ? kNever : on_its_way_.front().answered; }

void Lag::flush_ended() { unflushed_since_ = after_flush_; }

void Lag::link_lost() {
  on_its_way_.clear();
  blocks_ = 0;
  missing_since_ = since();
  unflushed_since_ = after_flush_ = kNever;
}

Instant Lag::since() const { return std::min(missing_since_, unflushed_since_); }

}  // namespace baton::mirror
