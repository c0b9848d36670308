// Judges a new configuration against what runs and what the stores hold. Pure; the same on every voter.
// docs/protocol.md, "Commands".
#include <algorithm>
#include <array>

#include "src/base/planted.h"
#include "src/model/command_rules.h"
#include "src/model/known_configuration.h"
#include "src/model/mirror_place.h"
#include "src/model/placement.h"

namespace baton::command_rules {

namespace {

struct MirrorDefinition {
  std::string group;
  std::string store;
  std::string metadata;
  uint64_t size_bytes = 0;
  uint16_t port = 0;
  bool encrypt = true;
  Duration max_lag{};
};

std::map<std::string, MirrorDefinition> mirrors_of(const Configuration& configuration) {
  std::map<std::string, MirrorDefinition> mirrors;
  for (const auto& group : configuration.groups)
    for (const auto& resource : group.resources)
      if (resource.kind == ResourceKind::kMirror)
        mirrors[mirror_key(group.name, resource.name)] = {group.name, resource.mirror.store, resource.mirror.metadata,
                                                          resource.mirror.size_bytes, resource.mirror.port,
                                                          resource.mirror.encrypt, resource.mirror.max_lag};
  return mirrors;
}

/// What corosync and the lease were started with: it cannot change yet. Empty: nothing of it differs.
std::string changed_foundation(const Configuration& before, const Configuration& after) {
  const auto timing = [](const TimingProfile& profile) {
    return std::array{profile.token, profile.consensus, profile.link_ping_interval, profile.link_ping_timeout,
                      profile.lease, profile.beat, profile.restart_grace};
  };
  if (timing(before.timing) != timing(after.timing)) return "the timing";
  if (before.link_mode != after.link_mode) return "the mode of the links";
  if (before.cluster_name != after.cluster_name) return "the cluster's name";
  // SAFETY: Q7. With the entry on one server only, each of the two would ask another disk.
  if (before.np == NpKind::kDisk && after.np == NpKind::kDisk && before.np_disk != after.np_disk)
    return "the disk that decides between the servers (np_disk; apply np = \"operator\" first, then np = \"disk\" with the other one)";
  // SAFETY: T9. With the entry on one server only, the one would ask the disk and the other one the targets.
  if (before.np != after.np && may_go_on_by_itself(before.np) && may_go_on_by_itself(after.np))
    return "what decides between the servers (apply np = \"operator\" first)";
  return "";
}

/// Stopped because somebody wants that: nothing starts it meanwhile.
bool is_stopped(const ClusterState& state, const std::string& name) {
  const auto found = state.groups.find(name);
  return found == state.groups.end() || (is_down(found->second.phase) && !found->second.wanted);
}

/// A mirror's store holds its data: another store or metadata under the same name would be another mirror.
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
    if (wanted.store != mirror.store || wanted.metadata != mirror.metadata || wanted.port != mirror.port)
      return refuse("store, metadata and port of mirror {} cannot change once it has been used: make a mirror of "
                    "another name, copy the data over, then remove this one (a port that came with the order of the "
                    "file is kept by writing `port = {}`)", key, mirror.port);
    if (wanted.encrypt != mirror.encrypt && !is_stopped(state, wanted.group))
      return refuse("encryption of mirror {} can change only while its group is stopped, since both servers must agree: "
                    "baton group stop {}, apply, then start it again", key, wanted.group);
    // SAFETY: A5. The primary in use keeps to the greater one, and may have named the other copy under it.
    if (wanted.max_lag > Duration::zero() && wanted.max_lag < mirror.max_lag && !is_stopped(state, wanted.group))
      return refuse("max_lag of mirror {} can become smaller only while its group is stopped: baton group stop {}, apply, then "
                    "start it again", key, wanted.group);
    if (wanted.size_bytes < mirror.size_bytes)
      return refuse("mirror {} cannot shrink from {} to {}: what lies beyond would be lost. Make a smaller mirror of "
                    "another name and copy the data over", key, format_size(mirror.size_bytes),
                    format_size(wanted.size_bytes));
  }
  return Applied{true, {}};
}

