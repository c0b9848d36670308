// The lease: granted beats on the holder's side, remembered grants on the grantor's. Pure. docs/protocol.md,
// "Leases".
#include "src/core/guard/lease.h"

#include <algorithm>

#include "src/base/planted.h"

namespace baton::guard {

namespace {

/// With the clocks' drift (1%), rounded up.
Duration with_drift(Duration duration) { return duration + duration / 100 + Duration{1}; }

}  // namespace

Lease::Lease(const Settings& settings, uint64_t start, Instant now)
    : settings_(settings), start_(start), started_(now) {}

void Lease::view_changed(const std::set<ServerId>& members) {
  members_.clear();
  for (const ServerId voter : settings_.voters)
    if (members.contains(voter)) members_.insert(voter);
  heard_.clear();
  acknowledged_.clear();
}

void Lease::set_knowledge(bool grants, const LogPosition& knows, const Fences& fences) {
  grants_ = grants;
  knows_ = knows;
  fences_ = fences;
}

LogPosition Lease::fence_of(ServerId voter) const {
  if (planted(Plant::kFenceIgnored)) return {};
  const auto found = fences_.find(voter);
  return found == fences_.end() ? LogPosition{} : found->second;
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
  std::vector<uint64_t> granted{sequence_};
  for (const auto& [voter, sequence] : acknowledged_) granted.push_back(sequence);
  const size_t majority = settings_.voters.size() / 2 + 1;
  if (granted.size() < majority) return;
  std::sort(granted.rbegin(), granted.rend());
  const auto sent = sent_.find(granted[majority - 1]);
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
  Account account;
  for (const ServerId voter : settings_.voters) {
    Instant over = now;
    // SAFETY: a start counts as a grant to everybody: what was granted before it is forgotten.
    if (!planted(Plant::kLeaseForgottenAtRestart)) over = std::max(over, started_ + with_drift(settings_.lease));
    const auto given = given_.find(voter);
    if (given != given_.end())
      for (const auto& [knows, until] : given->second)
        if (!below_fences || knows < fence_of(voter)) over = std::max(over, until);
    account[voter] = over;
  }
  return account;
}

Account Lease::account(Instant now) const { return collect(false, now); }
Account Lease::account_below_fences(Instant now) const { return collect(true, now); }

}  // namespace baton::guard
