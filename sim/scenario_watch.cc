// What clients and people see of a scripted cluster: who answers, how long nobody did, where groups are and why; and the
// script's expectations of that.
#include <algorithm>

#include <fmt/ranges.h>

#include "sim/scenario_server.h"

namespace baton::sim {

bool Scenario::alive(const Server& server) const { return server.powered && !server.machine_paused; }

/// I1: reads and writes are completed there.
bool Scenario::holds_data(const Server& server, const GroupConfiguration& group) const {
  if (!alive(server) || server.published <= local_now(server)) return false;
  return std::any_of(group.resources.begin(), group.resources.end(), [&](const auto& resource) {
    const auto up = server.resources.find(mirror_key(group.name, resource.name));
    return resource.kind == ResourceKind::kMirror && up != server.resources.end() && up->second;
  });
}

bool Scenario::holds_address(const Server& server, const GroupConfiguration& group) const {
  if (!alive(server) || !network_.public_plugged(server.id)) return false;
  return std::any_of(group.resources.begin(), group.resources.end(), [&](const auto& resource) {
    const std::string key = mirror_key(group.name, resource.name);
    const auto up = server.resources.find(key);
    return resource.kind == ResourceKind::kAddress && up != server.resources.end() && up->second &&
           !server.suspended.contains(key);
  });
}

bool Scenario::answers(const Server& server, const GroupConfiguration& group) const {
  if (!alive(server)) return false;
  bool mirrored = false;
  bool addressed = false;
  for (const auto& resource : group.resources) {
    const auto up = server.resources.find(mirror_key(group.name, resource.name));
    if (up == server.resources.end() || !up->second) return false;
    mirrored = mirrored || resource.kind == ResourceKind::kMirror;
    addressed = addressed || resource.kind == ResourceKind::kAddress;
  }
  return (!mirrored || holds_data(server, group)) && (!addressed || holds_address(server, group));
}

void Scenario::observe() {
  for (const auto& group : configuration_.groups) {
    Service& service = services_[group.name];
    std::string by;
    std::set<std::string> data, addresses;
    for (const auto& [id, server] : servers_) {
      if (answers(*server, group)) by = server->name;
      const bool woken = local_now(*server) < server->woken_until;  // F5: reads, for that long
      if (holds_data(*server, group) && !woken) data.insert(server->name);
      if (holds_address(*server, group)) addresses.insert(server->name);
    }
    if (data.size() > 1 && two_owners_ && data != service.owners)
      write("clients", fmt::format("{} COMPLETE REQUESTS OF {} AT ONCE", fmt::join(data, " and "), group.name));
    service.owners = data;
    if (data.size() > 1 && violation_.empty() && !two_owners_)
      violation_ = fmt::format("two servers complete requests of group {} at {} ms: {}", group.name,
                               to_ms(now_.time_since_epoch()) - 1000, fmt::join(data, ", "));
    if (addresses.size() > 1 && addresses != service.holders)
      write("clients", fmt::format("{} have the address of {} at once", fmt::join(addresses, " and "), group.name));
    service.holders = addresses;
    if (by == service.by) continue;
    const Duration none = service.by.empty() ? now_ - service.none_since : Duration{0};
    if (by.empty()) {
      service.none_since = now_;
      write("clients", fmt::format("{} answers no more", group.name));
    } else {
      service.longest = std::max(service.longest, none);
      write("clients", fmt::format("{} is answered by {} after {} ms", group.name, by, to_ms(none)));
    }
    service.by = by;
  }
}

/// A server that knows the present state: one that is cut off may not have noticed yet, but its epoch is older.
const Scenario::Server* Scenario::knowing() const {
  const Server* best = nullptr;
  for (const auto& [id, server] : servers_) {
    if (server->node == nullptr || server->frozen || server->machine_paused || !server->node->standing().serving) continue;
    if (best == nullptr || server->node->standing().epoch > best->node->standing().epoch) best = server.get();
  }
  return best;
}

void Scenario::write_state() {
  const Server* server = knowing();
  if (server == nullptr) {
    write("state", "no server knows the present state (no majority)");
  }
  for (const auto& group : configuration_.groups) {
    const Service& service = services_[group.name];
    const std::string clients = service.by.empty() ? "nobody answers" : service.by + " answers";
    std::string where = clients;
    if (server != nullptr && server->node->state().groups.contains(group.name)) {
      const GroupState& state = server->node->state().groups.at(group.name);
      where = to_string(state.phase);
      if (state.owner != ServerId{}) where += " on " + configuration_.server_name(state.owner);
      where += "; " + clients;
      for (const auto& [key, mirror] : server->node->state().mirrors) {
        if (!key.starts_with(group.name + ".")) continue;
        std::vector<std::string> names;
        for (const auto& [id, incarnation] : mirror.in_sync) names.push_back(configuration_.server_name(id));
        where += fmt::format("; {} in sync on {}", key, fmt::join(names, ", "));
      }
    }
    write("state", group.name + " " + where);
  }
}

void Scenario::mark() {
  for (auto& [name, service] : services_) {
    service.moves = 0;
    service.longest = Duration{0};
    if (service.by.empty()) service.none_since = now_;
  }
}

/// What `baton explain` tells: the last transitions with their causes, and what is waited for.
void Scenario::explain(const std::string& group) {
  for (const auto& line : services_[group].explained) write("explain " + group, line);
  for (const auto& [id, server] : servers_) {
    if (server->node == nullptr || server->frozen) continue;
    const auto& standing = server->node->standing();
    if (!standing.waiting.empty()) write("explain " + group, server->name + " waits: " + standing.waiting);
    if (!standing.serving || standing.leader != id) continue;
    const auto waiting = server->node->plan(local_now(*server)).waiting;
    const auto found = waiting.find(group);
    if (found != waiting.end()) write("explain " + group, "waits: " + found->second);
  }
}

/// expect GROUP on SERVER | expect GROUP nowhere
Status Scenario::expect(const Words& words) {
  const auto* group = configuration_.group(words.at(1));
  if (group == nullptr) return fail("no group {}", words[1]);
  const Service& service = services_[group->name];
  if (words.at(2) == "nowhere") {
    if (service.by.empty()) return {};
    return fail("{} is answered by {}, expected: nobody", group->name, service.by);
  }
  const Server* server = knowing();
  if (server == nullptr) return fail("no server knows the present state");
  const GroupState& state = server->node->state().groups.at(group->name);
  const std::string owner = configuration_.server_name(state.owner);
  if (state.phase == GroupPhase::kStarted && owner == words.at(3) && service.by == owner) return {};
  return fail("{} is {} on {} and answered by \"{}\", expected: started on {}", group->name, to_string(state.phase), owner,
              service.by, words[3]);
}

/// expect-no-move GROUP | expect-moves GROUP NUMBER | expect-outage GROUP MILLISECONDS (at most)
Status Scenario::expect_since_mark(const Words& words) {
  const auto found = services_.find(words.at(1));
  if (found == services_.end()) return fail("no group {}", words[1]);
  const Service& service = found->second;
  if (words[0] == "expect-outage") {
    Duration longest = service.longest;
    if (service.by.empty()) longest = std::max(longest, now_ - service.none_since);
    if (longest <= milliseconds(std::stoll(words.at(2)))) return {};
    return fail("{} did not answer for {} ms, expected: at most {}", words[1], to_ms(longest), words[2]);
  }
  const int expected = words[0] == "expect-no-move" ? 0 : std::stoi(words.at(2));
  if (service.moves == expected) return {};
  return fail("{} was assigned {} times since the mark, expected: {}", words[1], service.moves, expected);
}

}  // namespace baton::sim
