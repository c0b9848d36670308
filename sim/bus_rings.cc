// Rings: how they break and form again. What survivors of a ring deliver before the new one follows extended
// virtual synchrony: the same for those who move together, and their own messages always.
#include <algorithm>

#include "sim/bus.h"

namespace baton::sim {

void Bus::engine_up(ServerId server) {
  if (other_ != nullptr) other_->engine_up(server);
  Engine& engine = engines_.at(server);
  engine.up = true;
  reform_later();
}

void Bus::engine_down(ServerId server) {
  if (other_ != nullptr) other_->engine_down(server);
  Engine& engine = engines_.at(server);
  const uint64_t boot = engine.boot + 1;
  engine = Engine{};
  engine.boot = boot;
  reform_later();
}

void Bus::set_reachable(ServerId from, ServerId to, bool reachable) {
  if (other_ != nullptr) other_->set_reachable(from, to, reachable);
  if (reachable) {
    cut_.erase({from, to});
  } else {
    cut_.insert({from, to});
  }
  reform_later();
}

void Bus::set_key(ServerId server, const std::string& key) {
  if (other_ != nullptr) other_->set_key(server, key);
  std::string& present = keys_[server];
  if (present == key) return;
  present = key;
  reform_later();
}

std::set<ServerId> Bus::ring_of(ServerId server) const {
  const auto& ring = engines_.at(server).ring;
  std::set<ServerId> members{server};
  if (ring == nullptr || !runs(*ring)) return members;
  return ring->members;
}

void Bus::set_lossy(ServerId server, bool lossy) {
  if (other_ != nullptr) other_->set_lossy(server, lossy);
  if (lossy) {
    lossy_.insert(server);
  } else {
    lossy_.erase(server);
  }
}

void Bus::unsettle(Duration lasts) {
  if (other_ != nullptr) other_->unsettle(lasts);
  unsettled_until_ = std::max(unsettled_until_, world_.now() + lasts);
  world_.mark('u', ServerId{}, lasts.count());
  world_.say("bus", "no ring for {} ms", to_ms(lasts));
  world_.at(unsettled_until_ + Duration{1}, [this] {
    // Whoever was together is so again, in another ring.
    for (auto& [server, engine] : engines_) {
      const auto ring = engine.ring;
      if (ring != nullptr && engine.up && !engine.paused && runs(*ring)) install(std::set<ServerId>(ring->members));
    }
    reform();
  });
}

void Bus::heal() {
  if (other_ != nullptr) other_->heal();
  cut_.clear();
  lossy_.clear();
  reform_later();
}

void Bus::engine_paused(ServerId server, bool paused) {
  if (other_ != nullptr) other_->engine_paused(server, paused);
  Engine& engine = engines_.at(server);
  if (!engine.up || engine.paused == paused) return;
  engine.paused = paused;
  reform_later();
}

/// Somebody notices after a while; the times are a hint's, not a promise's.
void Bus::reform_later() {
  const Duration usual = settings_.token + settings_.consensus;
  Duration delay = random_.between(usual * 8 / 10, usual * 13 / 10);
  if (random_.chance(settings_.quick_chance)) delay = random_.between(1ms, settings_.quick_at_most);
  world_.after(delay, [this] { reform(); });
}

/// Groups of engines that all reach one another. Where reachability is not transitive there are several ways to
/// form them, and each time another one may come out.
std::vector<std::set<ServerId>> Bus::partition() {
  std::vector<ServerId> order;
  for (const ServerId server : servers_)
    if (engines_.at(server).up && !engines_.at(server).paused) order.push_back(server);
  for (size_t left = order.size(); left > 1; --left) std::swap(order[left - 1], order[random_.below(left)]);
  std::vector<std::set<ServerId>> groups;
  for (const ServerId server : order) {
    const auto fits = [&](const std::set<ServerId>& group) {
      return std::all_of(group.begin(), group.end(), [&](ServerId member) { return reach(server, member); });
    };
    const auto found = std::find_if(groups.begin(), groups.end(), fits);
    if (found == groups.end()) {
      groups.push_back({server});
    } else {
      found->insert(server);
    }
  }
  return groups;
}

/// Does an engine outside a ring reach some of its members but not all? Then rings form again and again.
bool Bus::flapping() const {
  for (const ServerId one : servers_)
    for (const ServerId other : servers_)
      for (const ServerId third : servers_)
        if (reach(one, other) && reach(other, third) && !reach(one, third)) return true;
  return false;
}

void Bus::reform() {
  if (world_.now() < unsettled_until_) return;  // its end forms them
  for (const auto& group : partition()) {
    const auto& ring = engines_.at(*group.begin()).ring;
    const bool same = ring != nullptr && ring->members == group && runs(*ring);
    if (!same) {
      install(group);
      continue;
    }
    for (const ServerId member : group) {  // a fault that went by unnoticed
      deliver_later(member);
      sequence_later(member);
    }
  }
  if (flapping()) world_.after(random_.between(100ms, 2s), [this] { reform(); });
}

void Bus::install(const std::set<ServerId>& members) {
  std::map<std::shared_ptr<Ring>, std::set<ServerId>> before;
  std::vector<std::shared_ptr<Ring>> order;  // never by address
  for (const ServerId member : members) {
    const auto& ring = engines_.at(member).ring;
    if (ring == nullptr) continue;
    if (!before.contains(ring)) order.push_back(ring);
    before[ring].insert(member);
  }
  for (const auto& ring : order) leave_ring(ring, before.at(ring));
  auto fresh = std::make_shared<Ring>();
  fresh->number = next_ring_++;
  fresh->members = members;
  Item sync;
  sync.kind = Item::Kind::kSync;
  for (const ServerId member : members) {
    const Engine& engine = engines_.at(member);
    // A process whose join is still in the queue becomes known by it.
    const auto own = engine.processes.find(member);
    if (own != engine.processes.end()) sync.processes[member] = own->second;
  }
  fresh->log.push_back(sync);
  world_.mark('r', *members.begin(), fresh->number, members.size());
  if (world_.verbose()) {
    std::string names;
    for (const ServerId member : members) names += fmt::format(" {}", member);
    world_.say("bus", "ring {}:{}", fresh->number, names);
  }
  for (const ServerId member : members) {
    Engine& engine = engines_.at(member);
    engine.ring = fresh;
    engine.delivered = 0;
    engine.delivering = false;
    if (random_.chance(settings_.late_chance))
      engine.late_until = world_.now() + random_.between(1ms, settings_.late_at_most);
    deliver_later(member);
    sequence_later(member);
  }
}

/// `together` leave `ring` for the same new one.
void Bus::leave_ring(const std::shared_ptr<Ring>& ring, const std::set<ServerId>& together) {
  size_t common = 0;
  for (const ServerId server : together) common = std::max(common, engines_.at(server).delivered);
  // Any of them may hold more than it has delivered.
  if (random_.chance(0.5)) common += random_.below(ring->log.size() - common + 1);
  for (const ServerId server : together) {
    Engine& engine = engines_.at(server);
    for (size_t place = engine.delivered; place < ring->log.size(); ++place)
      if (place < common || together.contains(ring->log[place].from)) give(server, ring->log[place]);
    engine.delivered = ring->log.size();
    // The transitional view: those who come along. Sometimes it is not told apart from the new one.
    std::map<ServerId, node::Departure> departed;
    for (const auto& [member, process] : engine.processes)
      if (!together.contains(member)) departed[member] = node::Departure::kServerDown;
    for (const auto& [member, departure] : departed) engine.processes.erase(member);
    if (!departed.empty() && random_.chance(0.7)) give_view(server, departed);
  }
}

}  // namespace baton::sim
