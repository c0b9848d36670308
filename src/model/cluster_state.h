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
  bool operator==(const Refusal&) const = default;
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

struct ClusterState {
  uint64_t configuration_version = 0;
  std::string configuration_text;  // the TOML as applied
  /// By the last committed change of them. They follow the configured servers one by one (docs/protocol.md, "Voters").
  VoterSet voters;
  std::map<std::string, GroupState> groups;
  std::map<std::string, MirrorState> mirrors;  // by mirror_key()
  std::map<ServerId, FenceState> fences;       // of servers that were ever to be fenced

  bool operator==(const ClusterState&) const = default;
};

}  // namespace baton
