// When a cluster is well: everybody serves, what is wanted runs in full where it belongs, and nothing of a move or a fault is
// left over. Deterministic, one thread.
#include <algorithm>

#include "sim/checkers.h"
#include "src/model/known_configuration.h"

namespace baton::sim {

std::string Checkers::why_not_well() const {
  if (reference_.configuration_version == 0) return "there is no configuration";
  const auto configured = known_configuration(reference_.configuration_text)->voters();
  for (const ServerId id : configured) {
    const auto& server = servers_.at(id);
    if (!server->running()) return fmt::format("server {} does not run", id);
    const auto& standing = server->node().standing();
    if (!standing.serving) return fmt::format("server {} does not serve: {}", id, standing.waiting);
    if (!standing.counting) return fmt::format("server {} does not count", id);
    if (standing.committed != committed()) return fmt::format("server {} lags behind", id);
  }
  if (reference_.voters != VoterSet{{configured.begin(), configured.end()}, {}}) return "not all servers vote, or others do";
  if (const std::string problem = unfinished_keys(); !problem.empty()) return problem;
  for (const auto& [name, group] : reference_.groups)
    if (const std::string problem = incomplete_group(name, group); !problem.empty()) return problem;
  if (const std::string problem = incomplete_mirrors(); !problem.empty()) return problem;
  if (const std::string problem = residue(); !problem.empty()) return problem;
  return maintenance_.unfinished(reference_);
}

/// All use the same, and nothing of another one is left.
std::string Checkers::unfinished_keys() const {
  const KeyRotation& keys = reference_.keys;
  if (keys.under_way()) return fmt::format("the rotation of the keys is {}", to_string(keys.phase));
  const auto configured = known_configuration(reference_.configuration_text)->voters();
  for (const ServerId id : configured) {
    const Server& server = *servers_.at(id);
    const bool named = keys.number > 0 || !keys.after.empty();
    const std::string wanted = !named            ? servers_.at(configured.front())->keys().current
                               : keys.called_off ? keys.before
                                                 : keys.after;
    if (server.keys() != Server::Keys{wanted, "", ""})
      return fmt::format("server {} has keys {}, {}, {} instead of {}", id, server.keys().current, server.keys().next, server.keys().old, wanted);
    if (server.ring_file() != wanted) return fmt::format("corosync's file on server {} is by {}", id, server.ring_file());
  }
  return {};
}

/// By the leader's plan; empty: it does not, or nobody leads.
std::string Checkers::why_waiting(const std::string& name) const {
  for (const auto& [id, server] : servers_) {
    if (!server->running() || server->node().standing().leader != id) continue;
    const auto plan = server->node().plan(server->local_now());
    if (const auto waits = plan.waiting.find(name); waits != plan.waiting.end()) return waits->second;
  }
  return {};
}

/// What is exclusive may find no server empty, what is kept apart from a group may have its only good copy where that group is, and what
/// comes after another group waits for as long as that is not wanted: for good.
bool Checkers::waits_for_others(const std::string& name) const {
  const std::string waits = why_waiting(name);
  const auto configuration = known_configuration(reference_.configuration_text);
  const GroupConfiguration* group = configuration->group(name);
  if (group == nullptr) return false;
  const bool no_server_empty = group->exclusive && waits.find("has group") != std::string::npos;
  const bool kept_away = waits.find("is kept apart") != std::string::npos;
  return no_server_empty || kept_away ||
         std::any_of(group->start_after.begin(), group->start_after.end(),
                     [&](const std::string& before) { return !reference_.groups.at(before).wanted; });
}

std::string Checkers::incomplete_group(const std::string& name, const GroupState& group) const {
  if (!group.wanted) {
    if (group.phase == GroupPhase::kStopped) return {};
    return fmt::format("group {} is not wanted, but {}", name, to_string(group.phase));
  }
  if (group.phase != GroupPhase::kStarted) {
    if (waits_for_others(name)) return {};
    return fmt::format("group {} is {} on server {} ({}); {}", name, to_string(group.phase), group.owner, group.reason, why_waiting(name));
  }
  const Server& owner = *servers_.at(group.owner);
  if (!owner.lease_page_valid()) return fmt::format("the owner of group {} has no lease", name);
  const auto* run = owner.node().run(name);
  if (run == nullptr || !run->all_up()) return fmt::format("group {} is not wholly up for the core of server {}", name, group.owner);
  for (const auto& resource : run->configuration().resources)
    if (!owner.is_up(mirror_key(name, resource.name)))
      return fmt::format("{}.{} is not up on server {}, though started there", name, resource.name, group.owner);
  return {};
}

/// Both copies are in the set again, as they are now.
std::string Checkers::incomplete_mirrors() const {
  for (const auto& group : servers_.begin()->second->node().configuration().groups) {
    const auto state = reference_.groups.find(group.name);
    if (state == reference_.groups.end() || state->second.phase != GroupPhase::kStarted) continue;
    for (const auto& resource : group.resources) {
      if (resource.kind != ResourceKind::kMirror) continue;
      const std::string key = mirror_key(group.name, resource.name);
      const MirrorState& mirror = reference_.mirrors.at(key);
      if (mirror.broken) return fmt::format("mirror {} is broken", key);
      for (const ServerId server : group.servers) {
        const auto member = mirror.in_sync.find(server);
        if (member == mirror.in_sync.end() || member->second != servers_.at(server)->mirrors().at(key).incarnation)
          return fmt::format("the copy of mirror {} on server {} is not in sync", key, server);
      }
    }
  }
  return {};
}

/// Nothing is up where it does not belong, no wish is still on its way.
std::string Checkers::residue() const {
  for (const auto& [name, group] : reference_.groups) {
    const bool on_its_way = group.target != ServerId{} && (group.phase != GroupPhase::kStopped || !waits_for_others(name));
    if (on_its_way) return fmt::format("group {} still is to go to server {}", name, group.target);
  }
  for (const auto& [id, server] : servers_) {
    for (const auto& group : settings_.configuration.groups) {
      const auto state = reference_.groups.find(group.name);
      if (state != reference_.groups.end() && state->second.owner == id) continue;
      if (!server->running()) continue;
      if (server->anything_up(group.name)) return fmt::format("something of group {} is up on server {}", group.name, id);
      const auto* run = server->node().run(group.name);
      if (run != nullptr && !run->all_down() && !run->nothing_up())
        return fmt::format("server {} has not finished with group {}", id, group.name);
    }
  }
  return {};
}

}  // namespace baton::sim
