// What goes wrong in a run, when, and how it is healed; and the operator's wishes meanwhile. Deterministic, one
// thread.
#include <algorithm>

#include "sim/cluster.h"

namespace baton::sim {

namespace {

Weather single_faults() { return {.name = "single-faults", .lasts = 30s, .quiet_at_most = 8s}; }
Weather changing() { return {.name = "changing"}; }
Weather crashes() { return {.name = "crashes", .crash_chance = 0.004}; }
Weather storm() { return {.name = "storm", .lasts = 12s, .quiet_at_most = 400ms}; }
Weather crash_storm() {
  return {.name = "crash-storm", .lasts = 12s, .quiet_at_most = 600ms, .crash_chance = 0.02};
}
/// The network changes as fast as epochs are opened.
Weather flutter() {
  return {.name = "flutter",
          .lasts = 4s,
          .quiet_at_most = 30ms,
          .crash_chance = 0.005,
          .persist_at_most = 25ms,
          .flutter = true};
}
/// And by turns, so that leaders alternate before their entries get around.
Weather figure_eight() {
  return {.name = "figure-eight", .lasts = 4s, .quiet_at_most = 30ms, .flutter = true, .figure_eight = true};
}

/// Servers join and leave all the time, with faults in between.
Weather joins() { return {.name = "joins", .lasts = 25s, .quiet_at_most = 1500ms, .crash_chance = 0.001, .joins = 0.5}; }
/// The network flutters while they do.
Weather joins_in_flutter() {
  return {.name = "joins-in-flutter",
          .lasts = 12s,
          .quiet_at_most = 250ms,
          .crash_chance = 0.002,
          .persist_at_most = 25ms,
          .flutter = true,
          .joins = 0.4};
}

using MakeWeather = Weather (*)();
constexpr MakeWeather kWeathers[] = {single_faults, changing,     crashes, storm,           crash_storm,
                                     flutter,       figure_eight, joins,   joins_in_flutter};

}  // namespace

Weather make_weather(Random& random, const std::string& name) {
  Weather weather = kWeathers[random.below(std::size(kWeathers))]();
  for (const MakeWeather make : kWeathers)
    if (make().name == name) weather = make();
  weather.voters = random.chance(0.2) ? 5 : 3;
  weather.eager_rings = random.chance(0.35);
  return weather;
}

void Cluster::fault() {
  Server& server = some_server();
  if (!server.powered() && random_.chance(0.6)) return server.power_on();
  if (random_.chance(weather_.joins)) return join_or_leave();
  if (weather_.flutter && random_.chance(0.8)) return flutter();
  switch (random_.below(12)) {
    case 0:
    case 1:
    case 2:
      return power_fault(server);
    case 3:
    case 4:
      return pause_fault(server);
    case 5:
    case 6:
    case 7:
      return network_fault();
    case 8:
      return disk_fault(server);
    case 9:
      world_.say("sim", "the network is healed");
      return bus_->heal();
    default:
      return wish();
  }
}

void Cluster::power_fault(Server& server) {
  const Duration away = random_.chance(0.5) ? random_.between(1ms, 300ms) : random_.between(300ms, 5s);
  const auto back = [this, id = server.id()] {
    if (faults_over_) return;
    servers_.at(id)->power_on();
    servers_.at(id)->start_batond();
  };
  const uint64_t kind = random_.below(10);
  if (kind == 0) {
    world_.say("sim", "power is lost everywhere");
    for (auto& [id, each] : servers_) each->power_off();
    for (auto& [id, each] : servers_)
      world_.after(random_.between(1ms, 4s), [&each = *each] { each.power_on(); });
  } else if (kind < 6) {
    server.kill_batond();
  } else {
    server.power_off();
  }
  world_.after(away, back);
}

void Cluster::pause_fault(Server& server) {
  const Duration pause = random_.chance(0.5) ? random_.between(1ms, 400ms) : random_.between(400ms, 4s);
  if (random_.chance(0.5)) {
    server.pause_batond();
    world_.after(pause, [&server] { server.resume_batond(); });
  } else {
    server.pause_machine();
    world_.after(pause, [&server] { server.resume_machine(); });
  }
}

void Cluster::network_fault() {
  const ServerId one = some_server().id();
  const ServerId other = some_server().id();
  const uint64_t kind = random_.below(4);
  std::vector<std::pair<ServerId, ServerId>> cuts;
  if (kind == 0) {  // one cannot hear anybody
    for (const ServerId each : all_)
      if (each != one) cuts.push_back({each, one});
  } else if (kind == 1) {  // isolated
    for (const ServerId each : all_)
      if (each != one) cuts.insert(cuts.end(), {{each, one}, {one, each}});
  } else if (one != other) {  // two do not reach each other; the others reach both
    cuts.push_back({one, other});
    if (kind == 2) cuts.push_back({other, one});
  }
  for (const auto& [from, to] : cuts) {
    world_.say("sim", "cut {} -> {}", from, to);
    bus_->set_reachable(from, to, false);
  }
  world_.mark('n', one, kind, cuts.size());
  if (random_.chance(0.3)) return;  // until a general healing
  const Duration lasts = random_.chance(0.5) ? random_.between(10ms, 500ms) : random_.between(500ms, 4s);
  world_.after(lasts, [this, cuts] {
    for (const auto& [from, to] : cuts) bus_->set_reachable(from, to, true);
  });
}

/// Another one is left out, or somebody ends and is back at once.
void Cluster::flutter() {
  Server& server = some_server();
  if (random_.chance(0.2)) {
    if (random_.chance(0.5)) {
      server.power_off();
    } else {
      server.kill_batond();
    }
    world_.after(random_.between(1ms, 40ms), [&server] {
      server.power_on();
      server.start_batond();
    });
    return;
  }
  if (weather_.figure_eight && random_.chance(0.8)) return figure_eight();
  bus_->heal();
  if (random_.chance(0.8)) isolate(server.id());
}

/// Raft's figure 8: two leaders by turns with the same follower, each cut off before its entry is everywhere.
/// In every other case that follower is slow to write at first, and ends before it has written what it may have
/// said.
void Cluster::figure_eight() {
  for (auto& [id, server] : servers_) {
    server->power_on();
    server->start_batond();
  }
  const bool first_begins = random_.chance(0.5);
  const bool forgets = random_.chance(0.5);
  Server& follower = *servers_.at(ids_.back());
  follower.disk().slow = forgets;
  Duration when{};
  for (int turn = 0; turn < 4; ++turn) {
    const ServerId leads = (turn % 2 == 0) == first_begins ? ids_[0] : ids_[1];
    world_.after(when, [this, turn, leads, &follower] {
      if (faults_over_) return;
      if (turn == 1 && follower.disk().slow) {
        follower.disk().slow = false;
        follower.kill_batond();
        follower.start_batond();
      }
      bus_->heal();
      for (const ServerId id : all_)
        if (id != leads && id != follower.id()) isolate(id);
    });
    when += forgets ? random_.between(15ms, 60ms) : random_.between(6ms, 26ms);
  }
  run_until(world_.now() + when + random_.between(10ms, 80ms));
}

void Cluster::isolate(ServerId server) {
  for (const ServerId each : all_) {
    if (each == server) continue;
    bus_->set_reachable(each, server, false);
    bus_->set_reachable(server, each, false);
  }
  world_.mark('n', server);
}

void Cluster::disk_fault(Server& server) {
  const Duration lasts = random_.between(100ms, 3s);
  const uint64_t kind = random_.below(4);
  if (kind == 0) {
    // A database may be lost while all the others count and hold theirs.
    // Of two voters the other one could not teach it what it held, nor while they change to two.
    const bool others_count = std::all_of(servers_.begin(), servers_.end(), [&](const auto& each) {
      if (!each.second->enlisted()) return true;
      return each.second->disk().stored().counting && each.second->running() && each.second->node().voters() == voters_;
    });
    if (!others_count || voters_.joint() || voters_.now.size() < 3 || checkers_->committed() == 0) return;
    world_.say("sim", "the database of server {} is lost", server.id());
    server.power_off();
    server.disk().lose_everything();
    world_.after(lasts, [this, &server] {
      if (!faults_over_) server.power_on();
    });
  } else if (kind == 1) {
    world_.say("sim", "the disk of server {} is full", server.id());
    server.disk().full = true;
    world_.after(lasts, [&server] { server.disk().full = false; });
  } else {
    server.disk().slow = true;
    world_.after(lasts, [&server] { server.disk().slow = false; });
  }
}

/// An operator moves, stops and starts groups at some server.
void Cluster::wish() {
  Server& server = some_server();
  if (!server.running() || server.node().state().groups.empty()) return;
  const auto& groups = server.node().state().groups;
  auto group = groups.begin();
  std::advance(group, static_cast<ptrdiff_t>(random_.below(groups.size())));
  WishGroup wish;
  wish.group = group->first;
  wish.expected_version = group->second.version;
  wish.wanted = random_.chance(0.8);
  const auto& policy = settings_.configuration.group(group->first)->servers;
  if (wish.wanted && random_.chance(0.7)) wish.target = policy[random_.below(policy.size())];
  wish.reason = "by hand";
  wish.author = "operator";
  world_.say("sim", "operator at server {}: {}", server.id(), describe(wish));
  server.request(wish);
}

void Cluster::heal_everything() {
  world_.say("sim", "everything is healed");
  faults_over_ = true;
  bus_->heal();
  for (auto& [id, server] : servers_) {
    server->stop_crashing();
    server->disk().full = false;
    server->disk().slow = false;
    server->resume_machine();
    server->resume_batond();
    server->power_on();
    server->start_batond();
  }
}

}  // namespace baton::sim
