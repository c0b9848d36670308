// baton-bench-planner GROUPS SERVERS [--cold]: how long one plan takes after a server was lost (or when every group waits
// to be started), with a mirror in every group and everything reported. One JSON object: microseconds of one plan
// (median and worst of many), and how many groups it moves.
#include <algorithm>

#include "bench/bench_support.h"
#include "src/core/planner/planner.h"

namespace baton::bench {
namespace {

constexpr int kRounds = 200;
constexpr const char* kUsage = "baton-bench-planner GROUPS SERVERS [--cold]";

struct World {
  Configuration configuration;
  ClusterState state;
  std::map<ServerId, planner::ServerView> servers;
  std::map<std::string, planner::CopyReports> reports;
};

void add_group(World& world, uint32_t number, uint32_t servers) {
  GroupConfiguration group;
  group.name = fmt::format("group{}", number);
  const ServerId owner(1 + number % servers), other(1 + (number + 1 + number / servers) % servers);
  group.servers = {owner};
  if (other != owner) group.servers.push_back(other);
  ResourceConfiguration mirror;
  mirror.name = "data";
  mirror.kind = ResourceKind::kMirror;
  group.resources.push_back(mirror);
  world.configuration.groups.push_back(group);

  GroupState& state = world.state.groups[group.name];
  state = {.version = 7, .phase = GroupPhase::kStarted, .owner = owner, .wanted = true, .target = {}, .refused = {},
           .reason = "server1 is the first of its policy", .since_index = 40};
  const std::string key = mirror_key(group.name, "data");
  MirrorState& copies = world.state.mirrors[key];
  copies.version = 3;
  copies.permit = Permit(2);
  copies.holder = owner;
  for (const ServerId server : group.servers) {
    copies.in_sync[server] = Incarnation(5);
    MirrorReport& report = world.reports[key][server];
    report.incarnation = Incarnation(5);
    report.link = MirrorLink::kConnected;
    report.size_bytes = uint64_t{1} << 30;
  }
}

void stop_everything(World& world) {
  for (auto& [name, group] : world.state.groups) {
    group.phase = GroupPhase::kStopped;
    group.owner = ServerId{};
  }
}

World make_world(uint32_t groups, uint32_t servers) {
  World world;
  for (uint32_t id = 1; id <= servers; ++id) {
    ServerConfiguration server;
    server.name = fmt::format("server{}", id);
    server.id = ServerId(id);
    world.configuration.servers.push_back(server);
    world.servers[server.id] = {.present = true, .lease_over = false, .why_absent = ""};
  }
  for (uint32_t number = 0; number < groups; ++number) add_group(world, number, servers);
  world.servers[ServerId(1)] = {.present = false, .lease_over = true, .why_absent = "it left the cluster's membership"};
  return world;
}

int run(int argc, char** argv) {
  const Options options(argc, argv, {"--cold"}, kUsage);
  if (options.files().size() != 2) give_up(std::string("usage: ") + kUsage);
  const auto groups = static_cast<uint32_t>(std::stoul(options.files()[0]));
  const auto servers = static_cast<uint32_t>(std::stoul(options.files()[1]));
  if (servers < 2 || servers > 64 || groups == 0) give_up("2 to 64 servers and at least one group, please");
  World world = make_world(groups, servers);
  if (options.flag("--cold")) stop_everything(world);
  std::vector<double> times;
  size_t moved = 0;
  for (int round = 0; round < kRounds; ++round) {
    const auto begun = Clock::now();
    // With its input, as the leader makes it for every plan.
    const auto plan = planner::make_plan({world.configuration, world.state, world.servers, world.reports});
    times.push_back(std::chrono::duration<double, std::micro>(Clock::now() - begun).count());
    moved = plan.steps.size();
  }
  if (moved == 0) give_up("the plan moves nothing: this measures nothing");
  std::sort(times.begin(), times.end());
  fmt::print("{{\"groups\": {}, \"servers\": {}, \"median_us\": {:.1f}, \"max_us\": {:.1f}, \"n\": {}, \"moved\": {}}}\n",
             groups, servers, times[times.size() / 2], times.back(), times.size(), moved);
  return 0;
}

}  // namespace
}  // namespace baton::bench

int main(int argc, char** argv) { return baton::bench::run(argc, argv); }
