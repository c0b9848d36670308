// Judges commands on mirrors, and whether a copy may be promoted. Pure; the same on every voter. docs/protocol.md,
// "Permits", "In-sync set" and "Promotion".
#include <algorithm>

#include "src/base/planted.h"
#include "src/model/command_rules.h"
#include "src/model/known_configuration.h"
#include "src/model/mirror_place.h"

namespace baton::command_rules {

namespace {

/// SAFETY: A5, I3. A copy that the primary itself has named as hardly behind, of a protocol that promises no more, when
/// none of those is there that have everything; and whoever decided it has said what may be lost.
bool trailing_takes_over(const MirrorState& mirror, const AssignGroup& command, const std::map<ServerId, Incarnation>& reported,
                         const PromotionRules& rules) {
  const auto named = mirror.trailing.find(command.server);
  if (!rules.trailing_may || command.loss.empty() || named == mirror.trailing.end()) return false;
  if (named->second != reported.at(command.server)) return false;
  return std::none_of(mirror.in_sync.begin(), mirror.in_sync.end(),
                      [&](const auto& member) { return reported.contains(member.first); });
}

/// SAFETY: R10, I3. Configured since the restore, and nobody who has a copy of it by now knows of a single write.
bool is_unused(const std::string& key, const MirrorState& mirror, const AssignGroup& command, const PromotionRules& rules) {
  if (mirror.permit != Permit{} || !command.unused.contains(key)) return false;
  const auto& reported = command.reported.at(key);
  return std::all_of(rules.servers.begin(), rules.servers.end(), [&](ServerId server) {
    const auto report = reported.find(server);
    return report != reported.end() && report->second != Incarnation{};
  });
}

}  // namespace

Promotion judge_promotion(const std::string& key, const MirrorState& mirror, const AssignGroup& command,
                          const PromotionRules& rules) {
  const auto reports = command.reported.find(key);
  if (reports == command.reported.end() || !reports->second.contains(command.server))
    return {fmt::format("the copy of mirror {} on server {} has not reported", key, command.server), {}};
  if (mirror.restricted.contains(command.server))
    return {fmt::format("an operator keeps mirror {} away from server {} (baton mirror restrict)", key, command.server),
            {}};
  const auto& reported = reports->second;
  const Incarnation own = reported.at(command.server);
  if (own == Incarnation{}) return {fmt::format("server {} has no usable copy of mirror {}", command.server, key), {}};
  const std::map<ServerId, Incarnation> only_it{{command.server, own}};
  // SAFETY: R8, I3. What the backup said of the copies is nothing to go by.
  if (mirror.unknown && !is_unused(key, mirror, command, rules))
    return {fmt::format("the database was restored from a backup, and which copies of mirror {} have everything is not known: a "
                        "person names one (baton mirror force)", key), {}};
  // SAFETY: S6. Nothing was ever acknowledged; one place decides whose content counts.
  if (mirror.in_sync.empty()) {
    if (command.server == rules.first) return {{}, only_it};
    return {fmt::format("mirror {} was never promoted: it starts on server {}, which its first data is taken from", key,
                        rules.first), {}};
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
        // A copy that cannot be opened now says nothing of itself: it may have everything.
        return report != reported.end() && report->second != Incarnation{} && report->second != each.second;
      });
  if (member != mirror.in_sync.end() && whole_set_crashed) {
    // A set that its holder has left (D1, or forced) is of one copy, which has everything that there is.
    // When the last holder's disk is lost as well, every acknowledged flush is on the other copies.
    const bool first_of_them = command.server == mirror.holder || command.holder_lost.contains(key);
    if (first_of_them || mirror.in_sync.size() == 1) return {{}, only_it};
    return {fmt::format("all copies of mirror {} restarted uncleanly: server {}, the last primary, goes first", key,
                        mirror.holder), {}};
  }
  if (member == mirror.in_sync.end() && trailing_takes_over(mirror, command, reported, rules)) return {{}, only_it};
  if (member == mirror.in_sync.end())
    return {fmt::format("the copy of mirror {} on server {} is not in sync", key, command.server), {}};
  return {fmt::format("the copy of mirror {} on server {} restarted uncleanly and is not readmitted", key,
                      command.server), {}};
}

