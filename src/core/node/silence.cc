// Signs of life of the other batonds. Pure.
#include "src/core/node/silence.h"

#include <algorithm>

namespace baton::node {

void Silence::view_changed(Instant now, const std::set<ServerId>& members) {
  members_ = members;
  view_since_ = now;
  returned_sent_ = Instant{};
  sent_.clear();
  heard_at_.clear();
}

uint64_t Silence::beat_sent(Instant now) {
  sent_[++sequence_] = now;
  return sequence_;
}

void Silence::beat_received(Instant now, ServerId from, uint64_t start, uint64_t sequence) {
  if (!members_.contains(from)) return;
  if (from != self_) {
    heard_at_[from] = now;
    return;
  }
  const auto sent = start == start_ ? sent_.find(sequence) : sent_.end();
  if (sent == sent_.end()) return;
  returned_sent_ = std::max(returned_sent_, sent->second);
  sent_.erase(sent_.begin(), std::next(sent));
}

Instant Silence::last_heard(ServerId voter) const {
  const auto heard = heard_at_.find(voter);
  return heard == heard_at_.end() ? Instant{} : heard->second;
}

std::set<ServerId> Silence::silent(Duration threshold) const {
  std::set<ServerId> quiet;
  if (returned_sent_ == Instant{}) return quiet;
  for (const ServerId voter : members_) {
    if (voter == self_) continue;
    const Instant heard = std::max(last_heard(voter), view_since_);
    if (heard + threshold < returned_sent_) quiet.insert(voter);
  }
  return quiet;
}

}  // namespace baton::node
