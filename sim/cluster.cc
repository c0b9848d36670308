// The cluster of a run: made, driven to its end, and judged. Deterministic, one thread.
#include "sim/cluster.h"

#include "src/model/known_configuration.h"

namespace baton::sim {

namespace {

/// By then a healed cluster must be well again: freeze limit, restart grace and time-outs included.
constexpr Duration kRecoveryLimit = 60s;
constexpr Duration kLookInterval = 500ms;
constexpr Duration kDepartureFelt = 5s;
constexpr uint32_t kSpareServers = 2;

}  // namespace

Cluster::Cluster(World& world, const Weather& weather) : world_(world), random_(world.random().fork()), weather_(weather) {
  settings_.texts = make_texts(weather.shape);
  settings_.nps = std::max<size_t>(weather.shape.nps.size(), 1);
  settings_.founding = everything_in({settings_.texts.front()});
  settings_.configuration = everything_in(settings_.texts);
  settings_.keys_change = weather.keys > 0;
  settings_.extreme_clocks = weather.extreme_clocks;
  settings_.crash_chance = weather.crash_chance;
  settings_.persist_at_most = weather.persist_at_most;
  settings_.most_entries = weather.most_entries;
  settings_.freeze_limit = 5s;
  settings_.shared_disk = &shared_disk_;
  settings_.ping_targets = &ping_targets_;
  ids_ = settings_.configuration.voters();
  configured_ = {ids_.begin(), ids_.end()};
  voters_.now = configured_;
  all_ = ids_;
  for (uint32_t spare = 1; spare <= kSpareServers; ++spare) all_.push_back(ServerId{weather.shape.voters() + spare});
  const auto& timing = settings_.configuration.timing;
  BusSettings bus{timing.token, timing.consensus};
  if (weather.eager_rings || weather.flutter) bus.quick_chance = 1;
  if (weather.flutter || weather.sick_groups) bus.late_chance = 0;
  if (weather.flutter) bus.quick_at_most = weather.figure_eight ? 3ms : 12ms;
  if (weather.figure_eight) bus.wait_at_most = 5ms;
  bus_ = std::make_unique<Bus>(world, bus, all_,
                               [this](ServerId to, const BusEvent& event) {
                                 if (weather_.shape.may_be(NpKind::kPing)) watch_parting(to, event);
                                 servers_.at(to)->delivered(event);
                               });
  guard_bus_ = std::make_unique<Bus>(
      world, bus, all_, [this](ServerId to, const BusEvent& event) { servers_.at(to)->delivered_to_guard(event); });
  bus_->also(guard_bus_.get());
  for (const ServerId id : all_)
    servers_[id] = std::make_unique<Server>(world, *bus_, *guard_bus_, settings_, id, *this);
  for (auto& [id, server] : servers_) server->give_key(kFirstKey);
  checkers_ = std::make_unique<Checkers>(world, settings_, servers_);
  if (weather.real_mirrors) make_real_mirrors();
  operator_ = std::make_unique<Operator>(world, settings_, servers_, checkers_->history());
}

void Cluster::make_real_mirrors() {
  for (const auto& group : settings_.configuration.groups)
    for (const auto& resource : group.resources)
      if (resource.kind == ResourceKind::kMirror) {
        const std::string key = mirror_key(group.name, resource.name);
        real_mirrors_[key] = std::make_unique<RealMirror>(world_, *this, key, *servers_.at(group.servers[0]),
                                                          *servers_.at(group.servers[1]), settings_.freeze_limit);
      }
}

RealMirror* Cluster::real_mirror(const std::string& mirror) {
  const auto found = real_mirrors_.find(mirror);
  return found == real_mirrors_.end() ? nullptr : found->second.get();
}

Server* Cluster::mirror_peer(const Server& server, const std::string& mirror) {
  for (const auto& [id, other] : servers_)
    if (id != server.id() && other->mirrors().contains(mirror) && other->powered() && !other->machine_paused() &&
        bus_->linked(server.id(), id))
      return other.get();
  return nullptr;
}

Server& Cluster::some_server() {
  std::vector<Server*> enlisted;
  for (const auto& [id, server] : servers_)
    if (server->enlisted()) enlisted.push_back(server.get());
  return *enlisted[random_.below(enlisted.size())];
}

void Cluster::run_until(Instant end) {
  while (world_.run_next(end)) {
  }
}

void Cluster::watch_waits() {
  checkers_->look_at_waits();
  world_.after(kLookInterval, [this] { watch_waits(); });
}

void Cluster::run() {
  watch_waits();
  for (auto& [id, server] : servers_)
    world_.after(random_.between(0ms, 300ms), [&server = *server] { server.power_on(); });
  if (random_.chance(0.7)) run_until(world_.now() + 6s);  // most runs begin from a cluster that works
  const Instant trouble_ends = world_.now() + weather_.lasts;
  while (world_.now() < trouble_ends) {
    if (weather_.sick_groups) {
      sick_round();
      continue;
    }
    fault();
    if (random_.chance(weather_.two_at_once)) fault();
    run_until(std::min(trouble_ends, world_.now() + random_.between(1ms, weather_.quiet_at_most)));
  }
  heal_everything();
  recover("everything was healed");
  // A machine that has left takes itself off, which is felt like any other loss.
  run_until(std::max(world_.now(), departed_at_ + kDepartureFelt));
  recover("the last one that left was gone");
  run_until(world_.now() + 3s);
  const std::string problem = checkers_->why_not_well();
  if (!problem.empty()) throw Violation("progress", "it was well, and without any fault is not any more: " + problem);
  if (may_go_on_by_itself(np())) lose_one_of_two();
  for (auto& [key, mirror] : real_mirrors_) mirror->stop_client();
  run_until(world_.now() + 1s);
  for (const auto& [key, group] : checkers_->state().groups)
    if (RealMirror* real = real_mirror(mirror_key(key, "data")); real != nullptr && group.phase == GroupPhase::kStarted)
      real->check_equal();
  checkers_->at_the_end();
}

/// Nobody but these two, as configured now.
bool Cluster::two_decide() const {
  return weather_.everything ? configured_.size() == 2 : weather_.shape.voters() == 2;
}

/// As configured now.
NpKind Cluster::np() const {
  const auto configuration = known_configuration(checkers_->state().configuration_text);
  return configuration ? configuration->np : settings_.founding.np;
}

/// With a disk in common, or targets, the other one goes on by nobody's word; and both together decide as before.
void Cluster::lose_one_of_two() {
  wait_until_free();
  run_until(world_.now() + 2s);
  const ServerId lost = ids_[random_.below(ids_.size())];
  const ServerId other = ids_[0] == lost ? ids_[1] : ids_[0];
  world_.say("sim", "server {} is lost, and the {} there", lost, np() == NpKind::kDisk ? "disk is" : "targets are");
  if (np() == NpKind::kPing) ping_targets_.parted(world_.now(), random_, lost, lost, other);
  servers_.at(lost)->power_off();
  const Instant limit = world_.now() + 10s;
  while (world_.now() < limit && !servers_.at(other)->node().standing().serving) run_until(world_.now() + 100ms);
  if (!servers_.at(other)->node().standing().serving)
    throw Violation("arbiter", fmt::format("server {} does not go on: {}", other, servers_.at(other)->node().partition_waiting(servers_.at(other)->local_now())));
  world_.count("went on by itself after a loss");
  run_until(world_.now() + 2s);
  servers_.at(lost)->power_on();
  recover("a lost server was back");
  wait_until_free();
}

/// Nobody decides alone any more, and nobody holds the lock.
void Cluster::wait_until_free() {
  const auto free = [this] {
    return !shared_disk_.names_anybody() && std::none_of(ids_.begin(), ids_.end(), [&](ServerId id) { return servers_.at(id)->node().taken_over(); });
  };
  const Instant limit = world_.now() + 10s;
  while (!free() && world_.now() < limit) run_until(world_.now() + 100ms);
  if (!free()) throw Violation("arbiter", "both servers are well, and one of them still decides alone, or holds the disk");
}

/// Also where a view says so that has been overtaken by now.
void Cluster::watch_parting(ServerId server, const BusEvent& event) {
  if (!event.view || (server != ids_[0] && server != ids_[1])) return;
  const ServerId other = ids_[0] == server ? ids_[1] : ids_[0];
  const bool both = event.view->members.contains(other);
  ping_targets_.view(world_.now(), server, both);
  if (!both) ping_targets_.parted(world_.now(), random_, ServerId{}, ids_[0], ids_[1]);
}

/// A target; or an address of a group, that answers where it is up under a lease.
bool Cluster::echo_answered(const Server& server, const std::string& address) {
  const auto there = [](const Server& one) { return one.running() && !one.paused(); };
  if (!bus_->ring_of(ids_[0]).contains(ids_[1])) {
    ServerId gone;
    for (const ServerId id : ids_)
      if (!there(*servers_.at(id))) gone = id;
    ping_targets_.parted(world_.now(), random_, gone, ids_[0], ids_[1]);
  }
  const auto& targets = settings_.configuration.ping_targets;
  if (!server.powered() || !ping_targets_.reached(world_.now(), server.id())) return false;
  if (std::find(targets.begin(), targets.end(), address) != targets.end())
    return ping_targets_.answers(world_.now(), server.id(), address);
  for (const auto& group : settings_.configuration.groups)
    for (const auto& resource : group.resources)
      for (const auto& [id, holder] : servers_)
        if (resource.kind == ResourceKind::kAddress && resource.address.address == address && holder->lease_page_valid() &&
            holder->is_up(mirror_key(group.name, resource.name)) && ping_targets_.reached(world_.now(), id))
          return true;
  return false;
}

/// Until all is well; what only a person can put right, a person does.
void Cluster::recover(const char* after_what) {
  const Instant begun = world_.now();
  const Instant limit = begun + kRecoveryLimit;
  std::string problem = "not judged yet";
  // What was asked for a moment ago may take effect yet.
  if (operator_->maintained()) run_until(world_.now() + 3s);
  for (int look = 1; world_.now() < limit; ++look) {
    run_until(world_.now() + 500ms);
    problem = checkers_->why_not_well();
    if (problem.empty()) {
      world_.count_more("recovery ms", static_cast<uint64_t>(to_ms(world_.now() - begun)));
      world_.count("recoveries");
      return;
    }
    if (look % 4 == 0) operator_->put_right(*servers_.begin()->second);
    if (look % 4 == 0 && weather_.everything) look_after_lone_ones();
  }
  throw Violation("progress", fmt::format("{} s after {}: {}", kRecoveryLimit / 1s, after_what, problem));
}

/// What waits for a person's word after a takeover, a recovery or a restore.
void Cluster::look_after_lone_ones() {
  Server& server = some_server();
  if (!server.running()) return;
  if (server.node().standing().serving) operator_->name_copies(server, checkers_->truth());
  else operator_->take_over(server);
}

std::map<std::string, uint64_t> Cluster::counts() const {
  auto counts = world_.counts();
  counts["mirror writes"] = checkers_->truth_seen().writes();
  counts["mirror promotions"] = checkers_->truth_seen().promotions();
  counts["set crashes"] = checkers_->truth_seen().set_crashes();
  for (const auto& [key, mirror] : real_mirrors_) counts["real mirror requests"] += mirror->acknowledged();
  counts["requests answered"] = checkers_->answers();
  return counts;
}

Outcome run_seed(uint64_t seed, bool verbose, const std::string& weather_name) {
  World world{seed, verbose};
  Outcome outcome;
  const Weather weather = make_weather(world.random(), weather_name);
  world.say("sim", "seed {}: {}, {}{}{}{}", seed, weather.name, describe(weather.shape),
            weather.eager_rings ? ", eager rings" : "", weather.extreme_clocks ? ", clocks far apart" : "", weather.real_mirrors ? ", real mirrors" : "");
  Cluster cluster{world, weather};
  try {
    cluster.run();
  } catch (const Violation& violation) {
    outcome.ok = false;
    outcome.violation = violation.what();
  }
  outcome.hash = world.hash();
  outcome.events = world.events();
  outcome.committed = cluster.checkers().committed();
  outcome.simulated = world.now().time_since_epoch();
  outcome.weather = weather.name;
  outcome.counts = cluster.counts();
  return outcome;
}

}  // namespace baton::sim
