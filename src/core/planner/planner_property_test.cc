// Properties of any plan, over random states, views and reports: never a group to a server that must not have
// it.
#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <algorithm>
#include <set>

#include "src/core/planner/planner.h"

namespace baton::planner {
namespace {

constexpr uint32_t kServers = 2;

/// Two groups on two servers, one with a mirror.
Configuration make_configuration() {
  Configuration configuration;
  for (uint32_t id = 1; id <= kServers + 1; ++id) {
    ServerConfiguration server;
    server.name = fmt::format("server{}", id);
    server.id = ServerId(id);
    if (id > kServers) server.role = ServerRole::kWitness;
    configuration.servers.push_back(server);
  }
  for (const char* name : {"db", "web"}) {
    GroupConfiguration group;
    group.name = name;
    group.servers = {ServerId(1), ServerId(2)};
    if (group.name == "db") {
      ResourceConfiguration mirror;
      mirror.name = "data";
      mirror.kind = ResourceKind::kMirror;
      group.resources.push_back(mirror);
    }
    configuration.groups.push_back(group);
  }
  return configuration;
}

struct World {
  Configuration configuration = make_configuration();
  ClusterState state;
  std::map<ServerId, ServerView> servers;
  std::map<std::string, CopyReports> reports;

  Input input() const { return {configuration, state, servers, reports}; }
};

uint32_t below(uint32_t bound) { return *rc::gen::inRange<uint32_t>(0, bound); }

GroupState any_group() {
  GroupState group;
  group.version = below(100);
  group.phase = static_cast<GroupPhase>(below(5));
  bool owned = group.phase != GroupPhase::kStopped && group.phase != GroupPhase::kFailed;
  if (owned) group.owner = ServerId(1 + below(kServers));
  group.wanted = below(4) != 0;
  if (below(3) == 0) group.target = ServerId(1 + below(kServers));
  for (uint32_t id = 1; id <= kServers; ++id) {
    if (below(3) == 0) group.refused[ServerId(id)] = {"failed", 1 + below(4)};
  }
  return group;
}

World any_world() {
  World world;
  for (const GroupConfiguration& group : world.configuration.groups)
    world.state.groups[group.name] = any_group();
  MirrorState& mirror = world.state.mirrors["db.data"];
  mirror.version = below(100);
  mirror.holder = ServerId(1 + below(kServers));
  for (uint32_t id = 1; id <= kServers; ++id) {
    ServerId server(id);
    if (below(3) != 0) mirror.in_sync[server] = Incarnation(1 + below(2));
    bool present = below(3) != 0;
    world.servers[server] = {present, present, !present && below(2) == 0, "absent"};
    if (below(5) == 0) continue;
    MirrorReport& report = world.reports["db.data"][server];
    report.incarnation = Incarnation(below(3));
    report.consistent = below(5) != 0;
    report.detached = below(6) == 0;
  }
  if (below(4) == 0) mirror.forced = ServerId(1 + below(kServers));
  MirrorConfiguration& configured = world.configuration.groups.front().resources.front().mirror;
  if (below(2) == 0) configured.protocol = MirrorProtocol::kA;
  if (below(2) == 0) configured.max_lag = milliseconds(2000);
  const ServerId other(1 + below(kServers));
  if (below(2) == 0 && !mirror.in_sync.contains(other)) mirror.trailing[other] = Incarnation(1 + below(2));
  if (below(4) == 0) mirror.restricted.insert(ServerId(1 + below(kServers)));
  return world;
}

/// A5.
bool may_take_over_behind(const World& world, ServerId server, const MirrorReport& own) {
  const MirrorState& mirror = world.state.mirrors.at("db.data");
  const MirrorConfiguration& configured = world.configuration.groups.front().resources.front().mirror;
  if (configured.protocol != MirrorProtocol::kA || configured.max_lag == milliseconds(0)) return false;
  auto named = mirror.trailing.find(server);
  if (named == mirror.trailing.end() || named->second != own.incarnation) return false;
  return std::none_of(mirror.in_sync.begin(), mirror.in_sync.end(),
                      [&](const auto& each) { return world.servers.at(each.first).present; });
}

/// docs/protocol.md, "Promotion", said once more in the plainest way.
bool may_be_promoted(const World& world, ServerId server) {
  const MirrorState& mirror = world.state.mirrors.at("db.data");
  auto reported = [&](ServerId id) -> const MirrorReport* {
    auto found = world.reports.find("db.data");
    if (found == world.reports.end() || !found->second.contains(id) || !world.servers.at(id).present)
      return nullptr;
    return &found->second.at(id);
  };
  const MirrorReport* own = reported(server);
  auto member = mirror.in_sync.find(server);
  bool forced = mirror.forced == server && member != mirror.in_sync.end();
  if (!own || own->detached || own->incarnation.value == 0) return false;
  if (mirror.restricted.contains(server) || (!own->consistent && !forced)) return false;
  if (mirror.in_sync.empty()) return server == ServerId(1);
  if (member == mirror.in_sync.end()) return may_take_over_behind(world, server, *own);
  if (member->second == own->incarnation) return true;
  bool all_restarted = std::all_of(mirror.in_sync.begin(), mirror.in_sync.end(), [&](const auto& each) {
    const MirrorReport* report = reported(each.first);
    return report && report->incarnation.value != 0 && report->incarnation != each.second;
  });
  const MirrorReport* holder = reported(mirror.holder);
  bool holder_lost = holder && holder->incarnation.value != 0 && (holder->detached || !holder->consistent);
  return all_restarted && (server == mirror.holder || mirror.in_sync.size() == 1 || holder_lost);
}

void check_assignment(const World& world, const AssignGroup& assignment) {
  const GroupState& group = world.state.groups.at(assignment.group);
  RC_ASSERT(group.wanted);
  RC_ASSERT(assignment.expected_version == group.version);
  RC_ASSERT(world.servers.at(assignment.server).present);
  RC_ASSERT(!assignment.reason.empty());
  auto refused = group.refused.find(assignment.server);
  RC_ASSERT(refused == group.refused.end() || refused->second.attempts < kMaximumAttempts);
  if (group.owner.value != 0) RC_ASSERT(world.servers.at(group.owner).lease_over);
  if (assignment.group != "db") return;
  RC_ASSERT(may_be_promoted(world, assignment.server));
  const MirrorState& mirror = world.state.mirrors.at("db.data");
  RC_ASSERT(assignment.loss.empty() == (mirror.in_sync.empty() || mirror.in_sync.contains(assignment.server)));
  RC_ASSERT(assignment.reported.at("db.data").contains(assignment.server));
  RC_ASSERT(assignment.mirror_versions.at("db.data") == world.state.mirrors.at("db.data").version);
}

TEST(PlannerProperty, NeverGivesAGroupToAServerThatMustNotHaveIt) {
  EXPECT_TRUE(rc::check("assignments are allowed", [] {
    World world = any_world();
    Plan plan = make_plan(world.input());
    std::set<std::string> groups;
    for (const PlannedStep& step : plan.steps) {
      RC_ASSERT(groups.insert(step.group).second);
      RC_ASSERT(!plan.waiting.contains(step.group));
      if (const auto* assignment = std::get_if<AssignGroup>(&step.command))
        check_assignment(world, *assignment);
    }
  }));
}

TEST(PlannerProperty, AWantedGroupWithoutAnOwnerStartsOrSaysWhyNot) {
  EXPECT_TRUE(rc::check("no silence", [] {
    World world = any_world();
    Plan plan = make_plan(world.input());
    for (const auto& [name, group] : world.state.groups) {
      bool owned = group.owner.value != 0 && world.servers.at(group.owner).present;
      bool stepped = std::any_of(plan.steps.begin(), plan.steps.end(),
                                 [&](const auto& step) { return step.group == name; });
      if (group.wanted && !owned) RC_ASSERT((stepped || plan.waiting.contains(name)));
      if (owned) RC_ASSERT(!stepped);
    }
  }));
}

TEST(PlannerProperty, EqualInputGivesEqualPlans) {
  EXPECT_TRUE(rc::check("deterministic", [] {
    World world = any_world();
    World copy = world;
    Plan first = make_plan(world.input());
    Plan second = make_plan(copy.input());
    RC_ASSERT(first.waiting == second.waiting);
    RC_ASSERT(first.steps.size() == second.steps.size());
    for (size_t place = 0; place < first.steps.size(); ++place) {
      RC_ASSERT(first.steps[place].command == second.steps[place].command);
    }
  }));
}

TEST(PlannerProperty, GroupsDoNotDependOnOneAnother) {
  EXPECT_TRUE(rc::check("independent", [] {
    World world = any_world();
    Plan before = make_plan(world.input());
    world.state.groups["web"] = any_group();
    Plan after = make_plan(world.input());
    auto of_db = [](const Plan& plan) {
      std::vector<Command> commands;
      for (const PlannedStep& step : plan.steps) {
        if (step.group == "db") commands.push_back(step.command);
      }
      return commands;
    };
    RC_ASSERT(of_db(before) == of_db(after));
    RC_ASSERT(before.waiting.contains("db") == after.waiting.contains("db"));
  }));
}

TEST(PlannerProperty, AnAcceptedMoveCouldBeCarriedOut) {
  EXPECT_TRUE(rc::check("wishes", [] {
    World world = any_world();
    WishGroup wish;
    wish.group = "db";
    wish.wanted = true;
    wish.target = ServerId(1 + below(kServers));
    const GroupState& group = world.state.groups.at("db");
    bool there = group.owner == wish.target &&
                 (group.phase == GroupPhase::kStarting || group.phase == GroupPhase::kStarted);
    bool accepted = check_wish(world.input(), wish).has_value();
    RC_ASSERT(accepted ==
              (there || (world.servers.at(wish.target).present && may_be_promoted(world, wish.target))));
  }));
}

}  // namespace
}  // namespace baton::planner
