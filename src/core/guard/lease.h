// A server's lease, holder's and grantor's side: beats, grants, fences, what may remain of others' leases. Pure.
// docs/protocol.md, "Leases".
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <vector>

#include "src/base/ids.h"
#include "src/base/time.h"
#include "src/model/log_position.h"
#include "src/model/voter_set.h"

namespace baton::guard {

struct Settings {
  ServerId self;
  std::vector<ServerId> voters;  // until batond tells
  Duration lease = 1100ms;
  Duration beat = 100ms;
};

using Fences = std::map<ServerId, LogPosition>;
/// When what was granted to each server will surely be over, by this server's clock.
using Account = std::map<ServerId, Instant>;

/// With what two clocks may differ in (1%), rounded up.
constexpr Duration with_drift(Duration duration) { return duration + duration / 100 + Duration{1}; }

/// Sent to all guards of the view each `beat`.
struct Beat {
  uint64_t sequence = 0;  // of the sender; rises, starts anew with each start of it
  uint64_t start = 0;     // names the sender's present start: acknowledgements of another one do not count
  LogPosition knows;      // F1
  struct Heard {
    uint64_t start = 0;
    uint64_t sequence = 0;
    bool operator==(const Heard&) const = default;
  };
  std::map<ServerId, Heard> granted;  // newest beat of each voter received in this view, if it is granted
  Epoch lineage{};                    // the newest that the sender knows of (R6); 0: none
};

class Lease {
 public:
  /// `start` is unique per start of this guard (random); `now` counts as a grant to every voter, itself included.
  Lease(const Settings& settings, uint64_t start, Instant now);

  /// New view: what was heard in the old one is forgotten. Beats of servers that are not members are ignored.
  void view_changed(const std::set<ServerId>& members);
  /// What batond said last (F1-F4). `grants` false: nothing is granted, not even to this server itself.
  void set_knowledge(bool grants, const LogPosition& knows, const Fences& fences);
  /// Who votes by this server's log, and the fence of everybody else that the newest change of them is (V5).
  void set_voters(const VoterSet& voters, const LogPosition& fence);
  /// The beat to send now. Remembers when, and what it grants.
  Beat make_beat(Instant now);
  void beat_received(Instant now, ServerId from, const Beat& beat);
  /// F5: no beat sent until now renews anything.
  void forget_sent() { sent_.clear(); }
  /// Nor is what was renewed before worth anything: this server's clock did not see the time that passed.
  void forget_lease() {
    sent_.clear();
    lease_until_ = Instant{};
  }

  /// This server's lease by the majority's grants runs until then (exclusive); Instant{} if it never had one.
  /// SAFETY: to be published only while fenced() is false (F3).
  Instant lease_until() const { return lease_until_; }
  /// Does a fence hold this server itself back?
  bool fenced() const { return knows_ < fence_of(settings_.self); }
  /// By all grants given; of its own lease, by what it may have published.
  Account account(Instant now) const;
  /// Only by grants of beats that knew less than the present fence (L2).
  Account account_below_fences(Instant now) const;

 private:
  using Grants = std::map<LogPosition, Instant>;  // by what the granted beat knew: when it would be over

  void renew(Instant now);
  void note_grant(ServerId voter, const LogPosition& knows, Instant over, Instant now);
  LogPosition fence_of(ServerId voter) const;
  Account collect(bool below_fences, Instant now) const;

  struct Sent {
    Instant when;
    LogPosition knows;
  };
  struct HeardBeat {
    Beat::Heard beat;
    LogPosition knows;
    Instant when;
  };

  Settings settings_;
  uint64_t start_;
  Instant started_;
  bool grants_ = false;
  LogPosition knows_;
  Fences fences_;
  VoterSet voters_;
  LogPosition voters_fence_;
  std::set<ServerId> members_;
  uint64_t sequence_ = 0;
  Instant lease_until_{};
  std::map<uint64_t, Sent> sent_;  // own beats not yet outlived
  std::map<ServerId, Grants> given_;
  std::map<ServerId, HeardBeat> heard_;        // of other members, in this view
  std::map<ServerId, uint64_t> acknowledged_;  // own sequence acknowledged by each, in this view
};

}  // namespace baton::guard
