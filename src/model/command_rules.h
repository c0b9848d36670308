// What the rules of the several kinds of command share. For the judging of commands, and the planner that foresees it. Any
// thread.
#pragma once

#include <fmt/format.h>

#include <map>
#include <string>

#include "src/model/command.h"
#include "src/model/configuration.h"

namespace baton::command_rules {

template <class... Args>
Applied refuse(fmt::format_string<Args...> format, Args&&... args) {
  return Applied{false, fmt::format(format, std::forward<Args>(args)...)};
}

inline bool is_down(GroupPhase phase) { return phase == GroupPhase::kStopped || phase == GroupPhase::kFailed; }

inline Applied check_version(const char* what, const std::string& name, uint64_t expected, uint64_t present) {
  if (expected == present) return Applied{true, {}};
  return refuse("{} {} has changed meanwhile (version {}, decided from {})", what, name, present, expected);
}

/// The group that a command names; nullptr: there is none, or not as it was decided about (`refused` says so).
struct NamedGroup {
  GroupState* record = nullptr;
  Applied refused;
};
NamedGroup find_group(ClusterState& state, const std::string& name, uint64_t expected_version);

/// The in-sync set of a mirror after a server was given its permit, or why it must not be.
struct Promotion {
  std::string refusal;
  std::map<ServerId, Incarnation> in_sync;
};

/// What the present configuration says of a mirror that is to be promoted.
struct PromotionRules {
  std::vector<ServerId> servers;  // of the group: each has a copy
  ServerId first;              // may be the first to use a new mirror of the group (first_primary())
  bool trailing_may = false;   // a copy that trails may take over (A5)
};
Promotion judge_promotion(const std::string& key, const MirrorState& mirror, const AssignGroup& command,
                          const PromotionRules& rules);

// Each judges and applies one kind of command.
Applied apply(ClusterState& state, const StartEpoch& command, uint64_t index);
Applied apply(ClusterState& state, const ApplyConfiguration& command, uint64_t index);
Applied apply(ClusterState& state, const AssignGroup& command, uint64_t index);
Applied apply(ClusterState& state, const SetGroupPhase& command, uint64_t index);
Applied apply(ClusterState& state, const WishGroup& command, uint64_t index);
Applied apply(ClusterState& state, const SetInSync& command, uint64_t index);
Applied apply(ClusterState& state, const BreakMirror& command, uint64_t index);
Applied apply(ClusterState& state, const ForceMirror& command, uint64_t index);
Applied apply(ClusterState& state, const RestrictMirror& command, uint64_t index);
Applied apply(ClusterState& state, const SetVoters& command, uint64_t index);
Applied apply(ClusterState& state, const TakeOver& command, uint64_t index);
Applied apply(ClusterState& state, const RestoreDatabase& command, uint64_t index);

/// May the servers become those of `after`, and what is forgotten of those that leave. Judged before anything changes.
Applied check_servers(const ClusterState& state, const Configuration& before, const Configuration& after);
void forget_removed_servers(ClusterState& state, const Configuration& after);
Applied apply(ClusterState& state, const RecordFence& command, uint64_t index);
/// SAFETY: N2. Empty, or why a group may not be taken from its lost owner yet.
std::string unfenced_owner(const ClusterState& state, const Configuration& configuration, const GroupState& group);
Applied apply(ClusterState& state, const SetStanding& command, uint64_t index);
Applied apply(ClusterState& state, const SetSuspension& command, uint64_t index);
Applied apply(ClusterState& state, const SetDrain& command, uint64_t index);
Applied apply(ClusterState& state, const SetShutdown& command, uint64_t index);
Applied apply(ClusterState& state, const HoldGroup& command, uint64_t index);
Applied apply(ClusterState& state, const ReleaseGroup& command, uint64_t index);
Applied apply(ClusterState& state, const RaiseFormatLevel& command, uint64_t index);
Applied apply(ClusterState& state, const RotateKeys& command, uint64_t index);
/// Why this change of the configuration has to wait for a change of keys; empty: it need not.
std::string rotation_in_the_way(const ClusterState& state, const Configuration& before, const Configuration& after);

/// Why a server must be given no group now, by what the database says of it; empty: it may.
std::string barred(const ClusterState& state, ServerId server);

/// Cluster time as an entry is stamped with it: never goes back.
inline void stamp(ClusterState& state, uint64_t clock_ms) {
  if (clock_ms > state.clock_ms) state.clock_ms = clock_ms;
}

/// A line for people.
std::string line(const Command& command);

}  // namespace baton::command_rules
