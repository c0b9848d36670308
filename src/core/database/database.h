// One voter's part of the cluster database: epochs, log replication, commit. Pure. docs/protocol.md,
// "Cluster database". The owner (core/node) delivers views and messages in the engine's order.
#pragma once

#include <memory>
#include <optional>
#include <set>

#include "src/core/database/database_types.h"
#include "src/model/cluster_state.h"

namespace baton::database {

struct Settings {
  ServerId self;
  std::set<ServerId> voters;         // of a log that names none: as founded
  Duration settle_after{};           // how long the leases of a former majority may run (docs/protocol.md, V5)
  Duration step_timeout = 300ms;     // without progress towards an epoch the next candidate tries
  Duration resend_interval = 200ms;  // unacknowledged appends and proposals are sent again
  Duration proposal_limit = 5s;      // a proposal that is not decided by then is answered "not known"
  Duration persist_retry = 500ms;    // after a Persist that failed
  size_t append_entries = 64;        // at most in one Append or Fetched
  size_t append_bytes = 256 * 1024;  // about
};

// ---- Events ----
/// The engine's view: voters that are there (self included while connected). Empty: the engine was lost.
struct ViewChanged {
  std::set<ServerId> members;
};
struct MessageReceived {
  ServerId from;
  Message message;
};
/// A Persist is durable (ok) or could not be done (disk full ...: nothing of it happened; it is given out again
/// later).
struct Persisted {
  uint64_t token = 0;
  bool ok = true;
};
/// Wants a command committed; answered by exactly one ProposalDecided. An AssignGroup or SetVoters is the serving
/// leader's own decision: it is not forwarded, and with the end of the epoch it is answered "not known".
struct ProposeCommand {
  uint64_t request = 0;  // unique on this voter, across restarts too
  Command command;
  int64_t wall_ms = 0;
};
/// Voters of the view whose beats have ceased although this one's own come back: their programs hang. Given
/// again when it changes; a new view begins with none. A hint: decides only who tries to lead.
struct SilenceChanged {
  std::set<ServerId> silent;
};
/// A person has given up the voters that are not here: this one is to vote alone (docs/protocol.md, R1). Not while an epoch
/// serves, nor at a voter that does not count.
struct Recover {
  std::set<ServerId> survivors;  // this one included
  uint64_t rounds = 0;           // beyond those that a recovery leaves out anyway
  int64_t wall_ms = 0;
};
/// Has this server, if it decides alone by an operator's word, still a right to (docs/protocol.md, W4)? At the start: no. And who
/// must agree if it has not: all configured servers.
struct AloneRight {
  bool right = false;
  std::set<ServerId> everybody;
  bool by_itself = false;  // np = "ping", and nobody's word: where the other one is there it counts for nothing (T7)
};
struct Tick {};
using Event = std::variant<ViewChanged, MessageReceived, Persisted, ProposeCommand, SilenceChanged, AloneRight, Recover, Tick>;

// ---- Actions ----
/// To every voter of the view, this one included (it comes back as MessageReceived).
struct Send {
  Message message;
};
/// One atomic, durable change of the voter's disk; one at a time is under way.
struct Persist {
  uint64_t token = 0;
  std::optional<Epoch> promised;
  std::optional<bool> counting;
  std::optional<uint64_t> keep_up_to;  // entries above this index are cut off, before
  std::vector<Entry> append;           // these are added
};
/// A committed entry has been judged and applied to state().
struct EntryApplied {
  Entry entry;
  Applied outcome;
  ServerId taken_from;  // the owner that had not released the group; 0: nobody
  LogPosition fence;    // F2, of taken_from
};
/// The end of a ProposeCommand: applied or refused by compare-and-set (`decided`), or not known (no leader, no
/// majority, leader lost): the caller looks at the state and decides anew.
struct ProposalDecided {
  uint64_t request = 0;
  bool decided = false;
  Applied outcome;
};
/// The other server was taken over later than this one (W5): what is in memory may belong to a history that is given up. To be
/// started anew.
struct Overruled {};
/// The other server decided alone, too, and each has what the other one lacks (T7): there is no right until a person decides.
struct Rivalled {};
/// This voter's standing changed (see status()).
struct StandingChanged {};
using Action = std::variant<Send, Persist, EntryApplied, ProposalDecided, Overruled, Rivalled, StandingChanged>;

/// What status displays and the planner need to know.
struct Standing {
  Epoch epoch;      // promised
  ServerId leader;  // of the epoch in which this voter works; 0: none
  /// Its StartEpoch is committed and known to be, here, and the epoch was opened in the present view. False
  /// from the moment a new view or a newer epoch's Prepare arrives.
  bool serving = false;
  bool counting = true;
  uint64_t committed = 0;
  uint64_t last_index = 0;
  std::string waiting;  // why it does not serve, for people; empty when it does
  /// Leader only: when each server's lease has ended at the latest, by a majority's accounts at the epoch's
  /// start, unless it was granted anew since. A server that is missing here: not known, take nothing from it.
  std::map<ServerId, Instant> lease_over;
  bool operator==(const Standing&) const = default;
};

class Database {
 public:
  Database(const Settings& settings, StoredVoter stored);
  ~Database();

  /// What may remain of the servers' leases by this voter's account at `now`: by all grants (for promises), or by those
  /// below the fences (L2). Empty: not known.
  enum class Grants { kAll, kBelowFences };
  using LeaseAccount = std::map<ServerId, Duration> (*)(void* lease, Instant now, Grants grants);
  void set_lease_account(LeaseAccount account, void* lease);

  void step(Instant now, const Event& event, std::vector<Action>& actions);
  Instant next_tick() const;

  /// The voters by this log, committed or not, and the place of their newest change in it.
  const VoterSet& voters() const;
  uint64_t voters_index() const;
  /// The newest epoch that this voter has promised, on its disk.
  Epoch promise_on_disk() const;
  /// That change is on this voter's disk.
  bool voters_on_disk() const;
  /// By its log an operator lets this voter decide alone, and the other one does not vote again yet.
  bool taken_over() const;
  /// ... by a person's word.
  bool taken_over_by_word() const;
  /// The state after all entries that are on this voter's disk, committed or not: what an operator is shown of a server that
  /// does not serve.
  ClusterState state_on_disk() const;
  /// V5: the fence that the newest change of them is, if it is above `exact`.
  LogPosition voters_fence_above(const LogPosition& exact) const;
  /// The epoch of the newest recovery on this voter's disk, 0: none; and the servers that were there.
  Epoch lineage() const;
  const std::set<ServerId>& survivors() const;
  LogPosition last() const;
  LogPosition last_on_disk() const;
  /// By the wall clock of its proposer: the newest entry that has a time, 0: none.
  int64_t newest_wall_ms() const;
  /// Why the leader cannot propose these voters now, for people; empty: it can.
  std::string why_not_change(const VoterSet& voters) const;
  /// F2, of uncommitted entries: servers from which one above `exact` takes, or may take, a group, and where.
  std::map<ServerId, LogPosition> fences_above(const LogPosition& exact) const;
  /// The last entry on disk that is below every uncommitted entry which takes, or may take, a group from `owner`.
  LogPosition known_by(ServerId owner) const;
  /// The last entry that is both applied and on disk.
  LogPosition applied_on_disk() const;
  bool holds(const LogPosition& position) const;
  /// State after all committed entries known here.
  const ClusterState& state() const;
  const Standing& standing() const;

 private:
  struct Implementation;
  std::unique_ptr<Implementation> implementation_;
};

}  // namespace baton::database
