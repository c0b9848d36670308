// The cluster's state: what the replicated database holds after applying its log. Plain values; the same on every
// voter at the same log index. Any thread.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "src/base/ids.h"
#include "src/model/voter_set.h"

namespace baton {

/// Names what a copy of a mirror holds (docs/protocol.md, "Data generations"). counter 0: nothing was ever written.
/// Lives on the copies; the database does not repeat it.
struct Generation {
  uint64_t counter = 0;
  uint64_t random = 0;  // equal counters with different randoms have diverged
  auto operator<=>(const Generation&) const = default;
};

/// Where a failover group stands.
enum class GroupPhase { kStopped, kStarting, kStarted, kStopping, kFailed };
const char* to_string(GroupPhase phase);

/// Why a group is kept away from a server.
struct Refusal {
  std::string reason;
  uint32_t attempts = 0;  // failures there since the last success or operator's word
  uint64_t at_ms = 0;     // of the last of them, in cluster time; 0: not known
  bool operator==(const Refusal&) const = default;
};

/// Where a server stands in the cluster (docs/operations.md, "Server states"): O, X, Xd, Od.
enum class ServerStanding {
  kNormal,    // O
  kStopped,   // X: an orderly shutdown
  kDown,      // Xd: it vanished
  kIsolated,  // Od: it was down and is back, but gets no group until it returns to the cluster
};
const char* to_string(ServerStanding standing);   // "normal", "stopped", "down", "isolated"
const char* short_name(ServerStanding standing);  // "O", "X", "Xd", "Od"

/// Maintenance: nothing moves, and nothing is restarted, until somebody resumes or the time is over.
struct Suspension {
  std::string author;
  std::string reason;
  uint64_t since_ms = 0;  // cluster time, as all such times here (docs/protocol.md, "Cluster time")
  uint64_t until_ms = 0;  // 0: until resumed
  bool operator==(const Suspension&) const = default;
};

/// An operator wants the groups of a server to go elsewhere, and none to come.
struct Drain {
  std::string author;
  std::string reason;
  uint64_t since_ms = 0;
  bool operator==(const Drain&) const = default;
};

/// What becomes of the machine once its groups are down and Baton has ended there.
enum class Afterwards { kNothing, kReboot, kPowerOff };
const char* to_string(Afterwards afterwards);

/// An orderly shutdown that is under way.
struct Shutdown {
  bool move = true;  // groups move where they can; else they stop, and start again with this server
  Afterwards afterwards = Afterwards::kNothing;
  std::string author;
  std::string reason;
  uint64_t since_ms = 0;
  /// From then on moves are not waited for: what is left is stopped. The cluster's is given up if it is not through by then.
  uint64_t deadline_ms = 0;
  std::map<ServerId, uint64_t> lives;  // the starts of the servers then: whoever starts meanwhile has shut down otherwise
  bool operator==(const Shutdown&) const = default;
};

struct ServerState {
  uint64_t version = 0;
  ServerStanding standing = ServerStanding::kNormal;
  std::string reason;           // of the standing, for people
  uint64_t since_ms = 0;
  uint64_t hold_until_ms = 0;   // kIsolated by damping until then; 0: until an operator's word
  uint64_t life = 0;            // kStopped: the start of the batond that ended; another one means that it is back
  std::vector<uint64_t> losses; // when it vanished, within the window of damping
  std::optional<Drain> drain;
  std::optional<Shutdown> shutdown;
  std::optional<Suspension> suspension;
  std::string given_up;         // why its last shutdown was given up; empty: it was not, or another was asked for since

  bool operator==(const ServerState&) const = default;
};

/// A group that gave up a server because something of it kept failing there.
struct Failure {
  std::string group;
  ServerId server;
  std::string cause;  // the kind of the resource that failed
  uint64_t at_ms = 0;
  bool operator==(const Failure&) const = default;
};

struct GroupState {
  uint64_t version = 0;            // rises with every change: what compare-and-set compares
  GroupPhase phase = GroupPhase::kStopped;
  ServerId owner;                  // holds the right to run it in starting, started and stopping; else 0
  bool wanted = false;             // an operator or the startup attribute wants it running
  ServerId target;                 // where it goes once stopped (a move); 0: by the policy
  std::map<ServerId, Refusal> refused;  // servers on which it failed, until a success or an operator's word
  std::string reason;              // of the last transition, for people
  uint64_t since_index = 0;        // log index of the last transition
  bool asked = false;              // an operator's wish to run it has not been fulfilled yet
  std::optional<Suspension> suspension;
  std::string held;                // why it stays where it is although something of it fails; empty: it does not
  bool released = false;           // an operator released it: the breaker lets its next move pass
  ServerId parked;                 // it was stopped along with this server, and waits for its return
  ServerId last;                   // whom it was given to last
  ServerId placed;                 // where a person has moved it: it stays there, until that server fails or a person says otherwise
  /// Servers on which it failed, and when (cluster time): it is not failed back there until it was up there again, a person has
  /// said something of the group, or a day is over.
  std::map<ServerId, uint64_t> failed_on;

