// One server's guard: exchanges beats with the other guards, grants by the fences that its batond told it, publishes
// this server's lease. Pure: run by baton-guard and by sim/ alike. docs/protocol.md, "Leases".
#pragma once

#include <cstdint>
#include <set>
#include <variant>
#include <vector>

#include "src/core/guard/lease.h"

namespace baton::guard {

/// W4. For so long a server that decides alone may have been away: before that no operator may let the other one go on.
inline constexpr Duration kLongGap = 10s;

/// What batond tells: positions in its log. Kept in a page that outlives both, but no reboot.
struct Knowledge {
  bool grants = false;  // false: nothing is known yet, or this voter's database does not count (F4)
  LogPosition knows;    // F1
  LogPosition exact;    // up to there the fences are those of entries known to be committed
  Fences fences;        // F2
  VoterSet voters;           // by the log; empty: not told
  LogPosition voters_fence;  // V5
  bool alone = false;        // one of two servers that an operator lets decide alone: its lease needs a right (W4)
  uint64_t right = 0;        // ... which it has as long as the guard's gaps are these; 0: it has none
  Instant right_by = kNever; // until then the guard takes it (W7)
  uint64_t gaps = 0;         // the guard's own: how often it has not run for long, from 1
  Epoch lineage;             // of the newest recovery in the log; 0: there was none, or this voter does not count (R2)
  Epoch newest_lineage;      // the guard's own: the greatest that any guard has said (R6)
  bool operator==(const Knowledge&) const = default;
};

// ---- Events ----

/// Empty: the engine was lost.
struct ViewChanged {
  std::set<ServerId> members;
};
struct BeatReceived {
  ServerId from;
  Beat beat;
};
/// From batond. (teller, number) names the message in the report that confirms it.
struct Tell {
  uint64_t teller = 0;  // that batond's start
  uint64_t number = 0;
  Knowledge knowledge;
};
/// The clocks say that time has passed unseen (F5).
struct TimeJumped {
  Duration length = Duration::max();  // not known: long
};
struct Tick {};
using Event = std::variant<ViewChanged, BeatReceived, Tell, TimeJumped, Tick>;

// ---- Actions ----

/// Write the lease page: now, before any other action. Instant{}: withdrawn.
struct Publish {
  Instant until;
};
/// Write the knowledge's page: before any action that follows.
struct Keep {
  Knowledge knowledge;
};
struct SendBeat {
  Beat beat;
};
/// To batond, after each beat, at each change of the lease page and as an answer.
struct Report {
  uint64_t start = 0;  // of this guard
  uint64_t teller = 0;
  uint64_t number = 0;  // newest message of that teller that is in place
  Knowledge knowledge;
  Account account;               // by all grants
  Account account_below_fences;  // L2
  std::set<ServerId> members;    // whose guards are there
  std::set<ServerId> heard;      // of these the others whose beats have come, in this view
};
using Action = std::variant<Publish, Keep, SendBeat, Report>;

class GuardCore {
 public:
  /// `kept`: what the page says; `published`: what the lease page says. `start` is unique per start (random).
  GuardCore(const Settings& settings, uint64_t start, const Knowledge& kept, Instant published, Instant now);

  void step(Instant now, const Event& event, std::vector<Action>& actions);
  Instant next_tick() const;

  Report report(Instant now) const;
  Instant published_until() const { return published_until_; }
  const Knowledge& knowledge() const { return knowledge_; }
  const std::set<ServerId>& members() const { return members_; }

 private:
  void handle(const ViewChanged& event);
  void handle(const BeatReceived& event);
  void handle(const Tell& event);
  void handle(const TimeJumped&);
  void handle(const Tick&) {}
  void take_knowledge();
  void notice_gap();
  void stalled(Instant since);
  void long_gap();
  void hear_of_recovery(Epoch lineage);
  void withdraw();
  bool may_publish() const;
  bool outdated() const;
  bool limit_is_over() const;
  void publish();
  void beat_if_due();

  Settings settings_;
  uint64_t start_;
  Lease lease_;
  Knowledge knowledge_;
  Instant published_until_;
  uint64_t teller_ = 0;
  uint64_t number_ = 0;
  std::set<ServerId> members_;
  std::set<ServerId> heard_;  // in this view
  Instant beat_at_ = kNever;
  Instant now_{};
  Instant last_step_{};
  Instant late_at_{};              // the last step that came late
  Instant stalled_since_ = kNever; // ... and since when it has not run for long in one piece
  Instant jumped_at_{};            // the last time that the clocks showed a gap
  Duration unseen_{};              // ... and how long it was, with those shortly before
  std::vector<Action>* actions_ = nullptr;
};

}  // namespace baton::guard
