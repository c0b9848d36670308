// Judges commands about servers and maintenance: standings, suspension, drain, shutdown, holds, levels. Pure; the same on
// every voter. docs/operations.md, "Server states" and "Maintenance"; docs/protocol.md, "Cluster time".
#include <algorithm>

#include "src/base/planted.h"
#include "src/model/command_rules.h"
#include "src/model/known_configuration.h"

namespace baton::command_rules {

namespace {

const Applied kApplied{true, {}};

/// The configured server, or why there is none.
struct Known {
  KnownConfiguration configuration;
  Applied judged;
};

Known find_server(const ClusterState& state, ServerId server, uint64_t expected_version) {
  const auto configuration = known_configuration(state.configuration_text);
  if (!configuration)
    return {configuration, refuse("the present configuration cannot be read: {}", configuration.error().message)};
  if (configuration->server(server) == nullptr) return {configuration, refuse("there is no server {}", server)};
  const Applied version =
      check_version("server", configuration->server_name(server), expected_version, state.server(server).version);
  return {configuration, version};
}

bool may_follow(ServerStanding from, ServerStanding to) {
  switch (to) {
    case ServerStanding::kNormal: return from != ServerStanding::kNormal;
    case ServerStanding::kStopped: return from != ServerStanding::kStopped;
    case ServerStanding::kDown: return from == ServerStanding::kNormal || from == ServerStanding::kIsolated;
    case ServerStanding::kIsolated: return from == ServerStanding::kDown;
  }
  return false;
}

/// What belongs to a server, so that it cannot be said to be stopped.
std::string group_of(const ClusterState& state, ServerId server) {
  for (const auto& [name, group] : state.groups)
    if (!is_down(group.phase) && (server == ServerId{} || group.owner == server)) return name;
  return "";
}

void note_loss(ServerState& record, const Configuration& configuration, uint64_t clock_ms) {
  const auto window = static_cast<uint64_t>(configuration.flapping.window.count());
  std::erase_if(record.losses, [&](uint64_t at) { return at + window <= clock_ms; });
  record.losses.push_back(clock_ms);
}

void set_standing(ClusterState& state, ServerState& record, const SetStanding& command) {
  ++record.version;
  record.standing = command.standing;
  record.reason = command.reason;
  record.since_ms = command.clock_ms;
  record.hold_until_ms = command.hold_until_ms;
  record.life = command.life;
  // A stopped server's shutdown stays on record until it is back: it says what the machine was to do.
  if (command.standing != ServerStanding::kStopped) record.shutdown.reset();
  record.given_up.clear();
  if (command.standing != ServerStanding::kNormal) return;
  if (!command.author.empty()) record.losses.clear();
  for (auto& [name, group] : state.groups) {
    if (group.parked != command.server) continue;
    group.parked = ServerId{};
    ++group.version;
  }
}

}  // namespace

std::string barred(const ClusterState& state, ServerId server) {
  const ServerState& record = state.server(server);
  if (record.standing == ServerStanding::kIsolated && record.hold_until_ms == 0)
    return "is isolated (Od): it was down and has not returned to the cluster";
  const bool ends = record.shutdown && !planted(Plant::kShutdownIgnored);
  if (record.standing == ServerStanding::kStopped || ends) return "is being shut down";
  if (state.shutdown) return "cannot start anything while the cluster is shut down";
  return "";
}

Applied apply(ClusterState& state, const SetStanding& command, uint64_t) {
  const Known known = find_server(state, command.server, command.expected_version);
  if (!known.judged.applied) return known.judged;
  const std::string name = known.configuration->server_name(command.server);
  const ServerStanding present = state.server(command.server).standing;
  if (!may_follow(present, command.standing))
    return refuse("{} cannot go from {} to {}", name, to_string(present), to_string(command.standing));
  if (command.standing == ServerStanding::kStopped) {
    if (!state.server(command.server).shutdown) return refuse("nobody asked for a shutdown of {}", name);
    if (const auto group = group_of(state, command.server); !group.empty())
      return refuse("{} cannot end: group {} is still there", name, group);
  }
  stamp(state, command.clock_ms);
  ServerState& record = state.servers[command.server];
  if (command.standing == ServerStanding::kDown) note_loss(record, *known.configuration, command.clock_ms);
  set_standing(state, record, command);
  return kApplied;
}

namespace {

/// Puts a suspension where it belongs, or takes it away.
Applied set_suspension(std::optional<Suspension>& place, const SetSuspension& command, const std::string& what) {
  if (!command.suspended && !place) return refuse("{} is not suspended", what);
  if (!command.suspended) {
    place.reset();
    return kApplied;
  }
  place = Suspension{command.author, command.reason, command.clock_ms, command.until_ms};
  return kApplied;
}

Applied suspend_group(ClusterState& state, const SetSuspension& command) {
  const NamedGroup named = find_group(state, command.group, command.expected_version);
  if (named.record == nullptr) return named.refused;
  const Applied done = set_suspension(named.record->suspension, command, "group " + command.group);
  if (done.applied) ++named.record->version;
  return done;
}

Applied suspend_server(ClusterState& state, const SetSuspension& command) {
  const Known known = find_server(state, command.server, command.expected_version);
  if (!known.judged.applied) return known.judged;
  ServerState record = state.server(command.server);
  const Applied done = set_suspension(record.suspension, command, known.configuration->server_name(command.server));
  if (!done.applied) return done;
  ++record.version;
  state.servers[command.server] = record;
  return done;
}

}  // namespace

Applied apply(ClusterState& state, const SetSuspension& command, uint64_t) {
  Applied done;
  if (!command.group.empty()) {
    done = suspend_group(state, command);
  } else if (command.server != ServerId{}) {
    done = suspend_server(state, command);
  } else {
    done = check_version("the cluster's maintenance", "", command.expected_version, state.maintenance_version);
    if (done.applied) done = set_suspension(state.suspension, command, "the cluster");
    if (done.applied) ++state.maintenance_version;
  }
  if (done.applied) stamp(state, command.clock_ms);
  return done;
}

Applied apply(ClusterState& state, const SetDrain& command, uint64_t) {
  const Known known = find_server(state, command.server, command.expected_version);
  if (!known.judged.applied) return known.judged;
  const std::string name = known.configuration->server_name(command.server);
  if (known.configuration->server(command.server)->role == ServerRole::kWitness)
    return refuse("{} is the witness, which runs no group", name);
  if (!command.draining && !state.server(command.server).drain) return refuse("{} is not being drained", name);
  ServerState& record = state.servers[command.server];
  ++record.version;
  record.drain.reset();
  if (command.draining) record.drain = Drain{command.author, command.reason, command.clock_ms};
  stamp(state, command.clock_ms);
  return kApplied;
}

namespace {

Shutdown shutdown_of(const SetShutdown& command) {
  return {command.move, command.afterwards, command.author, command.reason, command.clock_ms, command.deadline_ms,
          command.lives};
}

Applied shut_server_down(ClusterState& state, const SetShutdown& command) {
  const Known known = find_server(state, command.server, command.expected_version);
  if (!known.judged.applied) return known.judged;
  const std::string name = known.configuration->server_name(command.server);
  const ServerState& present = state.server(command.server);
  if (known.configuration->server(command.server)->role == ServerRole::kWitness)
    return refuse("{} is the witness, which runs no group: end its batond (systemctl stop batond)", name);
  if (present.standing == ServerStanding::kStopped) return refuse("{} is stopped already", name);
  if (command.step == SetShutdown::Step::kBegin && present.standing == ServerStanding::kDown)
    return refuse("{} is down (Xd): there is nothing to shut down; if it is back, ask again in a moment", name);
  if (command.step == SetShutdown::Step::kCancel && !present.shutdown && present.given_up.empty())
    return refuse("{} is not being shut down", name);
  if (command.step != SetShutdown::Step::kBegin && command.step != SetShutdown::Step::kCancel)
    return refuse("a server's shutdown ends with its standing");
  // Not by a person, but for what failed: two at once would be each other's refuge.
  if (command.author == kOwnAuthor && command.step == SetShutdown::Step::kBegin)
    for (const auto& [other, server] : state.servers)
      if (other != command.server && server.shutdown && server.standing != ServerStanding::kStopped)
        return refuse("{} is being shut down: {} stays until that is over", known.configuration->server_name(other), name);
  ServerState& record = state.servers[command.server];
  ++record.version;
  record.shutdown.reset();
  record.given_up = command.given_up ? command.reason : "";
  if (command.step == SetShutdown::Step::kBegin) {
    record.shutdown = shutdown_of(command);
    return kApplied;
  }
  for (auto& [group_name, group] : state.groups) {
    if (group.parked != command.server) continue;
    group.parked = ServerId{};
    ++group.version;
  }
  return kApplied;
}

/// Its groups are down: the servers that end now are stopped from here on.
Applied end_cluster(ClusterState& state, const SetShutdown& command) {
  if (!state.shutdown) return refuse("nobody asked for a shutdown of the cluster");
  if (const auto group = group_of(state, ServerId{}); !group.empty())
    return refuse("the cluster cannot end: group {} is still up", group);
  state.shut_down = true;
  for (const auto& [server, start] : command.lives) {
    ServerState& record = state.servers[server];
    ++record.version;
    record.standing = ServerStanding::kStopped;
    record.reason = "the cluster was shut down: " + state.shutdown->reason;
    record.since_ms = command.clock_ms;
    record.hold_until_ms = 0;
    record.life = start;
  }
  return kApplied;
}

/// Who has not come back yet is missing from here on, no longer stopped. (A server's own shutdown stays with it.)
void start_cluster(ClusterState& state, const SetShutdown& command) {
  state.shutdown.reset();
  state.shut_down = false;
  for (auto& [server, record] : state.servers) {
    if (record.standing != ServerStanding::kStopped || record.shutdown) continue;
    ++record.version;
    record.standing = ServerStanding::kNormal;
    record.reason = "the cluster was started again";
    record.since_ms = command.clock_ms;
  }
}

Applied shut_cluster_down(ClusterState& state, const SetShutdown& command) {
  const Applied version =
      check_version("the cluster's maintenance", "", command.expected_version, state.maintenance_version);
  if (!version.applied) return version;
  Applied done = kApplied;
  switch (command.step) {
    case SetShutdown::Step::kBegin:
      if (state.shut_down) return refuse("the cluster is shut down already");
      state.shutdown = shutdown_of(command);
      state.given_up.clear();
      break;
    case SetShutdown::Step::kCancel:
      // That one was given up has been read, and is put away.
      if ((!state.shutdown && state.given_up.empty()) || state.shut_down) return refuse("the cluster is not being shut down");
      state.shutdown.reset();
      state.given_up = command.given_up ? command.reason : "";
      break;
    case SetShutdown::Step::kEnd:
      done = end_cluster(state, command);
      break;
    case SetShutdown::Step::kStarted:
      if (!state.shutdown) return refuse("the cluster was not shut down");
      start_cluster(state, command);
      break;
  }
  if (done.applied) ++state.maintenance_version;
  return done;
}

}  // namespace

Applied apply(ClusterState& state, const SetShutdown& command, uint64_t) {
  const Applied done = command.server == ServerId{} ? shut_cluster_down(state, command) : shut_server_down(state, command);
  if (done.applied) stamp(state, command.clock_ms);
  return done;
}

Applied apply(ClusterState& state, const HoldGroup& command, uint64_t) {
  const NamedGroup named = find_group(state, command.group, command.expected_version);
  if (named.record == nullptr) return named.refused;
  GroupState& group = *named.record;
  if (is_down(group.phase) || group.owner != command.server)
    return refuse("group {} does not run on server {}", command.group, command.server);
  group.held = command.reason;
  ++group.version;
  return kApplied;
}

Applied apply(ClusterState& state, const ReleaseGroup& command, uint64_t) {
  const NamedGroup named = find_group(state, command.group, command.expected_version);
  if (named.record == nullptr) return named.refused;
  GroupState& group = *named.record;
  if (group.held.empty()) return refuse("group {} is not held", command.group);
  std::erase_if(state.failures, [&](const Failure& failure) { return failure.group == command.group; });
  group.held.clear();
  group.refused.clear();
  group.failed_on.clear();
  group.released = true;
  ++group.version;
  return kApplied;
}

Applied apply(ClusterState& state, const RaiseFormatLevel& command, uint64_t) {
  if (command.level <= state.format_level) return refuse("the level is {} already", state.format_level);
  state.format_level = command.level;
  return kApplied;
}

}  // namespace baton::command_rules

