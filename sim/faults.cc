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

/// Servers are drained, shut down, suspended and given back all the time, with faults in between.
Weather maintenance() {
  return {.name = "maintenance", .lasts = 30s, .quiet_at_most = 1500ms, .crash_chance = 0.0005, .maintenance = 0.5};
}
/// Once, a majority is lost for good.
Weather lost_majority() { return {.name = "lost-majority", .crash_chance = 0.0005, .lost_majority = 0.2}; }

/// Once, all databases are lost.
Weather lost_databases() {
  return {.name = "lost-databases", .lasts = 25s, .crash_chance = 0.0005, .joins = 0, .lost_databases = 0.15};
}

/// One group at a time is ill: the others must not notice (I6).
Weather sick_groups() { return {.name = "sick-groups", .lasts = 40s, .sick_groups = true}; }

/// The cluster's keys are replaced all the time, with faults in between.
Weather keys() { return {.name = "keys", .lasts = 40s, .quiet_at_most = 2500ms, .crash_chance = 0.001, .keys = 0.3}; }

/// Three servers and more, with groups that are exclusive, kept apart, started in an order, and fail back by themselves.
Weather policies() {
  return {
      .name = "policies", .lasts = 40s, .quiet_at_most = 2500ms, .crash_chance = 0.0005, .joins = 0, .maintenance = 0.12, .policies = true};
}

/// Two servers without a witness. Who is off stays so for longer: an operator must get to decide something.
Weather two_servers() { return {.name = "two-servers", .lasts = 60s, .quiet_at_most = 4s, .crash_chance = 0.0005, .two = true}; }

/// ... which have a disk in common that decides between them: it fails, hangs, or is slow for one or both.
Weather two_disk() {
  return {.name = "two-disk", .lasts = 60s, .quiet_at_most = 3s, .crash_chance = 0.0005, .joins = 0, .two = true, .nps = {NpKind::kDisk}};
}

/// ... which ask ping targets: whatever parts them cuts one of them off from the targets, too, and sometimes that happens by itself.
Weather two_ping() {
  return {.name = "two-ping", .lasts = 60s, .quiet_at_most = 3s, .crash_chance = 0.0005, .joins = 0, .two = true, .nps = {NpKind::kPing}};
}

/// What the others have one at a time, in one cluster: two servers with a disk in common, ping targets, an operator, or more of them.
Weather everything() {
  return {.name = "everything",
          .lasts = 70s,
          .quiet_at_most = 3s,
          .crash_chance = 0.0003,
          .joins = 0.1,
          .maintenance = 0.06,
          .keys = 0.08,
          .lost_majority = 0.04,
          .lost_databases = 0.03,
          .disasters = 2,
          .everything = true};
}

void choose_cluster(Random& random, Weather& weather) {
  const bool rich = weather.shape.rich;
  weather.two = random.chance(0.67);
  static const std::vector<NpKind> kNps[] = {
      {NpKind::kOperator},
      {NpKind::kDisk, NpKind::kOperator},
      {NpKind::kPing, NpKind::kOperator},
      {NpKind::kOperator, NpKind::kPing},
      {NpKind::kPing, NpKind::kOperator, NpKind::kDisk},
  };
  if (weather.two) weather.shape = Shape{.servers = 2, .witness = false, .nps = kNps[random.below(std::size(kNps))], .rich = rich};
  // A person who names copies after a restore looks at stand-ins.
  weather.real_mirrors = random.chance(0.3);
  if (weather.real_mirrors) weather.lost_databases = 0;
}

using MakeWeather = Weather (*)();
/// A seed draws one of the first ones; the others come by name only.
constexpr MakeWeather kWeathers[] = {single_faults, changing,    crashes,       storm,          crash_storm, flutter,  figure_eight,
                                     sick_groups,   joins,       joins_in_flutter, maintenance, lost_majority, lost_databases,
                                     keys,          two_servers, two_disk,      two_ping,       policies,    everything};
