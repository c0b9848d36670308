// The lease: granted beats on the holder's side, remembered grants on the grantor's. Pure. docs/protocol.md,
// "Leases".
#include "src/core/lease/lease.h"

#include <algorithm>
#include <functional>

#include "src/base/planted.h"

namespace baton::lease {

Lease::Lease(const Settings& settings, uint64_t start, Instant now)
    : settings_(settings), voters_(settings.voters), servers_(settings.voters.all()), start_(start), started_(now) {}

void Lease::set_voters(const VoterSet& voters, uint64_t index, const std::set<ServerId>& servers) {
  voters_ = voters;
  voters_index_ = index;
  servers_ = voters.all();
  servers_.insert(servers.begin(), servers.end());
}

void Lease::view_changed(Instant now, const std::set<ServerId>& members) {
  members_ = members;
  view_since_ = now;
  returned_sent_ = Instant{};
  heard_.clear();
  heard_at_.clear();
  heard_voters_.clear();
  acknowledged_.clear();
}

Beat Lease::make_beat(Instant now, const std::set<ServerId>& withheld) {
  Beat beat;
  beat.sequence = ++sequence_;
  beat.start = start_;
  beat.voters_index = voters_index_;
  sent_[sequence_] = now;
  while (!sent_.empty() && sent_.begin()->second + settings_.lease < now) sent_.erase(sent_.begin());
  for (const auto& [voter, heard] : heard_) {
    if (withheld.contains(voter)) continue;
    // SAFETY: V5. A holder that does not know the newest change of voters counts by a majority that may have passed.
    if (heard_voters_.at(voter) < voters_index_) continue;
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
  heard_voters_[from] = beat.voters_index;
  const auto own = beat.heard.find(settings_.self);
  if (own == beat.heard.end() || own->second.start != start_) return;
  auto& acknowledged = acknowledged_[from];
  acknowledged = std::max(acknowledged, own->second.sequence);
  renew();
}

/// The newest own beat that a majority has granted, itself included: the lease runs from its sending.
void Lease::renew() {
  std::map<ServerId, uint64_t> granted = acknowledged_;
  granted[settings_.self] = sequence_;
  const auto by_majority = voters_.reached(granted, std::greater<uint64_t>());
  if (!by_majority) return;
  const auto sent = sent_.find(*by_majority);
  // SAFETY: from the sending, never from the receipt.
  if (sent != sent_.end()) lease_until_ = std::max(lease_until_, sent->second + settings_.lease);
}

std::map<ServerId, Duration> Lease::left(Instant now) const {
  std::map<ServerId, Duration> remaining;
  std::set<ServerId> servers = servers_;
  for (const auto& [server, when] : granted_) servers.insert(server);
  for (const ServerId voter : servers) {
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
