// The lease: granted beats on the holder's side, remembered grants on the grantor's. Pure. docs/protocol.md,
// "Leases".
#include "src/core/guard/lease.h"

#include <algorithm>
#include <functional>

#include "src/base/planted.h"

namespace baton::guard {

Lease::Lease(const Settings& settings, uint64_t start, Instant now)
    : settings_(settings), start_(start), started_(now), voters_{{settings.voters.begin(), settings.voters.end()}, {}} {}

void Lease::view_changed(const std::set<ServerId>& members) {
  members_ = members;
  heard_.clear();
  acknowledged_.clear();
}

void Lease::set_knowledge(bool grants, const LogPosition& knows, const Fences& fences) {
  grants_ = grants;
  knows_ = knows;
  fences_ = fences;
}

void Lease::set_voters(const VoterSet& voters, const LogPosition& fence) {
  voters_ = voters;
  voters_fence_ = fence;
}

LogPosition Lease::fence_of(ServerId voter) const {
  if (planted(Plant::kFenceIgnored)) return {};
  const auto found = fences_.find(voter);
  const LogPosition fence = found == fences_.end() ? LogPosition{} : found->second;
  // SAFETY: V5. Who does not know the newest change of voters counts grants by a majority that may have passed. (This guard
  // goes by the change itself since it was told of it.)
  return voter == settings_.self ? fence : std::max(fence, voters_fence_);
}

Beat Lease::make_beat(Instant now) {
  Beat beat;
  beat.sequence = ++sequence_;
  beat.start = start_;
  beat.knows = knows_;
  sent_[sequence_] = {now, knows_};
  while (!sent_.empty() && sent_.begin()->second.when + settings_.lease < now) sent_.erase(sent_.begin());
  for (const auto& [voter, heard] : heard_) {
    // SAFETY: F3, F4. Nothing for a server that may not know what was taken from it.
    if (!grants_ || heard.knows < fence_of(voter)) continue;
    beat.granted[voter] = heard.beat;
    // SAFETY: a grant. The holder counts from its sending of that beat, which was before the receipt here.
    note_grant(voter, heard.knows, heard.when + with_drift(settings_.lease), now);
  }
  renew(now);  // a majority of one
  return beat;
}

void Lease::beat_received(Instant now, ServerId from, const Beat& beat) {
  if (from == settings_.self || !members_.contains(from)) return;
  heard_[from] = {{beat.start, beat.sequence}, beat.knows, now};
  const auto own = beat.granted.find(settings_.self);
  if (own == beat.granted.end() || own->second.start != start_) return;
  auto& acknowledged = acknowledged_[from];
  acknowledged = std::max(acknowledged, own->second.sequence);
  renew(now);
}

/// The newest own beat that a majority has granted, itself included: the lease runs from its sending.
void Lease::renew(Instant now) {
  if (!grants_ || fenced()) return;  // SAFETY: F3. Its own grant is one, too.
  std::map<ServerId, uint64_t> granted = acknowledged_;
  granted[settings_.self] = sequence_;
  const auto by_majority = voters_.reached(granted, std::greater<uint64_t>());  // V2
  if (!by_majority) return;
  const auto sent = sent_.find(*by_majority);
  if (sent == sent_.end() || sent->second.knows < fence_of(settings_.self)) return;
  // SAFETY: from the sending, never from the receipt.
  const Instant until = sent->second.when + settings_.lease;
  if (until <= lease_until_) return;
  lease_until_ = until;
  note_grant(settings_.self, sent->second.knows, until + with_drift(settings_.lease) - settings_.lease, now);
}

void Lease::note_grant(ServerId voter, const LogPosition& knows, Instant over, Instant now) {
  Grants& grants = given_[voter];
  std::erase_if(grants, [&](const auto& each) { return each.second < now; });
  auto& latest = grants[knows];
  latest = std::max(latest, over);
}

Account Lease::collect(bool below_fences, Instant now) const {
  // SAFETY: a start counts as a grant to everybody: what was granted before it is forgotten.
  const Instant least = planted(Plant::kLeaseForgottenAtRestart) ? now : std::max(now, started_ + with_drift(settings_.lease));
  Account account;
  for (const auto* servers : {&voters_.now, &voters_.before, &members_})
    for (const ServerId server : *servers) account.try_emplace(server, least);
  for (const ServerId server : settings_.voters) account.try_emplace(server, least);
  for (const auto& [server, grants] : given_) account.try_emplace(server, least);
  for (auto& [voter, over] : account) {
    const auto given = given_.find(voter);
    if (given != given_.end())
      for (const auto& [knows, until] : given->second)
        if (!below_fences || knows < fence_of(voter)) over = std::max(over, until);
  }
  return account;
}

Account Lease::account(Instant now) const { return collect(false, now); }
Account Lease::account_below_fences(Instant now) const { return collect(true, now); }

}  // namespace baton::guard