constexpr size_t kDrawn = 13;

}  // namespace

std::vector<std::string> weather_names() {
  std::vector<std::string> names;
  for (const MakeWeather make : kWeathers) names.push_back(make().name);
  return names;
}

Weather make_weather(Random& random, const std::string& name) {
  Weather weather = kWeathers[random.below(kDrawn)]();
  for (const MakeWeather make : kWeathers)
    if (make().name == name) weather = make();
  weather.eager_rings = random.chance(0.35);
  weather.extreme_clocks = random.chance(0.3);
  if (random.chance(0.3)) weather.most_entries = random.between(1, 3);
  weather.shape = make_shape(random);
  weather.real_mirrors = random.chance(0.3) && !weather.flutter && weather.lost_databases == 0;
  if (weather.policies)
    weather.shape = Shape{.servers = static_cast<uint32_t>(random.between(3, 5)), .witness = random.chance(0.3), .policies = true};
  if (weather.figure_eight) weather.shape = Shape{.servers = 2, .witness = true};  // the play has three parts
  if (weather.flutter) weather.shape.rich = false;
  if (weather.everything) choose_cluster(random, weather);
  else if (weather.two) weather.shape = Shape{.servers = 2, .witness = false, .nps = weather.nps, .rich = weather.shape.rich};
  return weather;
}

void Cluster::fault() {
  Server& server = some_server();
  const bool two = two_decide();
  const Shape& shape = weather_.shape;
  if (shape.may_be(NpKind::kDisk) && random_.chance(0.15)) return shared_disk_fault(server);
  if (shape.may_be(NpKind::kPing) && random_.chance(0.15)) return ping_fault(server);
  if (two && random_.chance(may_go_on_by_itself(np()) ? 0.1 : 0.3)) return operator_->take_over(server);
  if (two && random_.chance(0.1)) return operator_->shut_down(server);
  if (shape.nps.size() > 1 && random_.chance(0.1)) return change_np();
  if (shape.nps.size() > 1 && shape.may_be(NpKind::kDisk) && random_.chance(0.03)) return prepare_shared_disk();
  if (!server.powered() && random_.chance(two ? 0.2 : 0.6)) return server.power_on();
  if (weather_.lost_majority > 0 && random_.chance(weather_.lost_majority)) return lose_majority();
  if (weather_.lost_databases > 0 && random_.chance(weather_.lost_databases)) return lose_databases();
  if (weather_.keys > 0 && random_.chance(weather_.keys)) return rotate_keys();
  if (random_.chance(weather_.joins)) return join_or_leave();
  if (random_.chance(weather_.maintenance)) return random_.chance(0.3) ? failing_part() : operator_->maintain(server);
  if (weather_.flutter && random_.chance(0.8)) return flutter();
  switch (random_.below(20)) {
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
    case 9:
      return disk_fault(server);
    case 10:
    case 11:
      return corosync_fault(server);
    case 12:
      return clock_fault(server);
    case 13:
    case 14:
      return group_fault(server);
    case 15:
      world_.say("sim", "the network is healed");
      return bus_->heal();
    case 16:
    case 17:
      return guard_fault(server);
    default:
      return operator_->act(server);
  }
}

void Cluster::power_fault(Server& server) {
  const Duration most = weather_.two ? 20s : 9s;
  const Duration away = random_.chance(0.5) ? random_.between(1ms, 300ms) : random_.between(300ms, most);
  const auto back = [this, id = server.id()] {
    if (faults_over_) return;
    servers_.at(id)->power_on();
    servers_.at(id)->start_batond();
  };
  const uint64_t kind = random_.below(10);
  world_.count(kind == 0 ? "power lost everywhere" : kind < 6 ? "batond killed" : "power lost");
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
  Duration pause = random_.chance(0.5) ? random_.between(1ms, 400ms) : random_.between(400ms, 6s);
  if (random_.chance(0.3)) return suspend(server);
  if (random_.chance(0.5)) {
    world_.count("batond paused");
    if (random_.chance(0.2)) pause *= 2;  // beyond the grace
    server.pause_batond();
    world_.after(pause, [&server] { server.resume_batond(); });
  } else {
    world_.count("machine paused");
    server.pause_machine();
    world_.after(pause, [&server] { server.resume_machine(); });
  }
}

