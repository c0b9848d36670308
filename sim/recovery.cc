// A majority is lost for good, an operator recovers the cluster on a survivor, and the lost ones come back all the same.
// docs/protocol.md, "Recovery". Deterministic, one thread.
#include <algorithm>

#include "sim/cluster.h"
#include "src/model/known_configuration.h"

namespace baton::sim {

namespace {
constexpr Duration kPatience = 30s;
constexpr Duration kLook = 200ms;
}  // namespace

/// Whoever has the most of those that stay, if that is everything that was ever committed: else writes of people would be
/// lost, as the operator is told, and no checker could tell that from a fault.
Server* Cluster::some_survivor(std::set<ServerId>& lost) {
  std::vector<Server*> enlisted;
  for (const auto& [id, server] : servers_)
    if (server->enlisted()) enlisted.push_back(server.get());
  const size_t stay = enlisted.size() > 3 && random_.chance(0.5) ? 2 : 1;
  for (size_t place = enlisted.size() - 1; place > 0; --place) std::swap(enlisted[place], enlisted[random_.below(place + 1)]);
  const auto holds = [](const Server& server) {
    const auto& log = server.disk().stored().entries;
    return log.empty() ? LogPosition{} : LogPosition{log.back().epoch, log.back().index};
  };
  Server* best = nullptr;
  std::set<ServerId> staying;
  for (Server* server : enlisted) {
    const bool counts = !server->given_up() && server->disk().stored().counting && !server->disk().rotten && server->powered() && is_member(server->id());
    const bool stays = counts && staying.size() < stay;
    if (!stays) {
      lost.insert(server->id());
      continue;
    }
    staying.insert(server->id());
    if (best == nullptr || holds(*server) > holds(*best)) best = server;
  }
  if (best == nullptr || voters_.majority(staying) || voters_.joint()) return nullptr;
  return checkers_->holds_all(best->disk().stored().entries) ? best : nullptr;
}

void Cluster::lose_majority() {
  std::set<ServerId> lost;
  const auto configuration = known_configuration(checkers_->state().configuration_text);
  if (!configuration || may_call_operator(configuration->np)) return;  // there a takeover is meant
  Server* survivor = recoveries_ >= weather_.disasters ? nullptr : some_survivor(lost);
  if (survivor == nullptr) return;
  ++recoveries_;
  world_.count("majority lost for good");
  for (const ServerId id : lost) {
    world_.say("sim", "server {} is lost for good", id);
    servers_.at(id)->lose();
  }
  run_until(world_.now() + random_.between(1ms, 5s));
  bus_->heal();
  survivor = &recover_somewhere(lost, *survivor);
  run_until(world_.now() + random_.between(1ms, 6s));
  bring_back(*survivor, lost);
}

/// By what is on all disks.
Epoch Cluster::newest_lineage() const {
  Epoch newest;
  for (const auto& [id, server] : servers_)
    for (const auto& entry : server->disk().stored().entries)
      if (const auto* change = std::get_if<SetVoters>(&entry.command); change != nullptr && change->voters.now == change->voters.before)
        newest = std::max(newest, entry.epoch);
  return newest;
}

/// Where it is possible: at the one that is seen to have the most.
Server& Cluster::recover_somewhere(const std::set<ServerId>& lost, Server& survivor) {
  std::string problem;
  const Epoch before = newest_lineage();
  for (const Instant limit = world_.now() + kPatience; world_.now() < limit; run_until(world_.now() + kLook)) {
    for (const auto& [id, each] : servers_) {
      Server& server = *each;
      if (lost.contains(id) || !server.enlisted()) continue;
      server.resume_machine();
      server.regain_engine();
      server.resume_guard();
      server.resume_batond();
      server.power_on();
      server.start_batond();
      if (!server.running()) continue;
      const bool recovered = server.node().lineage() > before && server.node().lineage() != node::kNoLineage;
      if (recovered && server.node().standing().serving) return server;
      problem = server.node().why_not_recover(server.local_now());
      if (recovered || !problem.empty()) continue;
      // A person names the lost ones: nothing happens if others are away than these.
      const auto given_up = server.node().lost();
      problem = "another survivor is not seen yet";
      if (!std::includes(lost.begin(), lost.end(), given_up.begin(), given_up.end())) continue;
      world_.say("sim", "operator at server {}: recover", id);
      server.feed(node::Recover{random_.below(1000), "operator"});
    }
  }
  throw Violation("progress", fmt::format("the cluster was not recovered, at server {} nor elsewhere: {}", survivor.id(), problem));
}

/// The survivors' batonds may be away meanwhile, with their guards and groups going on (R6).
Instant Cluster::some_batonds_away(const std::set<ServerId>& lost) {
  if (!random_.chance(0.4)) return world_.now();
  world_.count("survivors' batonds away meanwhile");
  for (const auto& [id, server] : servers_) {
    if (lost.contains(id)) continue;
    server->resume_guard();
    server->spare_guard(true);
    server->kill_batond();
  }
  return world_.now() + random_.between(1s, 10s);
}

/// R4: they come back only where they reach it. Its corosync may have tried another key while it was alone (K6).
void Cluster::wait_for_own_key(Server& survivor) {
  for (const Instant limit = world_.now() + kPatience; world_.now() < limit; run_until(world_.now() + kLook)) {
    if (!settings_.keys_change || bus_->key_of(survivor.id()) == survivor.keys().current) return;
    survivor.power_on();
    survivor.start_batond();
  }
  throw Violation("recovery", fmt::format("corosync on server {} does not go back to the key in force", survivor.id()));
}

/// They meet the survivor, whose network works: R4 speaks of the other case.
void Cluster::bring_back(Server& survivor, const std::set<ServerId>& lost) {
  wait_for_own_key(survivor);
  for (const ServerId id : lost) {
    Server& server = *servers_.at(id);
    if (!server.enlisted()) continue;
    server.find();
    if (server.disk().rotten || !server.disk().stored().counting) server.clear();
    world_.after(random_.between(1ms, 2s), [&server] { server.power_on(); });
  }
  world_.count("given-up servers back");
  const Instant batonds_back = some_batonds_away(lost);
  const auto is_out = [&](ServerId id) {
    const Server& server = *servers_.at(id);
    return !server.enlisted() || server.given_up() || !server.disk().stored().counting ||
           (server.running() && server.node().lineage() == survivor.node().lineage());
  };
  for (const Instant limit = world_.now() + kPatience; world_.now() < limit;) {
    run_until(world_.now() + kLook);
    for (const auto& [id, server] : servers_) {
      server->power_on();
      if (!lost.contains(id) && world_.now() < batonds_back) continue;
      server->start_batond();
      server->spare_guard(false);
    }
    if (survivor.running() && std::all_of(lost.begin(), lost.end(), is_out)) return;
  }
  throw Violation("recovery", "a server that was given up came back and was not refused");
}

}  // namespace baton::sim
