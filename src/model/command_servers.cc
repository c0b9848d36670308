// Judges a change of the servers in a new configuration: one joins or leaves at a time, interconnects change while one
// of each server stays. Pure; the same on every voter. docs/protocol.md, "Voters".
#include <algorithm>

#include "src/model/command_rules.h"

namespace baton::command_rules {

namespace {

std::set<ServerId> ids_of(const Configuration& configuration) {
  std::set<ServerId> ids;
  for (const auto& server : configuration.servers) ids.insert(server.id);
  return ids;
}

/// A server is known by its name and its id: neither passes to another one, and its role is for good.
Applied check_identities(const Configuration& before, const Configuration& after) {
  for (const auto& server : after.servers) {
    if (const auto* same_name = before.server(server.name); same_name != nullptr && same_name->id != server.id)
      return refuse("{} has the id {}, which cannot change to {}: the id is the server's for good", server.name,
                    same_name->id, server.id);
    const auto* present = before.server(server.id);
    if (present == nullptr) continue;
    if (present->name != server.name)
      return refuse("the id {} is {}'s: another name needs a server of another id", server.id, present->name);
    if (present->role != server.role)
      return refuse("{} cannot change between server and witness: remove it (baton cluster remove), then let it join "
                    "again as the other", server.name);
  }
  return Applied{true, {}};
}

bool stays(const Configuration& before, const Configuration& after, size_t link) {
  return std::all_of(after.servers.begin(), after.servers.end(), [&](const auto& server) {
    const auto* present = before.server(server.id);
    if (present == nullptr) return true;
    return link < std::min(present->interconnects.size(), server.interconnects.size()) &&
           present->interconnects[link] == server.interconnects[link];
  });
}

/// The servers are joined by what stays: a link on which an address changes is away for a moment.
Applied check_interconnects(const Configuration& before, const Configuration& after) {
  const bool changed = std::any_of(after.servers.begin(), after.servers.end(), [&](const auto& server) {
    const auto* present = before.server(server.id);
    return present != nullptr && present->interconnects != server.interconnects;
  });
  size_t link = 0;
  while (link < after.servers.front().interconnects.size() && !stays(before, after, link)) ++link;
  if (changed && link == after.servers.front().interconnects.size())
    return refuse("no interconnect would stay as it is, in its place in the list, on all servers, and they would be cut off "
                  "from each other: change one after the other (with a single one: add a second one first)");
  return Applied{true, {}};
}

/// What would be lost with the server, or left without one.
Applied check_leaving(const ClusterState& state, const Configuration& before, const Configuration& after,
                      ServerId leaving) {
  const std::string name = before.server_name(leaving);
  for (const auto& [group, record] : state.groups)
    if (record.owner == leaving)
      return refuse("group {} is {} on {}: move it first (baton group move {} SERVER)", group,
                    to_string(record.phase), name, group);
  for (const auto& group : after.groups) {
    for (const auto& resource : group.resources) {
      if (resource.kind != ResourceKind::kMirror) continue;
      const auto mirror = state.mirrors.find(mirror_key(group.name, resource.name));
      if (mirror == state.mirrors.end() || !state.groups.contains(group.name)) continue;
      const auto& in_sync = mirror->second.in_sync;
      // SAFETY: I2. Nobody else is known to have every acknowledged write.
      if (!in_sync.contains(leaving)) continue;
      if (in_sync.size() == 1)
        return refuse("{} holds the only copy of mirror {} that has everything: let the other copy catch up, or force "
                      "it (baton mirror force), or remove the mirror", name, mirror->first);
      // SAFETY: G1. The primary takes a new generation before it goes on alone: it must notice and ask by itself.
      if (!is_down(state.groups.at(group.name).phase))
        return refuse("{} holds an in-sync copy of mirror {}, which is in use: break the mirror first (baton mirror "
                      "break {}), or stop group {}", name, mirror->first, mirror->first, group.name);
    }
  }
  return Applied{true, {}};
}

}  // namespace

Applied check_servers(const ClusterState& state, const Configuration& before, const Configuration& after) {
  if (const Applied same = check_identities(before, after); !same.applied) return same;
  if (const Applied links = check_interconnects(before, after); !links.applied) return links;
  const auto present = ids_of(before);
  const auto wanted = ids_of(after);
  if (present == wanted) return Applied{true, {}};
  const bool pending = state.voters.joint() || state.voters.now != present;
  // A join that is not through yet may be taken back.
  const bool taken_back = !state.voters.joint() && state.voters.now == wanted;
  // Nor does one that does not vote hold anything up: after a recovery there may be several.
  const bool without_votes = !state.voters.joint() && std::includes(present.begin(), present.end(), wanted.begin(), wanted.end()) &&
                             std::includes(wanted.begin(), wanted.end(), state.voters.now.begin(), state.voters.now.end());
  if (pending && !taken_back && !without_votes)
    return refuse("an earlier change of the servers is still under way (`baton status` shows it): wait for its end");
  std::set<ServerId> leaving, coming;
  std::set_difference(present.begin(), present.end(), wanted.begin(), wanted.end(), std::inserter(leaving, leaving.end()));
  std::set_difference(wanted.begin(), wanted.end(), present.begin(), present.end(), std::inserter(coming, coming.end()));
  // SAFETY: V4.
  if (leaving.size() + coming.size() > 1)
    return refuse("servers join and leave one at a time: change one, wait until it is through, then the next");
  return leaving.empty() ? Applied{true, {}} : check_leaving(state, before, after, *leaving.begin());
}

/// The copies of a server that has left are no reason to wait for it any more.
void forget_removed_servers(ClusterState& state, const Configuration& after) {
  for (auto& [key, mirror] : state.mirrors) {
    const auto is_gone = [&](const auto& copy) { return after.server(copy.first) == nullptr; };
    const auto gone = std::count_if(mirror.in_sync.begin(), mirror.in_sync.end(), is_gone);
    const bool others_stay = static_cast<size_t>(gone) < mirror.in_sync.size();
    size_t changes = std::erase_if(mirror.trailing, is_gone);
    if (others_stay) changes += std::erase_if(mirror.in_sync, is_gone);
    // An id may be given anew: what was said of the one that left is not said of the next.
    changes += std::erase_if(mirror.restricted, [&](ServerId server) { return after.server(server) == nullptr; });
    if (changes > 0) ++mirror.version;
  }
  std::erase_if(state.servers, [&](const auto& server) { return after.server(server.first) == nullptr; });
  std::erase_if(state.fences, [&](const auto& fence) { return after.server(fence.first) == nullptr; });
  for (auto& [name, group] : state.groups) {
    std::erase_if(group.refused, [&](const auto& refusal) { return after.server(refusal.first) == nullptr; });
    if (group.parked == ServerId{} || after.server(group.parked) != nullptr) continue;
    group.parked = ServerId{};
    ++group.version;
  }
}

}  // namespace baton::command_rules