/// With its clock. Sometimes nobody there lives to see it: another guard and another batond wake up.
void Cluster::suspend(Server& server) {
  Duration lasts = random_.chance(0.4) ? random_.between(25ms, 1500ms) : random_.between(1500ms, 6s);
  if (random_.chance(0.3)) lasts = random_.between(6s, 15s);
  // What no clock ever shows ends no right (W4): who decides alone would go on beside the other one.
  const bool unseen = !two_decide() && random_.chance(0.25);
  world_.count(unseen ? "stood still unseen" : lasts > guard::kLongGap ? "suspended for more than 10 s" : "suspended");
  if (random_.chance(0.25)) {
    server.kill_guard();
    if (random_.chance(0.4)) server.kill_batond();
  }
  server.pause_machine(unseen ? Standstill::kUnseen : Standstill::kSuspended);
  world_.after(lasts, [&server] { server.resume_machine(); });
  if (unseen && random_.chance(0.7)) world_.after(lasts + random_.between(1ms, 5s), [&server] { server.set_wall_clock_right(); });
}

/// The power of one server, and at the same time the guards of the others: no voter can say when that one's lease ends.
void Cluster::guards_die_with(Server& server) {
  world_.count("guards killed with a server");
  server.power_off();
  for (auto& [id, each] : servers_)
    if (each.get() != &server) each->kill_guard();
  world_.after(random_.between(300ms, 9s), [&server] { server.power_on(); });
}

/// The guard, sometimes together with its batond: which then cannot start another.
void Cluster::guard_fault(Server& server) {
  if (random_.chance(0.15)) return guards_die_with(server);
  const Duration lasts = random_.chance(0.5) ? random_.between(1ms, 400ms) : random_.between(400ms, 8s);
  const bool both = random_.chance(0.4);
  world_.count("guard killed or paused");
  if (random_.chance(0.5)) {
    server.kill_guard();
    if (both) server.kill_batond();
  } else {
    server.pause_guard();
    if (both) server.pause_batond();
  }
  world_.after(lasts, [&server] {
    server.resume_guard();
    server.resume_batond();
    server.start_batond();
  });
}

void Cluster::network_fault() {
  const ServerId one = some_server().id();
  const ServerId other = some_server().id();
  const uint64_t kind = random_.below(4);
  static constexpr const char* kNames[] = {"one hears nobody", "one isolated", "two cut off from each other", "one way cut"};
  world_.count(kNames[kind]);
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
  world_.count("flutter");
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
  const uint64_t kind = random_.below(6);
  if (kind < 2) return lose_database(server, kind == 0, lasts);
  if (kind < 4) {
    world_.count("disk full");
    world_.say("sim", "the disk of server {} is full", server.id());
    server.disk().full = true;
    world_.after(lasts, [&server] { server.disk().full = false; });
  } else {
    world_.count("disk slow");
    server.disk().slow = true;
    world_.after(lasts, [&server] { server.disk().slow = false; });
  }
}

/// A database may be lost, or found damaged and moved away by a person, while all the others count and hold theirs, and are
/// a majority.
void Cluster::lose_database(Server& server, bool rotten, Duration lasts) {
  // Of two voters the other one could not teach it what it held, nor while they change to two.
  const bool others_count = std::all_of(servers_.begin(), servers_.end(), [&](const auto& each) {
    const Server& one = *each.second;
    if (!one.enlisted()) return true;
    return one.disk().stored().counting && !one.disk().rotten && one.running() && one.node().voters() == voters_;
  });
  if (!others_count || voters_.joint() || voters_.now.size() < 3 || checkers_->committed() == 0) return;
  world_.count(rotten ? "database damaged" : "database lost");
  world_.say("sim", "the database of server {} is {}", server.id(), rotten ? "damaged" : "lost");
  if (rotten) {
    server.kill_batond();
    server.disk().rotten = true;
    server.start_batond();  // in vain
  } else {
    server.power_off();
    server.disk().lose_everything();
  }
  world_.after(lasts, [this, &server] {
    if (server.disk().rotten) server.disk().lose_everything();
    if (faults_over_) return;
    server.power_on();
    server.start_batond();
  });
}