namespace {

/// The record that a command names, with what the configuration says of it.
struct NamedMirror {
  MirrorState* record = nullptr;
  std::string refusal;
  GroupConfiguration group;
};

NamedMirror find_record(ClusterState& state, const std::string& key, uint64_t expected_version) {
  const auto found = state.mirrors.find(key);
  if (found == state.mirrors.end()) return {nullptr, fmt::format("there is no mirror {}", key), {}};
  const Applied version = check_version("mirror", key, expected_version, found->second.version);
  if (!version.applied) return {nullptr, version.refusal, {}};
  const auto configuration = known_configuration(state.configuration_text);
  if (!configuration)
    return {nullptr, fmt::format("the present configuration cannot be read: {}", configuration.error().message), {}};
  const MirrorPlace place = find_mirror(*configuration, key);
  if (!place) return {nullptr, fmt::format("there is no mirror {} any more", key), {}};
  return {&found->second, {}, *place.group};
}

bool has_server(const GroupConfiguration& group, ServerId server) {
  return std::find(group.servers.begin(), group.servers.end(), server) != group.servers.end();
}

/// Rules of the set that a primary wants (docs/protocol.md, S1-S3, D1).
Applied check_set(const std::string& key, const MirrorState& mirror, const std::map<ServerId, Incarnation>& wanted) {
  if (wanted.empty()) return refuse("the in-sync set of mirror {} cannot become empty", key);
  if (wanted == mirror.in_sync) return Applied{true, {}};
  // SAFETY: D1. The holder's disk has failed: only the very copy that was in sync with it has everything. From then on
  // the holder names nobody: what it serves comes from that copy.
  if (!mirror.in_sync.contains(mirror.holder))
    return refuse("server {} has left the in-sync set of mirror {} and cannot change it", mirror.holder, key);
  if (!wanted.contains(mirror.holder)) {
    const auto other = mirror.in_sync.find(wanted.begin()->first);
    const bool were_the_two = mirror.in_sync.size() == 2 && wanted.size() == 1 && other != mirror.in_sync.end() &&
                              other->second == wanted.begin()->second;
    return were_the_two ? Applied{true, {}}
                        : refuse("the in-sync set of mirror {} must contain its primary, server {}, unless its disk has "
                                 "failed and the other copy was in sync with it", key, mirror.holder);
  }
  if (!mirror.broken) return Applied{true, {}};
  for (const auto& [server, incarnation] : wanted)
    if (server != mirror.holder && !mirror.in_sync.contains(server))
      return refuse("mirror {} is broken: no copy joins it until an operator rejoins it (baton mirror rejoin {})", key,
                    key);
  return Applied{true, {}};
}

/// A5: beside the primary, which alone is in the set, and never while a person has broken the mirror.
Applied check_trailing(const MirrorState& mirror, const SetInSync& command) {
  if (command.trailing.empty()) return Applied{true, {}};
  if (mirror.broken) return refuse("mirror {} is broken: no copy may take over by itself", command.mirror);
  const bool holder_alone = command.in_sync.size() == 1 && command.in_sync.contains(mirror.holder);
  if (!holder_alone || command.trailing.contains(mirror.holder))
    return refuse("a copy of mirror {} can trail only behind its primary, server {}, alone in the in-sync set",
                  command.mirror, mirror.holder);
  return Applied{true, {}};
}

/// SAFETY: S3. A copy that is to be named anew is one of a server that has it by the present configuration: the proposal
/// may have been on its way while the server left, and nobody would ever take the name of one that has left out again.
Applied check_newcomers(const ClusterState& state, const MirrorState& mirror, const SetInSync& command) {
  std::set<ServerId> newcomers;
  for (const auto& [server, incarnation] : command.in_sync)
    if (!mirror.in_sync.contains(server)) newcomers.insert(server);
  for (const auto& [server, incarnation] : command.trailing)
    if (!mirror.trailing.contains(server)) newcomers.insert(server);
  if (newcomers.empty()) return Applied{true, {}};
  const auto configuration = known_configuration(state.configuration_text);
  if (!configuration) return refuse("the present configuration cannot be read: {}", configuration.error().message);
  const MirrorPlace place = find_mirror(*configuration, command.mirror);
  if (!place) return refuse("there is no mirror {} any more", command.mirror);
  for (const ServerId server : newcomers)
    if (!has_server(*place.group, server))
      return refuse("server {} is not among the servers of group {} any more: its copy of mirror {} cannot join",
                    server, place.group->name, command.mirror);
  return Applied{true, {}};
}

}  // namespace

Applied apply(ClusterState& state, const SetInSync& command, uint64_t) {
  const auto found = state.mirrors.find(command.mirror);
  if (found == state.mirrors.end()) return refuse("there is no mirror {}", command.mirror);
  MirrorState& mirror = found->second;
  const Applied version = check_version("mirror", command.mirror, command.expected_version, mirror.version);
  if (!version.applied) return version;
  // SAFETY: P4. Only the holder of the current permit changes the set.
  if (mirror.permit == Permit{} || command.permit != mirror.permit)
    return refuse("permit {} of mirror {} is not the current one ({})", command.permit, command.mirror, mirror.permit);
  if (const Applied allowed = check_set(command.mirror, mirror, command.in_sync); !allowed.applied) return allowed;
  if (const Applied allowed = check_trailing(mirror, command); !allowed.applied) return allowed;
  if (const Applied allowed = check_newcomers(state, mirror, command); !allowed.applied) return allowed;
  ++mirror.version;
  mirror.in_sync = command.in_sync;
  mirror.trailing = command.trailing;
  mirror.forced = ServerId{};
  return Applied{true, {}};
}

