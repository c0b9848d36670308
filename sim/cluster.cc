// The cluster of a run: made, driven to its end, and judged. Deterministic, one thread.
#include "sim/cluster.h"

#include "src/model/configuration_toml.h"

namespace baton::sim {

namespace {

/// By then a healed cluster must be well again: freeze limit, restart grace and time-outs included.
constexpr Duration kRecoveryLimit = 45s;
constexpr uint32_t kSpareServers = 2;

}  // namespace

std::string make_text(const std::set<ServerId>& servers, uint32_t voters) {
  std::string text = R"([cluster]
name = "sim"
public_lan = "10.0.0.0/24"
)";
  for (const ServerId id : servers) {
    const bool witness = id.value == voters;
    text += fmt::format("[server.{}]\nid = {}\n{}interconnects = [\"10.0.1.{}\"]\n",
                        witness ? "witness" : fmt::format("server{}", id), id, witness ? "role = \"witness\"\n" : "", id);
  }
  text += R"([group.db]
servers = ["server1", "server2"]
[group.db.mirror.data]
size = "512 MiB"
store = "/var/lib/baton/store/db.img"
[group.db.address.floating]
address = "10.0.0.9"
)";
  text += fmt::format(R"([group.web]
servers = [{}]
[group.web.address.front]
address = "10.0.0.10"
)", voters > 3 ? "\"server3\", \"server4\", \"server1\"" : "\"server2\", \"server1\"");
  return text;
}

Cluster::Cluster(World& world, const Weather& weather) : world_(world), random_(world.random().fork()), weather_(weather) {
  for (uint32_t id = 1; id <= weather.voters; ++id) configured_.insert(ServerId{id});
  settings_.text = make_text(configured_, weather.voters);
  const auto parsed = parse_configuration(settings_.text);
  if (!parsed) throw Violation("simulation", parsed.error().message);
  settings_.configuration = *parsed;
  settings_.crash_chance = weather.crash_chance;
  settings_.persist_at_most = weather.persist_at_most;
  settings_.freeze_limit = 5s;
  ids_ = settings_.configuration.voters();
  voters_.now = configured_;
  all_ = ids_;
  for (uint32_t spare = 1; spare <= kSpareServers; ++spare) all_.push_back(ServerId{weather.voters + spare});
  const auto& timing = settings_.configuration.timing;
  BusSettings bus{timing.token, timing.consensus};
  if (weather.eager_rings || weather.flutter) bus.quick_chance = 1;
  if (weather.flutter) bus.quick_at_most = weather.figure_eight ? 3ms : 12ms;
  if (weather.figure_eight) bus.wait_at_most = 5ms;
  bus_ = std::make_unique<Bus>(world, bus, all_,
                               [this](ServerId to, const node::Event& event) { servers_.at(to)->feed(event); });
  for (const ServerId id : all_) servers_[id] = std::make_unique<Server>(world, *bus_, settings_, id, *this);
  checkers_ = std::make_unique<Checkers>(world, settings_, servers_);
}

const Server* Cluster::mirror_peer(const Server& server, const std::string& mirror) {
  for (const auto& [id, other] : servers_)
    if (id != server.id() && other->mirrors().contains(mirror) && other->powered() && bus_->reach(server.id(), id))
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

void Cluster::run() {
  for (auto& [id, server] : servers_)
    world_.after(random_.between(0ms, 300ms), [&server = *server] { server.power_on(); });
  if (random_.chance(0.7)) run_until(world_.now() + 6s);  // most runs begin from a cluster that works
  const Instant trouble_ends = world_.now() + weather_.lasts;
  while (world_.now() < trouble_ends) {
    fault();
    run_until(std::min(trouble_ends, world_.now() + random_.between(1ms, weather_.quiet_at_most)));
  }
  heal_everything();
  const Instant limit = world_.now() + kRecoveryLimit;
  std::string problem = "not judged yet";
  while (world_.now() < limit) {
    run_until(world_.now() + 500ms);
    problem = why_not_well();
    if (problem.empty()) break;
  }
  if (!problem.empty())
    throw Violation("progress", fmt::format("{} s after everything was healed: {}", kRecoveryLimit / 1s, problem));
  run_until(world_.now() + 3s);
  problem = why_not_well();
  if (!problem.empty()) throw Violation("progress", "it was well, and without any fault is not any more: " + problem);
  checkers_->at_the_end();
}

/// What is still missing of: everybody serves, every wanted group runs on a server with a lease.
std::string Cluster::why_not_well() const {
  for (const auto& [id, server] : servers_) {
    if (!is_member(id)) continue;
    if (!server->running()) return fmt::format("server {} does not run", id);
    const auto& standing = server->node().standing();
    if (!standing.serving) return fmt::format("server {} does not serve: {}", id, standing.waiting);
    if (!standing.counting) return fmt::format("server {} does not count", id);
    if (standing.committed != checkers_->committed()) return fmt::format("server {} lags behind", id);
  }
  for (const auto& [name, group] : servers_.begin()->second->node().state().groups) {
    if (!group.wanted) continue;
    if (group.phase != GroupPhase::kStarted)
      return fmt::format("group {} is {} on server {} ({})", name, to_string(group.phase), group.owner, group.reason);
    if (!servers_.at(group.owner)->lease_page_valid()) return fmt::format("the owner of group {} has no lease", name);
  }
  const auto& state = servers_.begin()->second->node().state();
  if (state.groups.empty()) return "there is no configuration";
  if (state.voters.joint() || state.voters.now != configured_) return "not all servers vote, or others do";
  return {};
}

Outcome run_seed(uint64_t seed, bool verbose, const std::string& weather_name) {
  World world{seed, verbose};
  Outcome outcome;
  const Weather weather = make_weather(world.random(), weather_name);
  world.say("sim", "seed {}: {}, {} voters{}", seed, weather.name, weather.voters,
            weather.eager_rings ? ", eager rings" : "");
  Cluster cluster{world, weather};
  try {
    cluster.run();
  } catch (const Violation& violation) {
    outcome.ok = false;
    outcome.violation = violation.what();
  }
  outcome.hash = world.hash();
  outcome.events = world.events();
  outcome.committed = cluster.committed();
  return outcome;
}

}  // namespace baton::sim
