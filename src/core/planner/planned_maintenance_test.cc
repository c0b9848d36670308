// Servers' states, drains, shutdowns, suspensions, the start of a cluster and holds, as the planner sees them.
#include <gtest/gtest.h>

#include "src/core/planner/planner.h"
#include "src/model/configuration_toml.h"

namespace baton::planner {
namespace {

constexpr ServerId kOne{1}, kTwo{2}, kThree{3};

std::string text(const std::string& cluster) {
  std::string made = "[cluster]\nname = \"web\"\npublic_lan = \"10.0.0.0/24\"\n" + cluster;
  for (int id = 1; id <= 3; ++id)
    made += fmt::format("[server.server{}]\nid = {}\ninterconnects = [\"10.0.1.{}\"]\n", id, id, id);
  for (int group = 1; group <= 2; ++group)
    made += fmt::format("[group.web{}]\nservers = [\"server1\", \"server2\"]\n[group.web{}.service.httpd]\n"
                        "command = [\"/usr/sbin/httpd\"]\n", group, group);
  return made;
}

struct World {
  Configuration configuration;
  ClusterState state;
  std::map<ServerId, ServerView> servers;
  uint64_t clock_ms = 1'000'000;
  std::string starting;

  explicit World(const std::string& cluster = "") {
    configuration = *parse_configuration(text(cluster));
    EXPECT_TRUE(apply_command(state, ApplyConfiguration{0, text(cluster), "test", kFormatLevel}, 1).applied);
    for (const ServerId server : {kOne, kTwo, kThree}) servers[server] = {true, true, false, "", server.value * 11, kFormatLevel};
  }
  Plan plan() const { return make_plan(Input{configuration, state, servers, {}, clock_ms, starting}); }
  void lose(ServerId server) { servers[server] = {false, false, true, "power lost", 0, 0}; }
  void up(const std::string& name, ServerId owner) {
    state.groups.at(name).phase = GroupPhase::kStarted;
    state.groups.at(name).owner = owner;
  }
  void all_up(ServerId owner) {
    up("web1", owner);
    up("web2", owner);
  }
  /// The only recorded step about servers or the cluster.
  Command only_step() const {
    const auto steps = plan().cluster_steps;
    EXPECT_EQ(steps.size(), 1u);
    return steps.empty() ? Command(StartEpoch{}) : steps.front().command;
  }
  SetStanding standing_step() const {
    const Command step = only_step();
    EXPECT_TRUE(std::holds_alternative<SetStanding>(step));
    return std::holds_alternative<SetStanding>(step) ? std::get<SetStanding>(step) : SetStanding{};
  }
  /// Where a group is sent by the plan; 0: nowhere.
  ServerId destination(const std::string& group) const {
    for (const auto& step : plan().steps) {
      if (step.group != group) continue;
      if (const auto* assign = std::get_if<AssignGroup>(&step.command)) return assign->server;
      if (const auto* wish = std::get_if<WishGroup>(&step.command)) return wish->target;
    }
    return ServerId{};
  }
  std::string waiting(const std::string& group) const {
    const auto made = plan();
    const auto found = made.waiting.find(group);
    return found == made.waiting.end() ? "" : found->second;
  }
};

bool contains(const std::string& whole, const std::string& part) { return whole.find(part) != std::string::npos; }

TEST(Standings, ALossIsRecordedOnceTheLeaseIsOverAndTheStartIsPast) {
  World world;
  world.all_up(kTwo);
  world.servers[kOne] = {false, false, false, "power lost", 0, 0};
  EXPECT_TRUE(world.plan().cluster_steps.empty()) << "its lease may still run";
  world.lose(kOne);
  EXPECT_EQ(world.standing_step().standing, ServerStanding::kDown);
  world.starting = "the cluster is starting";
  EXPECT_TRUE(world.plan().cluster_steps.empty()) << "who has not come yet is not lost";
}

TEST(Standings, AServerThatHasNotVotedYetIsNotLost) {
  World world;
  world.state.voters.now = {kOne, kThree};
  world.lose(kTwo);
  EXPECT_TRUE(world.plan().cluster_steps.empty()) << "it joins, and has never been there";
  world.state.voters.now.insert(kTwo);
  EXPECT_EQ(world.standing_step().standing, ServerStanding::kDown);
}

TEST(Standings, AReturnIsAutomaticOrByHand) {
  for (const bool by_hand : {false, true}) {
    World world(by_hand ? "return = \"manual\"\n" : "");
    world.state.servers[kOne].standing = ServerStanding::kDown;
    EXPECT_EQ(world.standing_step().standing, by_hand ? ServerStanding::kIsolated : ServerStanding::kNormal);
    EXPECT_EQ(world.destination("web1"), by_hand ? kTwo : kOne) << "judged as it will be recorded";
  }
}

TEST(Standings, WhoComesAndGoesIsHeldForAGrowingTimeAndIsTheLastResort) {
  World world("flapping = { losses = 2, window = \"10 min\", hold = \"1 min\" }\n");
  ServerState& record = world.state.servers[kOne];
  record.standing = ServerStanding::kDown;
  record.losses = {500'000, 900'000};
  EXPECT_EQ(world.standing_step().hold_until_ms, world.clock_ms + 60'000);
  record.losses.push_back(950'000);
  EXPECT_EQ(world.standing_step().hold_until_ms, world.clock_ms + 120'000);
  record.losses = {100'000, 900'000};
  EXPECT_EQ(world.standing_step().standing, ServerStanding::kNormal) << "the first was before the window";

  record.standing = ServerStanding::kIsolated;
  record.hold_until_ms = world.clock_ms + 1000;
  EXPECT_EQ(world.destination("web1"), kTwo);
  world.servers[kTwo].present = false;
  EXPECT_EQ(world.destination("web1"), kOne) << "nobody else is left";
  record.drain = Drain{"root", "", 0};
  EXPECT_EQ(world.destination("web1"), ServerId{}) << "a person wants none to come there";
  record.drain.reset();
  world.servers[kTwo].present = true;
  world.clock_ms += 1000;
  EXPECT_EQ(world.standing_step().standing, ServerStanding::kNormal);
}

TEST(Standings, NobodyEndsWhileTwoComeTogetherAgain) {
  World world;
  ServerState& record = world.state.servers[kOne];
  record.shutdown = Shutdown{true, Afterwards::kNothing, "root", "", 0, world.clock_ms + 1, {{kOne, 11}}};
  world.all_up(kTwo);
  world.state.taken_over = kOne;
  EXPECT_TRUE(world.plan().cluster_steps.empty()) << "the other ones are there and have no vote yet";
  world.clock_ms += 1;
  EXPECT_EQ(world.standing_step().standing, ServerStanding::kStopped) << "they do not catch up";
  world.state.voters = VoterSet{{kOne, kTwo, kThree}, {kOne}};
  EXPECT_TRUE(world.plan().cluster_steps.empty()) << "they have everything in a moment";
  world.state.voters = VoterSet{{kOne, kTwo, kThree}, {}};
  world.state.taken_over = ServerId{};
  EXPECT_EQ(world.standing_step().standing, ServerStanding::kStopped);
}

TEST(Standings, AnOrderlyStopEndsWithAnotherStartOfThatServer) {
  World world;
  ServerState& record = world.state.servers[kOne];
  record.shutdown = Shutdown{true, Afterwards::kNothing, "root", "", 0, world.clock_ms + 1, {{kOne, 11}}};
  world.all_up(kTwo);
  const SetStanding stopped = world.standing_step();
  EXPECT_EQ(stopped.standing, ServerStanding::kStopped);
  EXPECT_EQ(stopped.life, 11u);
  world.up("web1", kOne);
  EXPECT_TRUE(world.plan().cluster_steps.empty()) << "it has a group";
  world.up("web1", kTwo);
  record.standing = ServerStanding::kStopped;
  record.life = 11;
  EXPECT_TRUE(world.plan().cluster_steps.empty());
  world.servers[kOne].life = 12;
  EXPECT_EQ(world.standing_step().standing, ServerStanding::kNormal);
  record.standing = ServerStanding::kNormal;  // restarted before its shutdown was through
  ASSERT_TRUE(std::holds_alternative<SetShutdown>(world.only_step()));
  EXPECT_EQ(std::get<SetShutdown>(world.only_step()).step, SetShutdown::Step::kCancel);
}

TEST(Drain, GroupsLeaveOneAfterAnother) {
  World world;
  world.state.servers[kOne].drain = Drain{"root", "", 0};
  world.all_up(kOne);
  EXPECT_EQ(world.destination("web1"), kTwo);
  EXPECT_EQ(world.destination("web2"), ServerId{});
  EXPECT_EQ(world.plan().staying.at(kOne).at("web2"), "another group is on its way first");
  GroupState& moving = world.state.groups.at("web1");
  moving.target = kTwo;
  moving.asked = true;
  EXPECT_EQ(world.destination("web2"), ServerId{}) << "web1 is still on its way";
  moving = GroupState{};
  moving.wanted = true;
  world.up("web1", kTwo);
  EXPECT_EQ(world.destination("web2"), kTwo);
  world.lose(kTwo);
  EXPECT_EQ(world.destination("web2"), ServerId{});
  EXPECT_TRUE(contains(world.plan().staying.at(kOne).at("web2"), "server2 is down: power lost"));
}

TEST(Shutdown, WhatCannotMoveIsStopped) {
  World world;
  world.state.servers[kOne].shutdown = Shutdown{true, Afterwards::kNothing, "root", "", 0, world.clock_ms + 1, {}};
  world.up("web1", kOne);
  world.lose(kTwo);
  const auto steps = world.plan().steps;
  ASSERT_EQ(steps.size(), 1u);
  EXPECT_EQ(std::get<WishGroup>(steps.front().command).park, kOne);
  world.servers[kTwo] = world.servers[kThree];
  EXPECT_EQ(world.destination("web1"), kTwo);
  world.clock_ms += 1;
  EXPECT_EQ(world.destination("web1"), ServerId{}) << "the time for moves is over";
}

TEST(Shutdown, AServerEndsWhenItsGroupsRunElsewhere) {
  World world;
  world.state.servers[kOne].shutdown = Shutdown{true, Afterwards::kNothing, "root", "", 0, world.clock_ms + 1000, {}};
  world.up("web2", kTwo);
  GroupState& moving = world.state.groups.at("web1");
  moving.wanted = moving.asked = true;
  moving.target = moving.owner = kTwo;
  moving.phase = GroupPhase::kStarting;
  EXPECT_TRUE(world.plan().cluster_steps.empty()) << "it does not run there yet";
  world.clock_ms += 1000;
  EXPECT_EQ(world.standing_step().standing, ServerStanding::kStopped) << "the time for that is over";
  world.clock_ms -= 1000;
  world.up("web1", kTwo);
  moving.asked = false;
  EXPECT_EQ(world.standing_step().standing, ServerStanding::kStopped);
}

TEST(Shutdown, TheClusterEndsWhenAllIsDownAndStartsWithOtherLives) {
  World world;
  world.state.shutdown = Shutdown{true, Afterwards::kNothing, "root", "", 0, world.clock_ms + 1,
                                  {{kOne, 11}, {kTwo, 22}, {kThree, 33}}};
  world.up("web1", kOne);
  EXPECT_TRUE(world.plan().cluster_steps.empty());
  EXPECT_TRUE(contains(world.waiting("web2"), "shut down"));
  world.state.groups.at("web1") = GroupState{};
  const Command end = world.only_step();
  ASSERT_TRUE(std::holds_alternative<SetShutdown>(end));
  EXPECT_EQ(std::get<SetShutdown>(end).step, SetShutdown::Step::kEnd);
  EXPECT_EQ(std::get<SetShutdown>(end).lives.at(kTwo), 22u);
  world.state.shut_down = true;
  EXPECT_TRUE(world.plan().cluster_steps.empty()) << "they are ending";
  world.servers[kOne].life = 111;
  world.lose(kTwo);
  world.servers[kThree] = world.servers[kTwo];
  world.servers[kTwo].lease_over = world.servers[kThree].lease_over = false;
  EXPECT_EQ(std::get<SetShutdown>(world.only_step()).step, SetShutdown::Step::kStarted);
}

/// Who ran when the shutdown was asked for, and has not been heard since the last change of members, may be ending still.
TEST(Shutdown, WhoIsThereButNotHeardYetIsLeft) {
  World world;
  world.state.shutdown = Shutdown{true, Afterwards::kNothing, "root", "", 0, 0, {{kOne, 11}, {kTwo, 22}, {kThree, 33}}};
  world.state.shut_down = true;
  const auto started = [&] {
    const auto steps = world.plan().cluster_steps;
    return std::any_of(steps.begin(), steps.end(), [](const auto& step) {
      const auto* shutdown = std::get_if<SetShutdown>(&step.command);
      return shutdown != nullptr && shutdown->step == SetShutdown::Step::kStarted;
    });
  };
  world.servers[kOne].life = 111;
  world.lose(kThree);
  world.servers[kTwo].life = 0;
  EXPECT_FALSE(started()) << "the first beat of server2 has not come";
  world.servers[kTwo].present = false;
  EXPECT_FALSE(started()) << "it does not answer";
  world.servers[kTwo] = {true, true, false, "", 222, kFormatLevel};
  EXPECT_TRUE(started());
  world.servers[kTwo] = {false, true, true, "its batond does not answer", 0, 0};
  EXPECT_TRUE(started()) << "its time to come back is over";
}

TEST(Shutdown, TheClustersIsGivenUpWhenItsTimeIsOver) {
  World world;
  world.state.shutdown = Shutdown{true, Afterwards::kNothing, "root", "", world.clock_ms, world.clock_ms + 20'000,
                                  {{kOne, 11}, {kTwo, 22}, {kThree, 33}}};
  world.up("web1", kOne);
  world.state.groups.at("web1").phase = GroupPhase::kStopping;
  EXPECT_TRUE(world.plan().cluster_steps.empty());
  world.clock_ms += 20'000;
  const Command step = world.only_step();
  ASSERT_TRUE(std::holds_alternative<SetShutdown>(step));
  EXPECT_EQ(std::get<SetShutdown>(step).step, SetShutdown::Step::kCancel);
  EXPECT_TRUE(std::get<SetShutdown>(step).given_up);
  EXPECT_EQ(std::get<SetShutdown>(step).reason, "it was not through within 20 s: group web1 is stopping on server1");
  ASSERT_TRUE(apply_command(world.state, step, 90).applied);
  EXPECT_FALSE(world.state.shutdown);
  EXPECT_TRUE(contains(world.state.given_up, "web1 is stopping"));
  EXPECT_EQ(world.destination("web2"), kOne) << "what is wanted runs again";
  ClusterState read = world.state;
  const SetShutdown put_away{ServerId{}, read.maintenance_version, SetShutdown::Step::kCancel};
  ASSERT_TRUE(apply_command(read, put_away, 91).applied);
  EXPECT_TRUE(read.given_up.empty());
  world.state.groups.at("web1") = GroupState{};
  ASSERT_TRUE(apply_command(world.state, SetShutdown{ServerId{}, world.state.maintenance_version}, 91).applied);
  EXPECT_TRUE(world.state.given_up.empty()) << "another one was asked for";
  EXPECT_EQ(std::get<SetShutdown>(world.only_step()).step, SetShutdown::Step::kStarted) << "(nobody runs who was asked)";
}

TEST(Shutdown, AServersIsGivenUpWhenItsGroupsDoNotStopAfterTheTimeForMoves) {
  World world;
  const Shutdown asked{true, Afterwards::kPowerOff, "root", "", world.clock_ms, world.clock_ms + 20'000, {{kOne, 11}}};
  world.state.servers[kOne].shutdown = asked;
  world.up("web1", kOne);
  GroupState& left = world.state.groups.at("web1");
  left.phase = GroupPhase::kStopping;
  left.parked = kOne;
  world.state.groups.at("web2").wanted = false;
  const uint64_t stops_ms = 30'000 + 15'000;  // the time-out of its service, and a kill
  world.clock_ms += 20'000 + stops_ms - 1;
  EXPECT_TRUE(world.plan().cluster_steps.empty());
  world.clock_ms += 1;
  const Command step = world.only_step();
  ASSERT_TRUE(std::holds_alternative<SetShutdown>(step));
  EXPECT_TRUE(std::get<SetShutdown>(step).given_up);
  ASSERT_TRUE(apply_command(world.state, step, 90).applied);
  EXPECT_FALSE(world.state.server(kOne).shutdown);
  EXPECT_TRUE(contains(world.state.server(kOne).given_up, "not through within 65 s: group web1 is stopping on server1"))
      << world.state.server(kOne).given_up;
  EXPECT_EQ(world.state.groups.at("web1").parked, ServerId{}) << "it does not wait for the return of a server that stays";
  world.state.servers[kOne].shutdown = asked;
  world.up("web1", kTwo);
  EXPECT_EQ(world.standing_step().standing, ServerStanding::kStopped) << "nothing of it is left there";
}

TEST(BackOff, WhatFailedIsTriedThereAgainAfterAGrowingPause) {
  World world;
  GroupState& group = world.state.groups.at("web1");
  group.refused[kOne] = {"service httpd did not start", 1, world.clock_ms};
  EXPECT_EQ(world.destination("web1"), kTwo) << "nobody waits where another server can";
  group.refused[kTwo] = {"service httpd did not start", 1, world.clock_ms};
  EXPECT_EQ(world.destination("web1"), ServerId{});
  EXPECT_TRUE(contains(world.waiting("web1"), "server1 is tried again in 5 s (attempt 2 of 3), it failed there once (service httpd "
                                              "did not start)")) << world.waiting("web1");
  EXPECT_TRUE(contains(world.waiting("web1"), "baton group start web1")) << world.waiting("web1");
  world.clock_ms += 5000;
  EXPECT_EQ(world.destination("web1"), kOne);
  for (const ServerId server : {kOne, kTwo}) group.refused[server] = {"again", 2, world.clock_ms};
  world.clock_ms += 9999;
  EXPECT_TRUE(contains(world.waiting("web1"), "in 1 s (attempt 3 of 3)")) << world.waiting("web1");
  world.clock_ms += 1;
  EXPECT_EQ(world.destination("web1"), kOne);
  group.refused[kOne].at_ms = group.refused[kTwo].at_ms = world.clock_ms + 3'600'000;
  EXPECT_TRUE(contains(world.waiting("web1"), "in 10 s")) << "whatever the clock says, no longer than the pause";
}

TEST(Standings, AHeldServerThatCanWaitsWithAReason) {
  World world;
  ServerState& record = world.state.servers[kOne];
  record.standing = ServerStanding::kIsolated;
  record.hold_until_ms = world.clock_ms + 60'000;
  record.reason = "it was lost 3 times";
  world.state.servers[kTwo].standing = ServerStanding::kStopped;
  world.state.servers[kTwo].life = 1;
  EXPECT_EQ(world.destination("web1"), ServerId{}) << "server2 returns in a moment";
  EXPECT_TRUE(contains(world.waiting("web1"), "server1 is isolated (Od): it was lost 3 times")) << world.waiting("web1");
  EXPECT_FALSE(contains(world.waiting("web1"), "failed there")) << world.waiting("web1");
}

TEST(Suspension, NothingMovesButByAnOperatorsWord) {
  World world;
  world.up("web1", kOne);
  world.lose(kOne);
  world.state.groups.at("web1").suspension = Suspension{"root", "new disks", 0, world.clock_ms + 5000};
  EXPECT_EQ(world.destination("web1"), ServerId{});
  EXPECT_TRUE(contains(world.waiting("web1"), "suspended by root (new disks), 5 s left")) << world.waiting("web1");
  EXPECT_EQ(world.destination("web2"), kTwo);
  world.state.groups.at("web1").asked = true;
  EXPECT_EQ(world.destination("web1"), kTwo);
  world.clock_ms += 5000;
  bool ends = false;
  for (const auto& step : world.plan().cluster_steps) ends = ends || std::holds_alternative<SetSuspension>(step.command);
  EXPECT_TRUE(ends) << "its time is over";
}

TEST(Start, AutomaticGroupsWaitAndAskedOnesDoNot) {
  World world;
  world.starting = "the cluster is starting and waits for server3, 5 s more";
  world.state.groups.at("web2").asked = true;
  EXPECT_EQ(world.waiting("web1"), world.starting);
  EXPECT_EQ(world.destination("web2"), kOne);
}

TEST(Holds, TheLastGoodOwnerKeepsWhatNobodyElseCanRun) {
  World world("breaker = { failovers = 1 }\n");
  world.up("web1", kOne);
  const auto why = [&] {
    return why_stay(Input{world.configuration, world.state, world.servers, {}, world.clock_ms, ""}, "web1", "service");
  };
  EXPECT_EQ(why(), "");
  world.lose(kTwo);
  EXPECT_TRUE(contains(why(), "server2 is down")) << why();
  world.servers[kTwo] = world.servers[kThree];
  world.state.failures.push_back({"web1", kTwo, "service", world.clock_ms - 1});
  EXPECT_TRUE(contains(why(), "the breaker: it failed over 1 times")) << why();
}

TEST(Emptying, EverythingOfAServerHasToFindAPlaceTogether) {
  World world;
  world.all_up(kOne);
  const auto why = [&] {
    const auto found = why_not_empty(Input{world.configuration, world.state, world.servers, {}, world.clock_ms, ""}, kOne);
    return found ? found->why : "";
  };
  EXPECT_EQ(why(), "");
  world.state.groups.at("web2").suspension = Suspension{.author = "ann"};
  EXPECT_EQ(why(), "group web2 is suspended by ann");
  world.state.groups.at("web2").suspension.reset();

  world.configuration.groups[1].with = {"web1"};
  EXPECT_EQ(why(), "") << "the other one goes with it";
  world.configuration.groups[1].with.clear();
  for (auto& group : world.configuration.groups) group.needs["memory"] = 4;
  world.configuration.servers[0].capacity["memory"] = 8;
  world.configuration.servers[1].capacity["memory"] = 4;
  EXPECT_TRUE(contains(why(), "group web2 could run nowhere else")) << why() << ": the first one takes the room";
  world.configuration.servers[1].capacity["memory"] = 8;
  EXPECT_EQ(why(), "");

  world.up("web2", kTwo);
  world.lose(kTwo);
  world.state.groups.at("web1").wanted = false;
  EXPECT_TRUE(contains(why(), "group web2 could run nowhere else")) << why() << ": its own server is lost";
  world.state.groups.at("web2").wanted = false;
  EXPECT_EQ(why(), "");
}

TEST(Levels, TheLevelRisesWhenEveryVoterKnowsIt) {
  World world;
  world.state.format_level = 1;
  world.state.servers[kOne].standing = ServerStanding::kDown;
  const Command raise = world.only_step();
  ASSERT_TRUE(std::holds_alternative<RaiseFormatLevel>(raise)) << "a command of a level that is not reached was planned";
  world.servers[kThree].format_level = 1;
  EXPECT_TRUE(world.plan().cluster_steps.empty());
  world.servers[kThree] = ServerView{};
  EXPECT_TRUE(world.plan().cluster_steps.empty()) << "what is not there may be older";
}

}  // namespace
}  // namespace baton::planner