Applied apply(ClusterState& state, const BreakMirror& command, uint64_t) {
  const NamedMirror named = find_record(state, command.mirror, command.expected_version);
  if (named.record == nullptr) return Applied{false, named.refusal};
  MirrorState& mirror = *named.record;
  if (mirror.broken == command.broken)
    return command.broken ? refuse("mirror {} is broken already: join its copies again with baton mirror rejoin {}",
                                   command.mirror, command.mirror)
                          : refuse("mirror {} is not broken: there is nothing to rejoin", command.mirror);
  if (command.broken && mirror.unknown)
    return refuse("which copies of mirror {} have everything is not known since the database was restored: name one first "
                  "(baton mirror force)", command.mirror);
  if (command.broken && mirror.in_sync.empty())
    return refuse("mirror {} was never used: there is nothing to break; start group {} first", command.mirror,
                  named.group.name);
  // SAFETY: D1. The holder serves from the other copy: alone it has nothing.
  const auto group = state.groups.find(named.group.name);
  const bool is_up = group != state.groups.end() && group->second.owner != ServerId{};
  if (command.broken && is_up && !mirror.in_sync.contains(mirror.holder))
    return refuse("the disk of mirror {} on server {} has failed and the other copy serves in its place: move group {} "
                  "there first (baton group move {})", command.mirror, mirror.holder, named.group.name, named.group.name);
  ++mirror.version;
  mirror.broken = command.broken;
  mirror.trailing.clear();
  return Applied{true, {}};
}

Applied apply(ClusterState& state, const ForceMirror& command, uint64_t) {
  const NamedMirror named = find_record(state, command.mirror, command.expected_version);
  if (named.record == nullptr) return Applied{false, named.refusal};
  MirrorState& mirror = *named.record;
  if (!has_server(named.group, command.server))
    return refuse("server {} has no copy of mirror {}", command.server, command.mirror);
  const auto group = state.groups.find(named.group.name);
  // SAFETY: I1, I3. Somebody may be writing to another copy as long as the group belongs to a server.
  if (group != state.groups.end() && (!is_down(group->second.phase) || group->second.owner != ServerId{}))
    return refuse("group {} is {}: stop it first (baton group stop {}); a copy can be forced only while nobody uses the "
                  "mirror", named.group.name, to_string(group->second.phase), named.group.name);
  if (mirror.restricted.contains(command.server))
    return refuse("mirror {} is kept away from server {}: lift that first (baton mirror restrict --lift)",
                  command.mirror, command.server);
  if (command.incarnation == Incarnation{})
    return refuse("server {} has no usable copy of mirror {}", command.server, command.mirror);
  ++mirror.version;
  mirror.in_sync = {{command.server, command.incarnation}};
  mirror.forced = command.server;
  mirror.unknown = false;
  mirror.trailing.clear();
  mirror.broken = false;
  return Applied{true, {}};
}

Applied apply(ClusterState& state, const RestrictMirror& command, uint64_t) {
  const NamedMirror named = find_record(state, command.mirror, command.expected_version);
  if (named.record == nullptr) return Applied{false, named.refusal};
  MirrorState& mirror = *named.record;
  if (!has_server(named.group, command.server))
    return refuse("server {} has no copy of mirror {}", command.server, command.mirror);
  if (mirror.restricted.contains(command.server) == command.restricted)
    return command.restricted
               ? refuse("mirror {} is kept away from server {} already", command.mirror, command.server)
               : refuse("mirror {} is not kept away from server {}: there is nothing to lift", command.mirror,
                        command.server);
  const auto group = state.groups.find(named.group.name);
  if (command.restricted && group != state.groups.end() && group->second.owner == command.server)
    return refuse("group {} is there: move it first (baton group move {})", named.group.name, named.group.name);
  if (command.restricted && mirror.restricted.size() + 1 >= named.group.servers.size())
    return refuse("mirror {} would be kept away from all its servers: lift the other restriction first", command.mirror);
  ++mirror.version;
  if (command.restricted) {
    mirror.restricted.insert(command.server);
  } else {
    mirror.restricted.erase(command.server);
  }
  return Applied{true, {}};
}

}  // namespace baton::command_rules
