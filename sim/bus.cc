// The bus: sending, ordering and delivery within a ring. Rings break and form in sim/bus_rings.cc.
#include "sim/bus.h"

#include <algorithm>

namespace baton::sim {

Bus::Bus(World& world, const BusSettings& settings, const std::vector<ServerId>& servers, Deliver deliver)
    : world_(world),
      settings_(settings),
      random_(world.random().fork()),
      servers_(servers),
      deliver_(std::move(deliver)) {
  for (const ServerId server : servers_) engines_[server];
}

bool Bus::reach(ServerId one, ServerId other) const {
  const Engine& first = engines_.at(one);
  const Engine& second = engines_.at(other);
  return first.up && second.up && !first.paused && !second.paused && hears(one, other);
}

bool Bus::hears(ServerId one, ServerId other) const {
  if (one == other) return true;
  const auto key = keys_.find(one), other_key = keys_.find(other);
  if (key != keys_.end() && other_key != keys_.end() && key->second != other_key->second) return false;
  return linked(one, other);
}

/// The token goes round only while every member reaches every other.
bool Bus::runs(const Ring& ring) const {
  if (world_.now() < unsettled_until_) return false;
  for (const ServerId one : ring.members) {
    const Engine& engine = engines_.at(one);
    if (engine.ring.get() != &ring || !engine.up || engine.paused) return false;
    for (const ServerId other : ring.members) {
      if (other == one) break;
      if (!hears(one, other)) return false;
    }
  }
  return true;
}

void Bus::process_started(ServerId server) {
  Engine& engine = engines_.at(server);
  engine.process = next_process_++;
  engine.joined = false;
  Item join;
  join.kind = Item::Kind::kJoin;
  join.from = server;
  join.process = engine.process;
  engine.outgoing.push_back(join);
  sequence_later(server);
}

void Bus::process_ended(ServerId server, bool engine_lives) {
  Engine& engine = engines_.at(server);
  if (engine.process == 0) return;
  const uint64_t ended = engine.process;
  engine.process = 0;
  engine.joined = false;
  if (!engine_lives) return;
  // What it had handed over may or may not still go out, from some message on.
  while (!engine.outgoing.empty() && engine.outgoing.back().kind == Item::Kind::kMessage &&
         engine.outgoing.back().process == ended && random_.chance(0.5))
    engine.outgoing.pop_back();
  Item leave;
  leave.kind = Item::Kind::kLeave;
  leave.from = server;
  leave.process = ended;
  engine.outgoing.push_back(leave);
  sequence_later(server);
}

void Bus::send(ServerId from, std::shared_ptr<const void> message) {
  Engine& engine = engines_.at(from);
  if (!engine.up) return;  // a handle that is lost takes nothing
  Item item;
  item.from = from;
  item.process = engine.process;
  item.message = std::move(message);
  engine.outgoing.push_back(std::move(item));
  sequence_later(from);
}

void Bus::sequence_later(ServerId server) {
  Engine& engine = engines_.at(server);
  if (engine.sequencing || engine.outgoing.empty() || !engine.up) return;
  engine.sequencing = true;
  world_.after(random_.between(20us, settings_.wait_at_most), [this, server, boot = engine.boot] {
    Engine& later = engines_.at(server);
    if (later.boot != boot) return;
    later.sequencing = false;
    sequence(server);
  });
}

/// The token is here: what waits gets its place in the ring's order.
void Bus::sequence(ServerId server) {
  Engine& engine = engines_.at(server);
  if (!engine.up || engine.ring == nullptr || !runs(*engine.ring)) return;  // goes out with the next ring
  if (!lossy_.empty() && loses(*engine.ring) && random_.chance(0.002)) unsettle(random_.between(settings_.token / 2, settings_.token));
  const size_t most = 1 + random_.below(8);
  for (size_t count = 0; count < most && !engine.outgoing.empty(); ++count) {
    engine.ring->log.push_back(std::move(engine.outgoing.front()));
    engine.outgoing.pop_front();
  }
  for (const ServerId member : engine.ring->members) deliver_later(member);
  sequence_later(server);
}

bool Bus::loses(const Ring& ring) const {
  return std::any_of(lossy_.begin(), lossy_.end(), [&](ServerId each) { return ring.members.contains(each); });
}

Duration Bus::delivery_delay(const Engine& engine) {
  Duration delay = random_.chance(0.01) ? random_.between(1ms, 20ms) : random_.between(10us, 300us);
  if (!lossy_.empty() && loses(*engine.ring) && random_.chance(0.2)) delay = random_.between(1ms, 60ms);
  return std::max(delay, engine.late_until - world_.now());
}

void Bus::deliver_later(ServerId server) {
  Engine& engine = engines_.at(server);
  if (engine.delivering || engine.ring == nullptr || engine.delivered >= engine.ring->log.size()) return;
  engine.delivering = true;
  world_.after(delivery_delay(engine), [this, server, boot = engine.boot, ring = engine.ring] {
    Engine& later = engines_.at(server);
    if (later.boot != boot || later.ring != ring) return;
    later.delivering = false;
    deliver_next(server);
  });
}

void Bus::deliver_next(ServerId server) {
  Engine& engine = engines_.at(server);
  if (!engine.up || engine.paused || engine.delivered >= engine.ring->log.size()) return;
  // A broken ring delivers what was on the wire, as far as it got.
  if (!runs(*engine.ring) && random_.chance(0.4)) return;
  give(server, engine.ring->log[engine.delivered++]);
  deliver_later(server);
}

void Bus::give(ServerId server, const Item& item) {
  Engine& engine = engines_.at(server);
  switch (item.kind) {
    case Item::Kind::kMessage:
      if (engine.joined) deliver_(server, BusEvent{std::nullopt, item.from, item.message});
      return;
    case Item::Kind::kJoin:
      engine.processes[item.from] = item.process;
      if (item.from == server && item.process == engine.process) engine.joined = true;
      give_view(server, {});
      return;
    case Item::Kind::kLeave: {
      const auto found = engine.processes.find(item.from);
      if (found == engine.processes.end() || found->second != item.process) return;
      engine.processes.erase(found);
      give_view(server, {{item.from, node::Departure::kProcessDown}});
      return;
    }
    case Item::Kind::kSync:
      engine.processes = item.processes;
      engine.joined = engine.process != 0 && engine.processes.contains(server) &&
                      engine.processes.at(server) == engine.process;
      give_view(server, {});
      return;
  }
}

void Bus::give_view(ServerId server, std::map<ServerId, node::Departure> departed) {
  const Engine& engine = engines_.at(server);
  if (!engine.joined) return;
  node::ViewChanged view;
  for (const auto& [member, process] : engine.processes) view.members.insert(member);
  view.departed = std::move(departed);
  deliver_(server, BusEvent{view, ServerId{}, nullptr});
}

}  // namespace baton::sim