/// A mirror's rate, time-outs, protocol and the like may change while it is in use.
bool changes_only_mirror_settings(const GroupConfiguration& present, const GroupConfiguration& wanted) {
  if (present.resources.size() != wanted.resources.size()) return false;
  for (size_t place = 0; place < present.resources.size(); ++place)
    if (with_changeable_members(present.resources[place], wanted.resources[place]) != wanted.resources[place])
      return false;
  return true;
}

/// Everything that a new configuration may not change under a group that is up.
Applied check_running_group(const ClusterState& state, const std::string& name, const Configuration& before, const Configuration& after,
                            const Placement& placement) {
  const GroupState& group = state.groups.at(name);
  if (is_down(group.phase)) return Applied{true, {}};
  const GroupConfiguration* wanted = after.group(name);
  if (wanted == nullptr)
    return refuse("group {} is {}: stop it first (baton group stop {}), then remove it", name, to_string(group.phase),
                  name);
  if (std::find(wanted->servers.begin(), wanted->servers.end(), group.owner) == wanted->servers.end())
    return refuse("group {} runs on {}, which would no longer be among its servers: move it first (baton group move)",
                  name, before.server_name(group.owner));
  // What runs is never stopped to make room: what was decided about its place must go on to hold.
  if (const auto obstacle = placement.conflict(*wanted, group.owner))
    return refuse("group {} is {} on {}, which {}: stop or move one of them first (baton group move), then apply", name,
                  to_string(group.phase), before.server_name(group.owner), obstacle->why);
  const auto* present = before.group(name);
  if (present != nullptr && !changes_only_mirror_settings(*present, *wanted))
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
    if (!state.mirrors.contains(key)) {
      MirrorState& fresh = state.mirrors[key];
      fresh.version = index;
      // SAFETY: R10. There may have been one of this name after the backup was made.
      fresh.unknown = state.permits_above > 0;
    }
  state.groups = std::move(groups);
}

}  // namespace

Applied apply(ClusterState& state, const ApplyConfiguration& command, uint64_t index) {
  if (command.expected_version != state.configuration_version)
    return refuse("the configuration has changed meanwhile (version {}, decided from {})", state.configuration_version,
                  command.expected_version);
  const auto after = known_configuration(command.text);
  if (!after) return refuse("{}", after.error().message);
  const uint32_t level = state.configuration_version == 0 ? std::max(command.format_level, 1U) : state.format_level;
  if (after->level > level)
    return refuse("it uses settings of level {}, and not every voter is known to understand them (level {}): upgrade Baton "
                  "on all servers and the witness, have all of them up once, then apply it", after->level, level);
  if (state.configuration_version != 0) {
    const auto before = known_configuration(state.configuration_text);
    if (!before) return refuse("the present configuration cannot be read: {}", before.error().message);
    if (const auto changed = changed_foundation(*before, *after); !changed.empty())
      return refuse("{} cannot be changed in one step once the cluster is founded", changed);
    if (const auto why = rotation_in_the_way(state, *before, *after); !why.empty()) return Applied{false, why};
    // SAFETY: T9. Who went on by targets is told from who had a person's word by what is configured: T7.
    if (before->np == NpKind::kPing && after->np != NpKind::kPing && state.taken_over != ServerId{} && !planted(Plant::kNpChangedAlone))
      return refuse("one of the two servers decides alone (np = \"ping\"): what decides between them changes only while both do together");
    if (const Applied servers = check_servers(state, *before, *after); !servers.applied) return servers;
    if (const Applied mirrors = check_mirror_definitions(state, *before, *after); !mirrors.applied) return mirrors;
    const Placement placement(*after, state);
    for (const auto& [name, group] : state.groups) {
      const Applied checked = check_running_group(state, name, *before, *after, placement);
      if (!checked.applied) return checked;
    }
  }
  adopt_configuration(state, *after, index);
  state.format_level = level;
  forget_removed_servers(state, *after);
  if (state.configuration_version == 0) {
    const auto founders = after->voters();
    state.voters = VoterSet{{founders.begin(), founders.end()}, {}};
  }
  state.configuration_text = command.text;
  ++state.configuration_version;
  return Applied{true, {}};
}

}  // namespace baton::command_rules
