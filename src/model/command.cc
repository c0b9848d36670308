// Judges commands when they are applied, alike on every voter: nothing here depends on anything but the state and the
// command. Those on groups are here, the others beside. docs/protocol.md, "Commands" and "Promotion".
#include "src/model/command.h"

#include <algorithm>

#include "src/base/planted.h"
#include "src/model/breaker.h"
#include "src/model/command_rules.h"
#include "src/model/known_configuration.h"
#include "src/model/mirror_place.h"
#include "src/model/placement.h"

namespace baton {

namespace command_rules {

NamedGroup find_group(ClusterState& state, const std::string& name, uint64_t expected_version) {
  const auto found = state.groups.find(name);
  if (found == state.groups.end()) return {nullptr, refuse("there is no group {}", name)};
  const Applied version = check_version("group", name, expected_version, found->second.version);
  return version.applied ? NamedGroup{&found->second, {}} : NamedGroup{nullptr, version};
}

namespace {

/// What every change of a group records.
void record(GroupState& group, const std::string& reason, uint64_t index) {
  ++group.version;
  group.reason = reason;
  group.since_index = index;
}

Applied check_assignment(ClusterState& state, const AssignGroup& command) {
  const NamedGroup named = find_group(state, command.group, command.expected_version);
  if (named.record == nullptr) return named.refused;
  const GroupState& group = *named.record;
  if (!is_down(group.phase) && group.owner == command.server)
    return refuse("group {} belongs to server {} already", command.group, command.server);
  if (const std::string why = barred(state, command.server); !why.empty())
    return refuse("server {} {}", command.server, why);
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

}  // namespace

Applied apply(ClusterState& state, const AssignGroup& command, uint64_t index) {
  const Applied checked = check_assignment(state, command);
  if (!checked.applied) return checked;
  const auto configuration = known_configuration(state.configuration_text);
  if (!configuration) return refuse("the present configuration cannot be read: {}", configuration.error().message);
  const GroupConfiguration* policy = configuration->group(command.group);
  if (policy == nullptr) return refuse("there is no group {}", command.group);
  if (std::find(policy->servers.begin(), policy->servers.end(), command.server) == policy->servers.end())
    return refuse("server {} is not among the servers of the group {}", command.server, command.group);
  if (const auto obstacle = Placement(*configuration, state).obstacle(*policy, command.server))
    return refuse("{} {}", configuration->server_name(command.server), obstacle->why);
  if (const auto unfenced = unfenced_owner(state, *configuration, state.groups.at(command.group)); !unfenced.empty())
    return Applied{false, unfenced};
  if (!same_mirror_versions(state, *policy, command))
    return refuse("a mirror of the group {} has changed meanwhile", command.group);
  std::map<std::string, Promotion> promotions;
  for (const auto& [key, version] : command.mirror_versions) {
    const PromotionRules rules{policy->servers, first_primary(*configuration, *policy),
                               trailing_may_take_over(*configuration, key)};
    promotions[key] = judge_promotion(key, state.mirrors.at(key), command, rules);
    if (!promotions[key].refusal.empty()) return Applied{false, promotions[key].refusal};
  }
  for (auto& [key, promotion] : promotions) {
    MirrorState& mirror = state.mirrors.at(key);
    ++mirror.version;
    // SAFETY: R9. Above what copies may have seen of a time that this database does not remember.
    if (!planted(Plant::kPermitNotRaised)) mirror.permit.value = std::max(mirror.permit.value, state.permits_above) + 1;
    mirror.unknown = false;
    mirror.holder = command.server;
    mirror.in_sync = std::move(promotion.in_sync);
    mirror.trailing.clear();  // the new primary names it anew
  }
  GroupState& group = state.groups.at(command.group);
  group.phase = GroupPhase::kStarting;
  group.owner = command.server;
  if (!planted(Plant::kTargetKept)) group.target = ServerId{};
  group.parked = ServerId{};
  group.last = command.server;
  if (group.placed != command.server) group.placed = ServerId{};
  record(group, command.reason, index);
  return Applied{true, {}};
}

namespace {

/// What an operator forced has become the mirror's data: the next start is an ordinary one.
void promotions_are_through(ClusterState& state, const SetGroupPhase& command) {
  for (auto& [key, mirror] : state.mirrors) {
    if (mirror.forced != command.server || mirror.holder != command.server) continue;
    if (!key.starts_with(command.group + ".")) continue;
    ++mirror.version;
    mirror.forced = ServerId{};
  }
}

/// SAFETY: A5. Stopped in order, the last primary has everything and is only off: nobody goes before it.
void names_end(ClusterState& state, const std::string& group) {
  for (auto& [key, mirror] : state.mirrors) {
    if (mirror.trailing.empty() || !key.starts_with(group + ".")) continue;
    ++mirror.version;
    mirror.trailing.clear();
  }
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

}  // namespace

namespace {

/// It failed on that server: it goes there again only when it must, and after a pause.
void refuse_server(GroupState& group, const SetGroupPhase& command) {
  Refusal& refusal = group.refused[command.server];
  refusal.reason = command.failure;
  refusal.at_ms = group.failed_on[command.server] = command.clock_ms;
  ++refusal.attempts;
}

/// Stopping a group because something of it keeps failing: judged by the breaker, and remembered.
Applied record_failure(ClusterState& state, GroupState& group, const SetGroupPhase& command) {
  const auto configuration = known_configuration(state.configuration_text);
  if (!configuration) return refuse("the present configuration cannot be read: {}", configuration.error().message);
  const FailureQuestion question{command.group, command.cause, command.clock_ms};
  if (const auto why = breaker_verdict(state, *configuration, question); !why.empty()) return Applied{false, why};
  note_failure(state, *configuration, {command.group, command.server, command.cause, command.clock_ms});
  stamp(state, command.clock_ms);
  refuse_server(group, command);
  group.held.clear();
  group.released = false;
  return Applied{true, {}};
}

}  // namespace

Applied apply(ClusterState& state, const SetGroupPhase& command, uint64_t index) {
  const NamedGroup named = find_group(state, command.group, command.expected_version);
  if (named.record == nullptr) return named.refused;
  GroupState& group = *named.record;
  if (group.owner == ServerId{} || group.owner != command.server)
    return refuse("group {} does not belong to server {}", command.group, command.server);
  if (!may_follow(group.phase, command.phase))
    return refuse("group {} cannot go from {} to {}", command.group, to_string(group.phase), to_string(command.phase));
  const bool keeps_failing = command.phase == GroupPhase::kStopping && !command.cause.empty();
  if (keeps_failing) {
    const Applied judged = record_failure(state, group, command);
    if (!judged.applied) return judged;
  }
  group.phase = command.phase;
  if (command.phase == GroupPhase::kStarted) {
    group.refused.clear();
    group.failed_on.erase(command.server);
    group.asked = false;
    promotions_are_through(state, command);
  }
  if (command.phase == GroupPhase::kStopped && command.failure.empty()) names_end(state, command.group);
  // What the loss of the power or of the majority ended has not failed there.
  if (!command.failure.empty() && !keeps_failing && !command.interrupted) {
    stamp(state, command.clock_ms);
    refuse_server(group, command);
  }
  if (is_down(command.phase)) {
    group.owner = ServerId{};
    group.held.clear();
  }
  record(group, command.reason, index);
  return Applied{true, {}};
}

Applied apply(ClusterState& state, const WishGroup& command, uint64_t index) {
  const NamedGroup named = find_group(state, command.group, command.expected_version);
  if (named.record == nullptr) return named.refused;
  GroupState& group = *named.record;
  if (command.target != ServerId{}) {
    const auto configuration = known_configuration(state.configuration_text);
    if (!configuration) return refuse("the present configuration cannot be read: {}", configuration.error().message);
    const GroupConfiguration* policy = configuration->group(command.group);
    if (policy == nullptr ||
        std::find(policy->servers.begin(), policy->servers.end(), command.target) == policy->servers.end())
      return refuse("server {} is not among the servers of the group {}", command.target, command.group);
  }
  group.wanted = command.wanted;
  // A move to where it is has ended already: nothing of it is left for a later day.
  const bool there = group.owner == command.target && (group.phase == GroupPhase::kStarting || group.phase == GroupPhase::kStarted);
  group.target = there ? ServerId{} : command.target;
  group.parked = command.park;
  const bool runs = group.phase == GroupPhase::kStarted && (command.lost == ServerId{} || command.lost != group.owner);
  const bool fulfilled = runs && (there || command.target == ServerId{});
  group.asked = command.wanted && command.park == ServerId{} && !fulfilled;
  group.refused.clear();
  if (command.author != kOwnAuthor) {
    group.placed = command.wanted ? command.target : ServerId{};
    group.failed_on.clear();
  }
  if (group.phase == GroupPhase::kFailed) group.phase = GroupPhase::kStopped;
  record(group, command.reason, index);
  return Applied{true, {}};
}

Applied apply(ClusterState&, const StartEpoch&, uint64_t) { return Applied{true, {}}; }

/// A copy that may lack what another one of its set was written meanwhile. The only one of a set stays.
static void leave_copies_out(ClusterState& state, ServerId server) {
  for (auto& [key, mirror] : state.mirrors) {
    size_t changes = mirror.trailing.erase(server);
    if (mirror.in_sync.size() > 1) changes += mirror.in_sync.erase(server);
    if (changes > 0) ++mirror.version;
  }
}

/// In effect since it is in the log: there is nothing left to refuse.
Applied apply(ClusterState& state, const SetVoters& command, uint64_t) {
  state.voters = command.voters;
  // SAFETY: W6. Not by the joint one: until the settling one is committed whoever was let go on alone may still do so.
  if (command.voters.before.empty()) state.taken_over = ServerId{};
  return Applied{true, {}};
}

/// Likewise.
Applied apply(ClusterState& state, const TakeOver& command, uint64_t) {
  const bool other_ruled = state.taken_over != ServerId{} && state.taken_over != command.server;
  // SAFETY: W3, I3. This log itself says that the other one went on, or could, when this one was not there.
  const bool other_stayed = state.server(command.server).standing == ServerStanding::kStopped && !state.shut_down;
  // SAFETY: Q6, T8, I3. A person's word beside an arbiter: the other one may have gone on by that, and this log says nothing of it.
  const auto parsed = known_configuration(state.configuration_text);
  const bool beside_arbiter = !command.author.empty() && parsed && may_go_on_by_itself(parsed->np);
  // W7, Q5, T3: nobody goes on by himself whose log lacks anything, though a change of voters may not be settled yet.
  const bool complete = command.author.empty() && state.format_level >= 3;
  if (((other_ruled || other_stayed) && !complete) || beside_arbiter) leave_copies_out(state, command.server);
  state.voters = VoterSet{{command.server}, {}};
  state.taken_over = command.server;
  return Applied{true, {}};
}

}  // namespace command_rules

Applied apply_command(ClusterState& state, const Command& command, uint64_t index) {
  return std::visit([&](const auto& one) { return command_rules::apply(state, one, index); }, command);
}

std::string describe(const Command& command) { return command_rules::line(command); }

}  // namespace baton