/// The disk that two servers have in common: for one of them, or both.
void Cluster::shared_disk_fault(Server& server) {
  const auto access = random_.chance(0.5) ? SharedDisk::Access::kFails : SharedDisk::Access::kHangs;
  world_.count(access == SharedDisk::Access::kFails ? "disk in common fails" : "disk in common hangs");
  const bool both = random_.chance(0.3);
  for (const ServerId id : ids_) {
    if (!both && id != server.id()) continue;
    world_.say("sim", "the disk in common {} for server {}", access == SharedDisk::Access::kFails ? "fails" : "hangs", id);
    shared_disk_.set_access(id, access);
    world_.after(random_.between(50ms, 8s), [this, id] { shared_disk_.set_access(id, SharedDisk::Access::kWorks); });
  }
}

/// The command refuses it while not both decide, or by this disk.
void Cluster::prepare_shared_disk() {
  Server& server = some_server();
  const bool works = shared_disk_.access(server.id()) == SharedDisk::Access::kWorks;
  if (!server.running() || !works || !server.node().why_not_prepare_disk(server.local_now(), "/dev/np").empty()) return;
  world_.count("disk in common prepared anew");
  world_.say("sim", "the disk in common is prepared anew");
  shared_disk_.clear();
}

/// The way to the targets, or one of them, or how long its answers take: of one server, or both.
void Cluster::ping_fault(Server& server) {
  const bool both = random_.chance(0.3);
  const uint64_t kind = random_.below(4);
  static constexpr const char* kNames[] = {"targets not reached", "targets not reached", "a target silent", "targets slow"};
  world_.count(kNames[kind]);
  const auto& targets = settings_.configuration.ping_targets;
  const std::string& target = targets[random_.below(targets.size())];
  const Duration slower = random_.between(50ms, 1200ms);
  for (const ServerId id : ids_) {
    if (!both && id != server.id()) continue;
    world_.say("sim", "for server {}: {}", id, kNames[kind]);
    const Instant until = world_.now() + random_.between(50ms, 8s);
    if (kind < 2) ping_targets_.cut(id, until);
    else if (kind == 2) ping_targets_.silence(id, target, until);
    else ping_targets_.slow_down(id, slower, until);
  }
}

/// A person says that something else is to decide between the two servers, and just then something happens, or not.
void Cluster::change_np() {
  operator_->change_np(some_server());
  if (random_.chance(0.3)) return;
  run_until(world_.now() + random_.between(100us, 60ms));
  if (random_.chance(0.5)) return network_fault();
  power_fault(some_server());
}

/// What corosync makes of bad links, and of its own end.
void Cluster::corosync_fault(Server& server) {
  const Duration lasts = random_.between(100ms, 4s);
  switch (random_.below(3)) {
    case 0:
      world_.count("messages lost");
      world_.say("sim", "messages to and from server {} get lost", server.id());
      bus_->set_lossy(server.id(), true);
      world_.after(lasts, [this, id = server.id()] { bus_->set_lossy(id, false); });
      return;
    case 1:
      world_.count("ring re-forming");
      return bus_->unsettle(random_.between(5ms, 2500ms));
    default:
      world_.count("corosync ended");
      server.lose_engine();
      world_.after(lasts, [&server] { server.regain_engine(); });
  }
}

void Cluster::clock_fault(Server& server) {
  world_.count("wall clock jumped");
  server.jump_wall_clock(random_.between(-86400s, 86400s));
}

