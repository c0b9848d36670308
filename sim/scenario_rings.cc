// corosync's part in a scripted cluster: rings and views, messages that wait while a ring is broken. As in reality the
// token goes round only while all members of a ring reach one another: one that is gone silences all until the next.
#include <algorithm>

#include "sim/scenario_server.h"

namespace baton::sim {

namespace {
constexpr Duration kMessageDelay = 200us;
constexpr Duration kHealDelay = 50ms;
}  // namespace

bool Scenario::engine_works(const Server& server) const {
  return server.powered && server.engine && !server.engine_paused && !server.machine_paused;
}

void Scenario::change_rings(Duration after) {
  at(now_ + after, [this] { reform(); });
}

/// Something is reached again, or is not any more: what was broken for a moment only goes on as if nothing had been.
void Scenario::network_changed(bool better) {
  if (better) flush();
  change_rings(better ? kHealDelay : configuration_.timing.token + configuration_.timing.consensus);
}

void Scenario::kill_corosync(Server& server) {
  server.engine = false;
  server.ring = 0;
  server.ring_members.clear();
  server.held.clear();
  give_view(server);  // its batond notices at once
  network_changed(false);
}

void Scenario::reform() {
  std::set<ServerId> engines;
  for (const auto& [id, server] : servers_)
    if (engine_works(*server)) engines.insert(id);
  std::set<ServerId> changed;
  std::map<std::string, std::set<ServerId>> by_key;  // corosync hears only who uses its own
  for (const ServerId engine : engines) by_key[servers_.at(engine)->ring_key].insert(engine);
  std::vector<std::set<ServerId>> rings;
  for (const auto& [key, some] : by_key)
    for (auto& members : network_.rings(some, ring_turn_)) rings.push_back(std::move(members));
  for (const auto& members : rings) {
    const auto& first = *servers_.at(*members.begin());
    if (first.ring_members == members && ring_runs(first)) continue;
    ++rings_;
    for (const ServerId member : members) {
      Server& server = *servers_.at(member);
      server.ring = rings_;
      server.ring_members = members;
      server.held.clear();
      changed.insert(member);
    }
  }
  for (const ServerId member : changed) give_view(*servers_.at(member));
  flush();
  if (!network_.unsettled(engines) || reform_pending_) return;
  ++ring_turn_;
  reform_pending_ = true;
  at(now_ + configuration_.timing.token + configuration_.timing.consensus, [this] {
    reform_pending_ = false;
    reform();
  });
}

bool Scenario::ring_runs(const Server& server) const {
  if (server.ring == 0) return false;
  return std::all_of(server.ring_members.begin(), server.ring_members.end(), [&](ServerId one) {
    const Server& member = *servers_.at(one);
    if (member.ring != server.ring || !engine_works(member) || member.ring_key != server.ring_key) return false;
    return std::all_of(server.ring_members.begin(), server.ring_members.end(),
                       [&](ServerId other) { return network_.reach(one, other); });
  });
}

void Scenario::give_view(Server& server) {
  give_guard_view(server);
  if (server.node == nullptr || !server.joined) return;
  node::ViewChanged change;
  for (const ServerId member : server.ring_members)
    if (servers_.at(member)->joined) change.members.insert(member);
  for (const ServerId member : server.view) {
    if (change.members.contains(member)) continue;
    change.departed[member] =
        server.ring_members.contains(member) ? node::Departure::kProcessDown : node::Departure::kServerDown;
  }
  server.view = change.members;
  feed(server, change);
}

void Scenario::give_views_of_ring(const Server& of) {
  for (const ServerId member : std::set<ServerId>(of.ring_members))
    if (servers_.at(member)->ring == of.ring) give_view(*servers_.at(member));
}

void Scenario::send(Server& from, const Packet& message) {
  if (!ring_runs(from)) {
    from.outgoing.push_back(message);
    return;
  }
  at(now_ + kMessageDelay, [this, sender = from.id, ring = from.ring, message] {
    for (auto& [id, server] : servers_) {
      if (server->ring != ring) continue;
      if (engine_works(*server) && network_.reach(sender, id)) {
        receive(*server, sender, message);
      } else {
        server->held.push_back({sender, message});
      }
    }
  });
}

void Scenario::receive(Server& server, ServerId sender, const Packet& packet) {
  if (const auto* beat = std::get_if<guard::Beat>(&packet)) {
    if (server.guard != nullptr && server.guard->members().contains(sender))
      feed_guard(server, guard::BeatReceived{sender, *beat});
    return;
  }
  const auto& sent = std::get<node::Send>(packet);
  if (server.node != nullptr && server.view.contains(sender))
    feed(server, node::MessageReceived{sender, sent.message, sent.lineage});
}

/// What waited for a ring to run (again).
void Scenario::flush() {
  for (auto& [id, server] : servers_) {
    if (!ring_runs(*server)) continue;
    for (const auto& held : std::exchange(server->held, {})) receive(*server, held.sender, held.message);
    for (const auto& message : std::exchange(server->outgoing, {})) send(*server, message);
  }
}

}  // namespace baton::sim