namespace baton {

namespace {

uint32_t level_of(const SetStanding&) { return 2; }
uint32_t level_of(const SetSuspension&) { return 2; }
uint32_t level_of(const SetDrain&) { return 2; }
uint32_t level_of(const SetShutdown&) { return 2; }
uint32_t level_of(const HoldGroup&) { return 2; }
uint32_t level_of(const ReleaseGroup&) { return 2; }
uint32_t level_of(const RaiseFormatLevel&) { return 2; }
uint32_t level_of(const TakeOver&) { return 2; }
uint32_t level_of(const RestoreDatabase&) { return 3; }
uint32_t level_of(const AssignGroup& command) { return command.unused.empty() ? 1 : 3; }
uint32_t level_of(const RotateKeys&) { return 3; }
/// Joint with itself: a recovery. Who was given up has to know what a lineage is.
uint32_t level_of(const SetVoters& command) { return command.voters.now == command.voters.before ? 3 : 1; }
uint32_t level_of(const SetGroupPhase& command) { return command.cause.empty() ? 1 : 2; }
uint32_t level_of(const WishGroup& command) { return command.park == ServerId{} && command.lost == ServerId{} ? 1 : 2; }
template <class Other>
uint32_t level_of(const Other&) { return 1; }

}  // namespace

uint32_t required_level(const Command& command) {
  return std::visit([](const auto& one) { return level_of(one); }, command);
}

}  // namespace baton