/// Something of a group ends, does not start, or hangs.
void Cluster::group_fault(Server& server) {
  const auto& groups = settings_.configuration.groups;
  const auto& group = groups[random_.below(groups.size())];
  const uint64_t kind = random_.below(group.monitors.empty() ? 6 : 8);
  if (kind < 2) {
    world_.count("resource failed");
    server.fail_resource(group.name, group.resources[random_.below(group.resources.size())].name);
    return;
  }
  static constexpr Sickness kKinds[] = {Sickness::kStartFails, Sickness::kStartHangs, Sickness::kStopHangs,
                                        Sickness::kEverythingHangs, Sickness::kDoesNoWork, Sickness::kNotChecked};
  static constexpr const char* kNames[] = {"start fails",      "start hangs",           "stop hangs",
                                           "every step hangs", "service does no work", "service cannot be checked"};
  world_.count(kNames[kind - 2]);
  world_.say("sim", "group {} on server {}: {}", group.name, server.id(), kNames[kind - 2]);
  server.set_sick(group.name, kKinds[kind - 2]);
  world_.after(random_.between(500ms, 8s), [&server, name = group.name] { server.set_sick(name, Sickness::kNone); });
}

/// A service or an address fails where it runs, and does not start there for a while: its group leaves, or is held.
void Cluster::failing_part() {
  std::vector<const GroupConfiguration*> fit;
  for (const auto& [name, group] : checkers_->state().groups) {
    const auto* configured = settings_.configuration.group(name);
    if (group.phase == GroupPhase::kStarted && configured != nullptr) fit.push_back(configured);
  }
  if (fit.empty()) return;
  const GroupConfiguration& group = *fit[random_.below(fit.size())];
  Server& owner = *servers_.at(checkers_->state().groups.at(group.name).owner);
  world_.count("part keeps failing");
  world_.say("sim", "a part of group {} keeps failing on server {}", group.name, owner.id());
  owner.set_sick(group.name, Sickness::kStartFails);
  owner.fail_resource(group.name, group.resources.back().name);
  world_.after(random_.between(500ms, 6s), [&owner, name = group.name] { owner.set_sick(name, Sickness::kNone); });
}

/// The agent cuts the power and looks whether it is off, or does not reach it. Somebody switches it on again.
void Cluster::fence(Server& by, const node::FenceServer& wanted) {
  // SAFETY: N3.
  if (by.node().state().server(wanted.server).standing == ServerStanding::kStopped)
    throw Violation("fence", fmt::format("server {} was shut down in order, and is to be fenced", wanted.server));
  const bool works = faults_over_ || random_.chance(0.8);
  world_.count(works ? "fenced" : "fencing failed");
  world_.after(random_.between(50ms, 900ms), [this, &by, wanted, works, start = by.start()] {
    Server& target = *servers_.at(wanted.server);
    world_.mark('F', target.id(), works);
    if (works) {
      world_.say("sim", "server {} is fenced", target.id());
      target.power_off();
      world_.after(random_.between(300ms, 5s), [&target] { target.power_on(); });
    }
    if (by.start() == start) by.feed(node::FenceDone{wanted.server, wanted.version, works, works ? "it is off" : "no answer"});
  });
}

void Cluster::heal_everything() {
  world_.say("sim", "everything is healed");
  faults_over_ = true;
  shared_disk_.heal();
  ping_targets_.heal();
  bus_->heal();
  for (auto& [id, server] : servers_) {
    server->stop_crashing();
    server->disk().full = false;
    server->disk().slow = false;
    server->cure();
    if (server->disk().rotten) server->disk().lose_everything();
    server->resume_machine();
    server->set_wall_clock_right();
    server->regain_engine();
    server->resume_guard();
    server->resume_batond();
    if (server->given_up()) server->clear();
    server->power_on();
    server->start_batond();
  }
}

}  // namespace baton::sim