  bool operator==(const GroupState&) const = default;
};

/// A mirror's record: who may write it, and which copies hold everything acknowledged.
struct MirrorState {
  uint64_t version = 0;
  Permit permit;                             // rises at each promotion
  ServerId holder;                           // whom the permit was given to
  std::map<ServerId, Incarnation> in_sync;   // copies that hold every acknowledged write; empty: never promoted
  bool broken = false;           // an operator broke the mirror: its holder goes on alone until rejoined
  ServerId forced;               // an operator put this copy in the set though it may lack data; 0 once the group was up with it
  std::set<ServerId> restricted; // an operator keeps the mirror away from these servers
  /// Protocol A with `max_lag`: copies outside the set that lack no more than was answered in the last `max_lag` of
  /// the primary's life (docs/protocol.md, A5).
  std::map<ServerId, Incarnation> trailing;
  /// The database was restored from a backup: the set (empty then) is not known until a person has named a copy.
  bool unknown = false;

  bool operator==(const MirrorState&) const = default;
};

/// What is known of a lost server's power (docs/protocol.md, "Fencing").
enum class FenceOutcome {
  kNone,    // nothing was asked for, or it is a member again
  kWanted,  // the leader is about to switch it off
  kOff,     // it was seen to be off, by its agent or by a person
  kFailed,  // the last attempt failed
};
const char* to_string(FenceOutcome outcome);

struct FenceState {
  uint64_t version = 0;
  FenceOutcome outcome = FenceOutcome::kNone;
  uint32_t attempts = 0;  // since it was last a member
  std::string text;       // why, or how it ended, for people
  std::string author;     // who asked by hand; empty: Baton itself
  bool operator==(const FenceState&) const = default;
};

/// The change of the cluster's key that is under way, and how the last one ended (docs/protocol.md, "Keys").
struct KeyRotation {
  enum class Phase { kNone, kStaging, kInForce };
  uint64_t number = 0;  // of this rotation, or of the last one
  Phase phase = Phase::kNone;
  std::string before;   // fingerprints of the keys: the one that is replaced, and the new one
  std::string after;
  ServerId origin;      // made the new one
  std::set<ServerId> staged;  // have it on their disks
  std::string author;
  uint64_t since_ms = 0;
  uint64_t deadline_ms = 0;   // of the staging
  bool called_off = false;    // so the last one ended
  std::string reason;         // why, for people
  uint64_t certificates = 0;  // how often all certificates were issued anew by a person's word
  bool under_way() const { return phase != Phase::kNone; }
  bool operator==(const KeyRotation&) const = default;
};
const char* to_string(KeyRotation::Phase phase);  // "none", "staging", "in force"

struct ClusterState {
  uint64_t configuration_version = 0;
  std::string configuration_text;  // the TOML as applied
  /// By the last committed change of them. They follow the configured servers one by one (docs/protocol.md, "Voters").
  VoterSet voters;
  ServerId taken_over;  // the one of two servers that an operator lets decide alone, until the other one votes again; 0: none
  std::map<std::string, GroupState> groups;
  std::map<std::string, MirrorState> mirrors;  // by mirror_key()
  std::map<ServerId, FenceState> fences;       // of servers that were ever to be fenced
  std::map<ServerId, ServerState> servers;     // one that is missing is normal
  uint64_t clock_ms = 0;                       // the greatest cluster time that an entry was stamped with
  uint32_t format_level = 1;                   // commands of higher levels are refused (docs/protocol.md, "Levels")
  uint64_t maintenance_version = 0;            // of the two below
  std::optional<Suspension> suspension;        // of the whole cluster
  std::optional<Shutdown> shutdown;            // of the whole cluster: nothing starts until it is started again
  bool shut_down = false;                      // that shutdown has come to its end
  std::string given_up;                        // why the last one was given up; empty: it was not, or there was another
  std::vector<Failure> failures;               // within the window of the breaker, oldest first
  uint64_t permits_above = 0;                  // of mirrors: by the newest restore from a backup; 0: there was none
  int64_t backup_made_ms = 0;                  // of that backup, by the wall clock, for people
  KeyRotation keys;

  const ServerState& server(ServerId id) const;
  bool operator==(const ClusterState&) const = default;
};

}  // namespace baton
