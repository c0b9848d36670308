// What is left of a database that comes from a backup: nothing of it that may have changed since is gone by. Pure; the same on
// every voter. docs/protocol.md, R7-R10.
#include <algorithm>

#include "src/base/planted.h"
#include "src/model/command_rules.h"

namespace baton::command_rules {

namespace {

/// SAFETY: I1. Whoever had it since is off by a person's word, and its lease has ended by L3.
void take_back(GroupState& group, uint64_t index) {
  ++group.version;
  group.phase = GroupPhase::kStopped;
  group.owner = group.target = group.parked = ServerId{};
  group.refused.clear();
  group.held.clear();
  group.asked = group.released = false;
  group.reason = "the cluster database was restored from a backup";
  group.since_index = index;
}

/// SAFETY: R8, R9, I3. Another copy may have been alone since, and been written to.
void forget_set(MirrorState& mirror, uint64_t permits_above) {
  ++mirror.version;
  mirror.permit.value = std::max(mirror.permit.value, permits_above);
  if (planted(Plant::kRestoredSetKept)) return;
  mirror.unknown = true;
  mirror.in_sync.clear();
  mirror.trailing.clear();
  mirror.holder = mirror.forced = ServerId{};
}

/// What was under way then, and what was seen of servers.
void forget_the_moment(ClusterState& state, const std::string& key) {
  for (auto& [server, fence] : state.fences) {
    ++fence.version;
    fence.outcome = FenceOutcome::kNone;
    fence.attempts = 0;
  }
  for (auto& [server, record] : state.servers) {
    ++record.version;
    record.shutdown.reset();
    record.given_up.clear();
  }
  ++state.maintenance_version;
  state.shutdown.reset();
  state.shut_down = false;
  state.given_up.clear();
  state.failures.clear();
  // SAFETY: K8. A rotation may have been under way when the databases were lost: the key of the one that is restored is in force.
  if (planted(Plant::kRestoredKeyForgotten)) return;
  state.keys = {};
  state.keys.after = key;
}

}  // namespace

/// In effect since it is in the log: there is nothing left to refuse.
Applied apply(ClusterState& state, const RestoreDatabase& command, uint64_t index) {
  state.permits_above = std::max(state.permits_above, command.permits_above);
  state.backup_made_ms = command.made_ms;
  for (auto& [name, group] : state.groups) take_back(group, index);
  for (auto& [key, mirror] : state.mirrors) forget_set(mirror, state.permits_above);
  forget_the_moment(state, command.key);
  return Applied{true, {}};
}

}  // namespace baton::command_rules
