// Commands: what the cluster database's log holds. Each is a compare-and-set on the versions it was decided from and
// is judged when applied, alike on every voter (docs/protocol.md, "Commands"). Plain values, any thread.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <variant>
#include <vector>

#include "src/base/ids.h"
#include "src/model/cluster_state.h"

namespace baton {

/// First entry of an epoch; changes nothing. Until it is on a majority the epoch serves nothing.
struct StartEpoch {
  ServerId leader;
  bool operator==(const StartEpoch&) const = default;
};

/// A whole new configuration, already validated by the proposer; validated again when applied.
struct ApplyConfiguration {
  uint64_t expected_version = 0;
  std::string text;
  std::string author;
  uint32_t format_level = 0;  // the founding one only: what all voters of a new cluster know
  bool operator==(const ApplyConfiguration&) const = default;
};

/// Gives a stopped (or orphaned) group and new permits for its mirrors to a server.
struct AssignGroup {
  std::string group;
  uint64_t expected_version = 0;
  ServerId server;
  std::map<std::string, uint64_t> mirror_versions;      // every mirror of the group
  /// Per mirror the incarnations that its copies report now; the server's own must be among them.
  std::map<std::string, std::map<ServerId, Incarnation>> reported;
  bool alone = false;  // the in-sync sets become the server alone (its peers are lost): saves a commit at failover
  std::string reason;
  std::vector<std::string> causes;                      // the events that led to it, oldest first
  /// Mirrors whose last holder reports that its copy is lost (its disk failed or was replaced, or a copy to it never
  /// ended): after the crash of a whole set another member goes first (S5).
  std::set<std::string> holder_lost;
  std::string loss;  // what may be lost, for people: a copy that trails takes over (A5) only if this says so
  /// Mirrors all of whose copies have reported that nothing was ever written to them: asked for after a restore (R10).
  std::set<std::string> unused;
  bool failover = false;  // its owner was lost, or it has failed elsewhere: people should be told
  bool operator==(const AssignGroup&) const = default;
};

/// How long a step of a group's start or stop took, for people (baton explain) and for measuring.
struct StepTime {
  std::string resource;
  std::string action;
  int64_t took_us = 0;
  std::string outcome;  // "ok", or the error
  bool operator==(const StepTime&) const = default;
};

/// The owner reports a transition of its group: starting -> started, * -> stopping, stopping -> stopped,
/// * -> stopped with `failure` set (the server is then refused until success elsewhere or an operator's word).
struct SetGroupPhase {
  std::string group;
  uint64_t expected_version = 0;
  ServerId server;  // the owner that says so
  GroupPhase phase = GroupPhase::kStopped;
  std::string failure;  // empty: as planned
  std::string reason;
  std::vector<StepTime> steps;
  std::string cause;      // stopping because this kind of resource keeps failing: judged by the breaker
  uint64_t clock_ms = 0;  // with a cause or a failure
  bool interrupted = false;  // `failure` is none of the server's: the power or the majority was lost meanwhile
  bool operator==(const SetGroupPhase&) const = default;
};

/// Who Baton says it is where a person could have been.
inline constexpr const char* kOwnAuthor = "baton";

/// An operator's wish for a group: run (optionally at `target`) or not. Clears refusals.
struct WishGroup {
  std::string group;
  uint64_t expected_version = 0;
  bool wanted = false;
  ServerId target;
  std::string reason;
  std::string author;
  ServerId park;  // stop it now, along with this server, and start it again with it
  ServerId lost;  // its owner, who was not there when this was asked: it does not run, whatever its phase says
  bool operator==(const WishGroup&) const = default;
};

/// The primary changes which copies count as in sync (removal before it acknowledges alone; readmission; a primary
/// whose disk failed leaves the set to the other copy alone: docs/protocol.md, D1).
struct SetInSync {
  std::string mirror;
  uint64_t expected_version = 0;
  Permit permit;  // the proposer's; must be the current one
  std::map<ServerId, Incarnation> in_sync;
  std::string reason;
  std::map<ServerId, Incarnation> trailing;  // docs/protocol.md, A5; each SetInSync says it anew
  bool operator==(const SetInSync&) const = default;
};

/// An operator breaks a mirror (its holder goes on alone) or rejoins it.
struct BreakMirror {
  std::string mirror;
  uint64_t expected_version = 0;
  bool broken = false;
  std::string author;
  bool operator==(const BreakMirror&) const = default;
};

/// An operator makes a copy the only one in sync although it may lack acknowledged writes, or is inconsistent (forced
/// permit). Refused while the mirror's group is not stopped.
struct ForceMirror {
  std::string mirror;
  uint64_t expected_version = 0;
  ServerId server;
  Incarnation incarnation;
  std::string loss;  // what the operator was shown
  std::string author;
  bool operator==(const ForceMirror&) const = default;
};

/// An operator keeps a mirror (and so its group) away from a server, or lifts that.
struct RestrictMirror {
  std::string mirror;
  uint64_t expected_version = 0;
  ServerId server;
  bool restricted = false;
  std::string author;
  bool operator==(const RestrictMirror&) const = default;
};

/// A change of voters, by the epoch's leader only, of one server at a time: first with `before` (both majorities are
/// needed), then, once that is committed and older leases have ended, without. Takes effect when it is in a log
/// (docs/protocol.md, "Voters"); what is applied is for the state's readers.
struct SetVoters {
  VoterSet voters;
  bool operator==(const SetVoters&) const = default;
};

/// An operator lets one of two servers decide alone although the other one is not reached. That server appends it itself, by
/// nobody's majority; it takes effect as a SetVoters does, and a SetVoters ends it (docs/protocol.md, "Partitions and takeover").
struct TakeOver {
  ServerId server;
  std::string reason;
  std::string author;
  bool operator==(const TakeOver&) const = default;
};

/// The entries before this one come from a backup: whom groups belong to, and which copies have everything, may have changed
/// since it was made. In a log by `baton cluster restore` only (docs/protocol.md, R7-R10).
struct RestoreDatabase {
  std::set<ServerId> servers;  // of the configuration of then: from each of them every group is taken
  uint64_t permits_above = 0;  // greater than any permit that was ever given
  int64_t made_ms = 0;         // the backup, by the wall clock, for people
  std::string source;          // which server made it
  std::string author;
  std::string key;             // the fingerprint of the one that is in force from then on
  bool operator==(const RestoreDatabase&) const = default;
};

/// What becomes of a lost server's power: wanted, then how it ended; none once it is a member again.
struct RecordFence {
  ServerId server;
  uint64_t expected_version = 0;
  FenceOutcome outcome = FenceOutcome::kNone;
  std::string text;
  std::string author;  // of a person's word; empty: Baton's own
  bool operator==(const RecordFence&) const = default;
};

/// A server was lost, is back, has been shut down in order, or returns to the cluster.
struct SetStanding {
  ServerId server;
  uint64_t expected_version = 0;
  ServerStanding standing = ServerStanding::kNormal;
  std::string reason;
  std::string author;          // of a return by hand
  uint64_t clock_ms = 0;
  uint64_t hold_until_ms = 0;  // kIsolated by damping
  uint64_t life = 0;           // kStopped
  bool operator==(const SetStanding&) const = default;
};

/// Maintenance of a group, a server, or (neither named) the whole cluster begins or ends.
struct SetSuspension {
  std::string group;
  ServerId server;
  uint64_t expected_version = 0;
  bool suspended = false;
  uint64_t until_ms = 0;
  std::string author;
  std::string reason;
  uint64_t clock_ms = 0;
  bool operator==(const SetSuspension&) const = default;
};

struct SetDrain {
  ServerId server;
  uint64_t expected_version = 0;
  bool draining = false;
  std::string author;
  std::string reason;
  uint64_t clock_ms = 0;
  bool operator==(const SetDrain&) const = default;
};

/// An orderly shutdown of a server, or (none named) of the cluster, begins, is called off, or has come to its end.
struct SetShutdown {
  enum class Step { kBegin, kCancel, kEnd, kStarted };  // kEnd, kStarted: the cluster's only
  ServerId server;
  uint64_t expected_version = 0;
  Step step = Step::kBegin;
  bool move = true;
  Afterwards afterwards = Afterwards::kNothing;
  std::string author;
  std::string reason;
  uint64_t clock_ms = 0;
  uint64_t deadline_ms = 0;
  std::map<ServerId, uint64_t> lives;  // kBegin, kEnd: the present starts of the servers that are to end
  bool given_up = false;               // kCancel: by Baton, for its time is over
  bool operator==(const SetShutdown&) const = default;
};

/// The owner says why its group stays although something of it fails; no reason: it stays for that no longer.
struct HoldGroup {
  std::string group;
  uint64_t expected_version = 0;
  ServerId server;
  std::string reason;
  bool operator==(const HoldGroup&) const = default;
};

/// An operator ends the hold of a group: its failures are forgotten, and its next move is let pass.
struct ReleaseGroup {
  std::string group;
  uint64_t expected_version = 0;
  std::string author;
  bool operator==(const ReleaseGroup&) const = default;
};

/// All voters know the commands of this level.
struct RaiseFormatLevel {
  uint32_t level = 0;
  bool operator==(const RaiseFormatLevel&) const = default;
};

/// A step of the change of the cluster's key (docs/protocol.md, "Keys"); never the key itself. kCertificates: all mirror
/// daemons issue their certificates anew.
struct RotateKeys {
  enum class Step { kBegin, kStaged, kInForce, kDone, kCancel, kCertificates };
  uint64_t number = 0;      // of the rotation; kBegin: of the last one; kCertificates: how often it was done before
  Step step = Step::kBegin;
  ServerId server;          // kBegin: who made the key; kStaged: who has it on disk
  std::string before;       // kBegin: the fingerprint of the present key
  std::string after;        // kBegin, kStaged: of the new one
  std::string author;
  std::string reason;       // kCancel
  uint64_t clock_ms = 0;
  uint64_t deadline_ms = 0; // kBegin
  bool operator==(const RotateKeys&) const = default;
};

using Command = std::variant<StartEpoch, ApplyConfiguration, AssignGroup, SetGroupPhase, WishGroup, SetInSync,
                             BreakMirror, ForceMirror, RestrictMirror, RecordFence, SetVoters, SetStanding,
                             SetSuspension, SetDrain, SetShutdown, HoldGroup, ReleaseGroup, RaiseFormatLevel, TakeOver,
                             RestoreDatabase, RotateKeys>;

/// The highest level of commands and configuration that this version knows (docs/protocol.md, "Levels").
inline constexpr uint32_t kFormatLevel = 3;

/// The level that a voter must know to judge this command.
uint32_t required_level(const Command& command);

/// What applying a command did. `applied` false: the state had changed since it was decided, `refusal` says how.
struct Applied {
  bool applied = false;
  std::string refusal;
};

/// Judges and applies one command; `index` is its place in the log. Pure and total: never fails otherwise.
Applied apply_command(ClusterState& state, const Command& command, uint64_t index);

/// A line for people: "group db: assign to server 2: server1 lost".
std::string describe(const Command& command);

}  // namespace baton
