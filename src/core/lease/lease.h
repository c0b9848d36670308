// A server's lease, holder's and grantor's side: beats, grants, what may remain of others' leases. Pure.
// docs/protocol.md, "Leases".
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <vector>

#include "src/base/ids.h"
#include "src/base/time.h"
#include "src/model/voter_set.h"

namespace baton::lease {

struct Settings {
  ServerId self;
  VoterSet voters;  // to begin with
  Duration lease = 1100ms;
  Duration beat = 100ms;
};

/// Sent to all voters of the view each `beat`.
struct Beat {
  uint64_t sequence = 0;  // of the sender; rises, starts anew with each start of it
  uint64_t start = 0;     // names the sender's present start: acknowledgements of another one do not count
  struct Heard {
    uint64_t start = 0;
    uint64_t sequence = 0;
  };
  uint64_t voters_index = 0;  // the newest change of voters in the sender's log
  std::map<ServerId, Heard> heard;  // newest beat of each voter received in this view
};

/// With what two clocks may differ in (1%), rounded up.
constexpr Duration with_drift(Duration duration) { return duration + duration / 100 + Duration{1}; }

class Lease {
 public:
  /// `start` is unique per start of this voter (random); `now` counts as a grant to every voter, itself
  /// included.
  Lease(const Settings& settings, uint64_t start, Instant now);

  /// The voters by this server's log and the place of their newest change there; and all that may hold a lease.
  void set_voters(const VoterSet& voters, uint64_t index, const std::set<ServerId>& servers);

  /// New view: what was heard in the old one is forgotten. Beats of servers that are not members are ignored.
  void view_changed(Instant now, const std::set<ServerId>& members);
  /// The beat to send now. Remembers when, and what it grants.
  /// Grants nothing to `withheld` (docs/protocol.md, L2): they are left out of what was heard.
  Beat make_beat(Instant now, const std::set<ServerId>& withheld = {});
  /// Also this voter's own beats that come back: silent() needs them.
  void beat_received(Instant now, ServerId from, const Beat& beat);

  /// This server's lease by the majority's grants runs until then (exclusive); Instant{} if it never had one.
  /// SAFETY: to be used only while the database serves (L1).
  Instant lease_until() const { return lease_until_; }
  /// What may remain of each voter's lease by this voter's account; of its own, what it may have published.
  std::map<ServerId, Duration> left(Instant now) const;
  /// When a voter's last beat of this view arrived; Instant{}: none.
  Instant last_heard(ServerId voter) const;
  /// Members whose beats have ceased for `threshold`. Judged at the sending of this voter's own newest beat
  /// that came back, up to which everything has been received: a voter that was itself paused suspects nobody.
  std::set<ServerId> silent(Duration threshold) const;

 private:
  void renew();

  Settings settings_;
  VoterSet voters_;
  uint64_t voters_index_ = 0;
  std::set<ServerId> servers_;  // of whose leases left() tells
  uint64_t start_;
  Instant started_;
  std::set<ServerId> members_;
  Instant view_since_{};
  uint64_t sequence_ = 0;
  Instant lease_until_{};
  Instant returned_sent_{};                // when own newest beat that has come back in this view was sent
  std::map<uint64_t, Instant> sent_;       // own beats not yet outlived
  std::map<ServerId, Instant> granted_;    // receipt of the newest beat granted
  std::map<ServerId, Beat::Heard> heard_;  // of other members, in this view
  std::map<ServerId, Instant> heard_at_;
  std::map<ServerId, uint64_t> heard_voters_;  // the voters_index in that beat
  std::map<ServerId, uint64_t> acknowledged_;  // own sequence acknowledged by each, in this view
};

}  // namespace baton::lease
