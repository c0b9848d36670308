// See maintenance_checker.h.
#include "sim/maintenance_checker.h"

#include <algorithm>
#include <set>

#include "sim/policy_checker.h"
#include "src/model/known_configuration.h"

namespace baton::sim {

namespace {

constexpr size_t kRecentStates = 24;
constexpr Duration kNoticed = 8s;     // by then the owner knows that another server is gone
constexpr uint64_t kInFlight = 64;    // entries of one epoch that its leader may not have applied when it decides

/// By the record alone: no server may be given a group so.
std::string closed_for_good(const ClusterState& state, ServerId server) {
  const ServerState& record = state.server(server);
  if (state.shutdown) return "the cluster is being shut down";
  if (record.shutdown) return "it is being shut down";
  if (record.standing == ServerStanding::kStopped) return "it is stopped";
  if (record.standing == ServerStanding::kIsolated && record.hold_until_ms == 0) return "it is isolated";
  return {};
}

bool is_closed(const ServerState& record) { return record.drain || record.suspension; }

std::vector<std::string> mirror_keys(const GroupConfiguration& group) {
  std::vector<std::string> keys;
  for (const auto& resource : group.resources)
    if (resource.kind == ResourceKind::kMirror) keys.push_back(mirror_key(group.name, resource.name));
  return keys;
}

}  // namespace

void MaintenanceChecker::restored() {
  departures_.clear();
  closed_.clear();
  recent_.clear();
}

void MaintenanceChecker::committed(const database::Entry& entry, const ClusterState& before, const ClusterState& after) {
  recent_.push_back(before);
  if (recent_.size() > kRecentStates) recent_.erase(recent_.begin());
  check_stopped(after);
  if (const auto* assign = std::get_if<AssignGroup>(&entry.command)) {
    check_assignment(entry, *assign, before);
  } else if (const auto* phase = std::get_if<SetGroupPhase>(&entry.command)) {
    if (phase->phase == GroupPhase::kStopping && !phase->cause.empty()) check_departure(*phase, before);
  } else if (const auto* release = std::get_if<ReleaseGroup>(&entry.command)) {
    std::erase_if(departures_, [&](const Departure& each) { return each.group == release->group; });
  }
  note_closed(entry, after);
}

void MaintenanceChecker::note_closed(const database::Entry& entry, const ClusterState& after) {
  for (const auto& [server, record] : after.servers) {
    if (!is_closed(record)) closed_.erase(server);
    else closed_.try_emplace(server, Closed{entry.index, entry.epoch});
  }
}

/// What a leader had applied when it decided, it must have heeded: all of earlier epochs, and what is long ago in its own.
void MaintenanceChecker::check_assignment(const database::Entry& entry, const AssignGroup& assign,
                                          const ClusterState& before) {
  std::string why = closed_for_good(before, assign.server);
  const auto closed = closed_.find(assign.server);
  if (why.empty() && closed != closed_.end() &&
      (closed->second.epoch != entry.epoch || entry.index > closed->second.index + kInFlight))
    why = fmt::format("it has been drained or suspended since entry {}", closed->second.index);
  if (!why.empty())
    throw Violation("standing", fmt::format("entry {} gives group {} to server {}, although {}", entry.index, assign.group,
                                            assign.server, why));
}

/// O5: within the breaker's bounds, and not from the last one that can run it.
void MaintenanceChecker::check_departure(const SetGroupPhase& phase, const ClusterState& before) {
  const auto configuration = known_configuration(before.configuration_text);
  const auto& bounds = configuration->breaker;
  const auto window = static_cast<uint64_t>(bounds.window.count());
  std::set<std::string> others;
  int64_t own = 0;
  for (const Departure& each : departures_) {
    if (each.at_ms + window <= phase.clock_ms) continue;
    if (each.group == phase.group) ++own;
    else if (each.cause == phase.cause) others.insert(each.group);
  }
  const bool released = before.groups.at(phase.group).released;
  if (!released && bounds.groups > 0 && static_cast<int64_t>(others.size()) >= bounds.groups)
    throw Violation("breaker", fmt::format("group {} leaves for a failing {}, as {} others did within {} ms", phase.group,
                                           phase.cause, others.size(), window));
  if (!released && bounds.failovers > 0 && own >= bounds.failovers)
    throw Violation("breaker", fmt::format("group {} leaves its server for the {}th time within {} ms", phase.group, own + 1, window));
  departures_.push_back({phase.group, phase.cause, phase.clock_ms});
  world_.count("departures for a failing part");
  check_last_owner(phase, before);
}

void MaintenanceChecker::check_last_owner(const SetGroupPhase& phase, const ClusterState& before) const {
  const auto configuration = known_configuration(before.configuration_text);
  const auto* group = configuration->group(phase.group);
  const auto keys = mirror_keys(*group);
  const auto could = [&](ServerId other) {
    const auto seen = there_.find(other);
    const auto server = servers_.find(other);
    const bool now = server != servers_.end() && server->second->running();
    const bool lately = seen != there_.end() && world_.now() - seen->second <= kNoticed;
    if (other == phase.server || !(now || lately)) return false;
    // The owner may have decided by a state a little older than this one.
    return std::any_of(recent_.begin(), recent_.end(), [&](const ClusterState& state) {
      if (!closed_for_good(state, other).empty() || is_closed(state.server(other))) return false;
      return std::all_of(keys.begin(), keys.end(), [&](const std::string& key) {
        const auto mirror = state.mirrors.find(key);
        return mirror != state.mirrors.end() && mirror->second.in_sync.contains(other);
      });
    });
  };
  if (std::none_of(group->servers.begin(), group->servers.end(), could))
    throw Violation("last owner", fmt::format("group {} leaves server {} for a failing {}, and nobody else could run it",
                                              phase.group, phase.server, phase.cause));
}

void MaintenanceChecker::check_stopped(const ClusterState& after) const {
  for (const auto& [name, group] : after.groups) {
    if (group.owner == ServerId{}) continue;
    if (after.server(group.owner).standing == ServerStanding::kStopped)
      throw Violation("standing", fmt::format("server {} is stopped (X) and owns group {}", group.owner, name));
  }
}

void MaintenanceChecker::look() {
  for (const auto& [id, server] : servers_)
    if (server->running()) there_[id] = world_.now();
}

void MaintenanceChecker::ends(const Server& server, const node::EndServer& end) const {
  if (!end.leftovers.empty()) return;
  for (const auto& group : server.node().configuration().groups)
    if (server.anything_up(group.name))
      throw Violation("shutdown", fmt::format("server {} ends in order with group {} up", server.id(), group.name));
}

std::string MaintenanceChecker::unfinished(const ClusterState& state) const {
  if (state.shutdown) return "the cluster is being shut down";
  if (state.suspension) return "the cluster is suspended";
  for (const auto& [id, record] : state.servers) {
    if (record.shutdown) return fmt::format("server {} is being shut down", id);
    if (record.suspension) return fmt::format("server {} is suspended", id);
    const bool held = record.standing == ServerStanding::kIsolated && record.hold_until_ms != 0;
    if (record.standing != ServerStanding::kNormal && !held)
      return fmt::format("server {} is there, but {}: {}", id, to_string(record.standing), record.reason);
  }
  const auto configuration = known_configuration(state.configuration_text);
  for (const auto& group : configuration->groups) {
    const GroupState& record = state.groups.at(group.name);
    if (record.suspension) return fmt::format("group {} is suspended", group.name);
    if (record.owner == ServerId{} || !state.server(record.owner).drain) continue;
    for (const ServerId other : group.servers) {
      const ServerState& there = state.server(other);
      if (other != record.owner && there.standing == ServerStanding::kNormal && !there.drain && !record.refused.contains(other) &&
          PolicyChecker::may_join(*configuration, state, group, other))
        return fmt::format("server {} is drained, but group {} has not left it for server {}", record.owner, group.name, other);
    }
  }
  return {};
}

}  // namespace baton::sim
