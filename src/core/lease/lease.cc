// The lease: granted beats on the holder's side, remembered grants on the grantor's. Pure. docs/protocol.md,
// "Leases".
#include "src/core/lease/lease.h"

#include <algorithm>

#include "src/base/planted.h"

namespace baton::lease {

namespace {

/// With the clocks' drift (1%), rounded up.
Duration with_drift(Duration duration) { return duration + duration / 100 + Duration{1}; }

}  // namespace

Lease::Lease(const Settings& settings, uint64_t start, Instant now)
    : settings_(settings), start_(start), started_(now) {}

void Lease::view_changed(Instant now, const std::set<ServerId>& members) {
  members_.clear();
  for (const ServerId voter : settings_.voters)
    if (members.contains(voter)) members_.insert(voter);
  view_since_ = now;
  returned_sent_ = Instant{};
  heard_.clear();
  heard_at_.clear();
  acknowledged_.clear();
}

Beat Lease::make_beat(Instant now, const std::set<ServerId>& withheld) {
  Beat beat;
  beat.sequence = ++sequence_;
  beat.start = start_;
  sent_[sequence_] = now;
  while (!sent_.empty() && sent_.begin()->second + settings_.lease < now) sent_.erase(sent_.begin());
  for (const auto& [voter, heard] : heard_) {
    if (withheld.contains(voter)) continue;
    beat.heard[voter] = heard;
    // SAFETY: a grant. The holder counts from its sending of that beat, which was before the receipt here.
    auto& granted = granted_[voter];
    granted = std::max(granted, heard_at_.at(voter));
  }
  renew();  // a majority of one
  return beat;
}

void Lease::beat_received(Instant now, ServerId from, const Beat& beat) {
  if (!members_.contains(from)) return;
  if (from == settings_.self) {
    const auto sent = beat.start == start_ ? sent_.find(beat.sequence) : sent_.end();
    if (sent != sent_.end()) returned_sent_ = std::max(returned_sent_, sent->second);
    return;
  }
  heard_[from] = Beat::Heard{beat.start, beat.sequence};
  heard_at_[from] = now;
  const auto own = beat.heard.find(settings_.self);
  if (own == beat.heard.end() || own->second.start != start_) return;
  auto& acknowledged = acknowledged_[from];
  acknowledged = std::max(acknowledged, own->second.sequence);
  renew();
}

/// The newest own beat that a majority has granted, itself included: the lease runs from its sending.
void Lease::renew() {
  std::vector<uint64_t> granted{sequence_};
  for (const auto& [voter, sequence] : acknowledged_) granted.push_back(sequence);
  const size_t majority = settings_.voters.size() / 2 + 1;
  if (granted.size() < majority) return;
  std::sort(granted.rbegin(), granted.rend());
  const auto sent = sent_.find(granted[majority - 1]);
  // SAFETY: from the sending, never from the receipt.
  if (sent != sent_.end()) lease_until_ = std::max(lease_until_, sent->second + settings_.lease);
}

std::map<ServerId, Duration> Lease::left(Instant now) const {
  std::map<ServerId, Duration> remaining;
  for (const ServerId voter : settings_.voters) {
    Instant over{};
    // SAFETY: a restart counts as a grant to everybody: what was granted before it is forgotten.
    if (!planted(Plant::kLeaseForgottenAtRestart)) over = started_ + with_drift(settings_.lease);
    const auto granted = granted_.find(voter);
    if (granted != granted_.end()) over = std::max(over, granted->second + with_drift(settings_.lease));
    if (voter == settings_.self)
      over = std::max(over, lease_until_ + with_drift(settings_.lease) - settings_.lease);
    remaining[voter] = std::max(Duration{0}, over - now);
  }
  return remaining;
}

Instant Lease::last_heard(ServerId voter) const {
  const auto heard = heard_at_.find(voter);
  return heard == heard_at_.end() ? Instant{} : heard->second;
}

std::set<ServerId> Lease::silent(Duration threshold) const {
  std::set<ServerId> quiet;
  if (returned_sent_ == Instant{}) return quiet;
  for (const ServerId voter : members_) {
    if (voter == settings_.self) continue;
    const Instant heard = std::max(last_heard(voter), view_since_);
    if (heard + threshold < returned_sent_) quiet.insert(voter);
  }
  return quiet;
}

}  // namespace baton::lease
