// Judges commands when they are applied, alike on every voter: nothing here depends on anything but the state and the
// command. docs/protocol.md, "Commands", "Permits", "In-sync set" and "Promotion".
#include "src/model/command.h"

#include <algorithm>
#include <array>
#include <set>
#include <tuple>

#include <fmt/format.h>

#include "src/base/planted.h"
#include "src/model/configuration_toml.h"

namespace baton {

namespace {

template <class... Args>
Applied refuse(fmt::format_string<Args...> format, Args&&... args) {
  return Applied{false, fmt::format(format, std::forward<Args>(args)...)};
}

bool is_down(GroupPhase phase) { return phase == GroupPhase::kStopped || phase == GroupPhase::kFailed; }

/// What every change of a group records.
void record(GroupState& group, const std::string& reason, uint64_t index) {
  ++group.version;
  group.reason = reason;
  group.since_index = index;
}

Applied check_version(const char* what, const std::string& name, uint64_t expected, uint64_t present) {
  if (expected == present) return Applied{true, {}};
  return refuse("{} {} has changed meanwhile (version {}, decided from {})", what, name, present, expected);
}

// ---- Configuration ----

struct MirrorDefinition {
  std::string group;
  std::string store;
  uint64_t size_bytes = 0;
  uint16_t port = 0;
};

std::map<std::string, MirrorDefinition> mirrors_of(const Configuration& configuration) {
  std::map<std::string, MirrorDefinition> mirrors;
  for (const auto& group : configuration.groups)
    for (const auto& resource : group.resources)
      if (resource.kind == ResourceKind::kMirror)
        mirrors[mirror_key(group.name, resource.name)] = {group.name, resource.mirror.store,
                                                          resource.mirror.size_bytes, resource.mirror.port};
  return mirrors;
}

/// What corosync, the lease and the voters were started with: it cannot change yet. Empty: nothing of it differs.
std::string changed_foundation(const Configuration& before, const Configuration& after) {
  using Facts = std::tuple<std::string, ServerRole, std::vector<std::string>>;
  const auto servers = [](const Configuration& configuration) {
    std::map<ServerId, Facts> list;
    for (const auto& server : configuration.servers) list[server.id] = {server.name, server.role, server.interconnects};
    return list;
  };
  const auto timing = [](const TimingProfile& profile) {
    return std::array{profile.token, profile.consensus, profile.link_ping_interval, profile.link_ping_timeout,
                      profile.lease, profile.beat, profile.restart_grace};
  };
  if (servers(before) != servers(after)) return "the servers, the witness and their interconnects";
  if (timing(before.timing) != timing(after.timing)) return "the timing";
  if (before.cluster_name != after.cluster_name) return "the cluster's name";
  return "";
}

/// A mirror's store holds its data: another store, size or port under the same name would be another mirror.
Applied check_mirror_definitions(const ClusterState& state, const Configuration& before, const Configuration& after) {
  const auto old_mirrors = mirrors_of(before);
  for (const auto& [key, wanted] : mirrors_of(after)) {
    const auto record = state.mirrors.find(key);
    if (record == state.mirrors.end() || record->second.permit == Permit{}) continue;
    // SAFETY: I3. Its metadata on the servers would vouch for whatever store it is given now.
    const auto found = old_mirrors.find(key);
    if (found == old_mirrors.end())
      return refuse("there was a mirror {} before, and its metadata is still on the servers: choose another name", key);
    const MirrorDefinition& mirror = found->second;
    if (wanted.store != mirror.store || wanted.size_bytes != mirror.size_bytes || wanted.port != mirror.port)
      return refuse("store, size and port of mirror {} cannot change once it has been used: make a mirror of another "
                    "name, copy the data over, then remove this one (a port that came with the order of the file is "
                    "kept by writing `port = {}`)", key, mirror.port);
  }
  return Applied{true, {}};
}

/// Everything that a new configuration may not change under a group that is up.
Applied check_running_group(const ClusterState& state, const std::string& name, const Configuration& before,
                            const Configuration& after) {
  const GroupState& group = state.groups.at(name);
  if (is_down(group.phase)) return Applied{true, {}};
  const GroupConfiguration* wanted = after.group(name);
  if (wanted == nullptr)
    return refuse("group {} is {}: stop it first (baton group stop {}), then remove it", name, to_string(group.phase),
                  name);
  if (std::find(wanted->servers.begin(), wanted->servers.end(), group.owner) == wanted->servers.end())
    return refuse("group {} runs on {}, which would no longer be among its servers: move it first (baton group move)",
                  name, before.server_name(group.owner));
  const auto* present = before.group(name);
  if (present != nullptr && present->resources != wanted->resources)
    return refuse("the resources of group {} cannot change while it is {}: stop it first (baton group stop {}), apply, "
                  "then start it again", name, to_string(group.phase), name);
  return Applied{true, {}};
}

/// Versions of new groups and mirrors start at the log index: one that is removed and made anew never has a version
/// again from which an old command was decided.
void adopt_configuration(ClusterState& state, const Configuration& after, uint64_t index) {
  std::map<std::string, GroupState> groups;
  for (const auto& group : after.groups) {
    const auto found = state.groups.find(group.name);
    if (found != state.groups.end()) {
      groups[group.name] = found->second;
      continue;
    }
    GroupState& fresh = groups[group.name];
    fresh.version = index;
    fresh.wanted = group.startup == Startup::kAutomatic;
    fresh.reason = "configured";
    fresh.since_index = index;
  }
  // SAFETY: I3, P1. The record of a mirror outlives its place in the configuration: if it comes back, its copies know
  // the old permits, and only those that were in sync may be used.
  for (const auto& [key, definition] : mirrors_of(after))
    if (!state.mirrors.contains(key)) state.mirrors[key].version = index;
  state.groups = std::move(groups);
}

Applied apply(ClusterState& state, const ApplyConfiguration& command, uint64_t index) {
  if (command.expected_version != state.configuration_version)
    return refuse("the configuration has changed meanwhile (version {}, decided from {})", state.configuration_version,
                  command.expected_version);
  auto after = parse_configuration(command.text);
  if (!after) return refuse("{}", after.error().message);
  if (state.configuration_version != 0) {
    const auto before = parse_configuration(state.configuration_text);
    if (!before) return refuse("the present configuration cannot be read: {}", before.error().message);
    if (const auto changed = changed_foundation(*before, *after); !changed.empty())
      return refuse("{} cannot be changed yet once the cluster is founded", changed);
    if (const Applied mirrors = check_mirror_definitions(state, *before, *after); !mirrors.applied) return mirrors;
    for (const auto& [name, group] : state.groups) {
      const Applied checked = check_running_group(state, name, *before, *after);
      if (!checked.applied) return checked;
    }
  }
  adopt_configuration(state, *after, index);
  state.configuration_text = command.text;
  ++state.configuration_version;
  return Applied{true, {}};
}

// ---- Groups ----

/// The in-sync set of a mirror after `server` was given its permit, or why it must not be.
struct Promotion {
  std::string refusal;
  std::map<ServerId, Incarnation> in_sync;
};

Promotion judge_promotion(const std::string& key, const MirrorState& mirror, const AssignGroup& command,
                          ServerId first_of_policy) {
  const auto reports = command.reported.find(key);
  if (reports == command.reported.end() || !reports->second.contains(command.server))
    return {fmt::format("the copy of mirror {} on server {} has not reported", key, command.server), {}};
  const auto& reported = reports->second;
  const Incarnation own = reported.at(command.server);
  const std::map<ServerId, Incarnation> only_it{{command.server, own}};
  // SAFETY: S6. Nothing was ever acknowledged; one place decides whose content counts.
  if (mirror.in_sync.empty()) {
    if (command.server == first_of_policy) return {{}, only_it};
    return {fmt::format("mirror {} was never promoted: it starts on server {}, the first of the policy", key,
                        first_of_policy), {}};
  }
  const auto member = mirror.in_sync.find(command.server);
  // SAFETY: S4. A copy that restarted uncleanly since it was in sync may lack acknowledged writes.
  if (member != mirror.in_sync.end() && (member->second == own || planted(Plant::kUncleanCopyPromoted))) {
    if (command.alone) return {{}, only_it};
    auto in_sync = mirror.in_sync;
    in_sync[command.server] = own;
    return {{}, in_sync};
  }
  // SAFETY: S5. The whole set crashed: every member says so itself, and the last holder of the permit goes first.
  const bool whole_set_crashed =
      std::all_of(mirror.in_sync.begin(), mirror.in_sync.end(), [&](const auto& each) {
        const auto report = reported.find(each.first);
        return report != reported.end() && report->second != each.second;
      });
  if (member != mirror.in_sync.end() && whole_set_crashed) {
    if (command.server == mirror.holder) return {{}, only_it};
    return {fmt::format("all copies of mirror {} restarted uncleanly: server {}, the last primary, goes first", key,
                        mirror.holder), {}};
  }
  if (member == mirror.in_sync.end())
    return {fmt::format("the copy of mirror {} on server {} is not in sync", key, command.server), {}};
  return {fmt::format("the copy of mirror {} on server {} restarted uncleanly and is not readmitted", key,
                      command.server), {}};
}

Applied check_assignment(const ClusterState& state, const AssignGroup& command) {
  const auto found = state.groups.find(command.group);
  if (found == state.groups.end()) return refuse("there is no group {}", command.group);
  const GroupState& group = found->second;
  const Applied version = check_version("group", command.group, command.expected_version, group.version);
  if (!version.applied) return version;
  if (!is_down(group.phase) && group.owner == command.server)
    return refuse("group {} belongs to server {} already", command.group, command.server);
  return Applied{true, {}};
}

/// The mirrors that the group has by the present configuration (records of removed ones stay, but do not count).
bool same_mirror_versions(const ClusterState& state, const GroupConfiguration& group, const AssignGroup& command) {
  std::map<std::string, uint64_t> versions;
  for (const auto& resource : group.resources) {
    if (resource.kind != ResourceKind::kMirror) continue;
    const auto key = mirror_key(group.name, resource.name);
    versions[key] = state.mirrors.at(key).version;
  }
  return versions == command.mirror_versions;
}

Applied apply(ClusterState& state, const AssignGroup& command, uint64_t index) {
  const Applied checked = check_assignment(state, command);
  if (!checked.applied) return checked;
  const auto configuration = parse_configuration(state.configuration_text);
  if (!configuration) return refuse("the present configuration cannot be read: {}", configuration.error().message);
  const GroupConfiguration* policy = configuration->group(command.group);
  if (policy == nullptr) return refuse("there is no group {}", command.group);
  if (std::find(policy->servers.begin(), policy->servers.end(), command.server) == policy->servers.end())
    return refuse("server {} is not among the servers of the group {}", command.server, command.group);
  if (!same_mirror_versions(state, *policy, command))
    return refuse("a mirror of the group {} has changed meanwhile", command.group);
  std::map<std::string, Promotion> promotions;
  for (const auto& [key, version] : command.mirror_versions) {
    promotions[key] = judge_promotion(key, state.mirrors.at(key), command, policy->servers.front());
    if (!promotions[key].refusal.empty()) return Applied{false, promotions[key].refusal};
  }
  for (auto& [key, promotion] : promotions) {
    MirrorState& mirror = state.mirrors.at(key);
    ++mirror.version;
    ++mirror.permit.value;
    mirror.holder = command.server;
    mirror.in_sync = std::move(promotion.in_sync);
  }
  GroupState& group = state.groups.at(command.group);
  group.phase = GroupPhase::kStarting;
  group.owner = command.server;
  group.target = ServerId{};
  record(group, command.reason, index);
  return Applied{true, {}};
}

bool may_follow(GroupPhase from, GroupPhase to) {
  switch (to) {
    case GroupPhase::kStarting: return false;  // by AssignGroup only
    case GroupPhase::kStarted: return from == GroupPhase::kStarting;
    case GroupPhase::kStopping: return from == GroupPhase::kStarting || from == GroupPhase::kStarted;
    case GroupPhase::kStopped:
    case GroupPhase::kFailed: return !is_down(from);
  }
  return false;
}

Applied apply(ClusterState& state, const SetGroupPhase& command, uint64_t index) {
  const auto found = state.groups.find(command.group);
  if (found == state.groups.end()) return refuse("there is no group {}", command.group);
  GroupState& group = found->second;
  const Applied version = check_version("group", command.group, command.expected_version, group.version);
  if (!version.applied) return version;
  if (group.owner == ServerId{} || group.owner != command.server)
    return refuse("group {} does not belong to server {}", command.group, command.server);
  if (!may_follow(group.phase, command.phase))
    return refuse("group {} cannot go from {} to {}", command.group, to_string(group.phase), to_string(command.phase));
  group.phase = command.phase;
  if (command.phase == GroupPhase::kStarted) group.refused.clear();
  if (!command.failure.empty()) {
    Refusal& refusal = group.refused[command.server];
    refusal.reason = command.failure;
    ++refusal.attempts;
  }
  if (is_down(command.phase)) group.owner = ServerId{};
  record(group, command.reason, index);
  return Applied{true, {}};
}

Applied apply(ClusterState& state, const WishGroup& command, uint64_t index) {
  const auto found = state.groups.find(command.group);
  if (found == state.groups.end()) return refuse("there is no group {}", command.group);
  GroupState& group = found->second;
  const Applied version = check_version("group", command.group, command.expected_version, group.version);
  if (!version.applied) return version;
  if (command.target != ServerId{}) {
    const auto configuration = parse_configuration(state.configuration_text);
    if (!configuration) return refuse("the present configuration cannot be read: {}", configuration.error().message);
    const GroupConfiguration* policy = configuration->group(command.group);
    if (policy == nullptr ||
        std::find(policy->servers.begin(), policy->servers.end(), command.target) == policy->servers.end())
      return refuse("server {} is not among the servers of the group {}", command.target, command.group);
  }
  group.wanted = command.wanted;
  group.target = command.target;
  group.refused.clear();
  if (group.phase == GroupPhase::kFailed) group.phase = GroupPhase::kStopped;
  record(group, command.reason, index);
  return Applied{true, {}};
}

Applied apply(ClusterState& state, const SetInSync& command, uint64_t) {
  const auto found = state.mirrors.find(command.mirror);
  if (found == state.mirrors.end()) return refuse("there is no mirror {}", command.mirror);
  MirrorState& mirror = found->second;
  const Applied version = check_version("mirror", command.mirror, command.expected_version, mirror.version);
  if (!version.applied) return version;
  // SAFETY: P4. Only the holder of the current permit changes the set.
  if (mirror.permit == Permit{} || command.permit != mirror.permit)
    return refuse("permit {} of mirror {} is not the current one ({})", command.permit, command.mirror, mirror.permit);
  if (!command.in_sync.contains(mirror.holder))
    return refuse("the in-sync set of mirror {} must contain its primary, server {}", command.mirror, mirror.holder);
  ++mirror.version;
  mirror.in_sync = command.in_sync;
  return Applied{true, {}};
}

Applied apply(ClusterState&, const StartEpoch&, uint64_t) { return Applied{true, {}}; }

// ---- For people ----

std::string with_reason(std::string text, const std::string& reason) {
  return reason.empty() ? text : text + ": " + reason;
}

std::string line(const StartEpoch& command) { return fmt::format("database: epoch of server {} begins", command.leader); }
std::string line(const ApplyConfiguration& command) {
  return fmt::format("configuration: version {} by {}", command.expected_version + 1, command.author);
}
std::string line(const AssignGroup& command) {
  return with_reason(fmt::format("group {}: assign to server {}{}", command.group, command.server,
                                 command.alone ? " alone" : ""), command.reason);
}
std::string line(const SetGroupPhase& command) {
  auto text = with_reason(fmt::format("group {}: {} on server {}", command.group, to_string(command.phase),
                                      command.server), command.reason);
  return command.failure.empty() || command.failure == command.reason ? text : text + " (" + command.failure + ")";
}
std::string line(const WishGroup& command) {
  const std::string where = command.target == ServerId{} ? "" : fmt::format(" on server {}", command.target);
  const std::string who = command.author.empty() ? "" : fmt::format(" by {}", command.author);
  return with_reason(fmt::format("group {}: wanted {}{}{}", command.group, command.wanted ? "running" : "stopped",
                                 where, who), command.reason);
}
std::string line(const SetInSync& command) {
  std::string servers;
  for (const auto& [server, incarnation] : command.in_sync)
    servers += fmt::format("{}{}", servers.empty() ? "" : ", ", server);
  return with_reason(fmt::format("mirror {}: in sync on server {}", command.mirror, servers), command.reason);
}

}  // namespace

Applied apply_command(ClusterState& state, const Command& command, uint64_t index) {
  return std::visit([&](const auto& one) { return apply(state, one, index); }, command);
}

std::string describe(const Command& command) {
  return std::visit([](const auto& one) { return line(one); }, command);
}

}  // namespace baton
