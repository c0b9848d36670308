// Standings, suspensions, drains, shutdowns, holds and levels are judged as docs/operations.md says.
#include <gtest/gtest.h>

#include "src/model/breaker.h"
#include "src/model/command.h"
#include "src/model/configuration_toml.h"

namespace baton {
namespace {

constexpr ServerId kOne{1}, kTwo{2}, kWitness{3}, kNobody{};

std::string text(int groups, const std::string& cluster = "") {
  std::string made = "[cluster]\nname = \"pair\"\npublic_lan = \"10.0.0.0/24\"\n" + cluster + R"([server.server1]
id = 1
interconnects = ["10.0.1.1"]
[server.server2]
id = 2
interconnects = ["10.0.1.2"]
[server.witness]
id = 3
role = "witness"
interconnects = ["10.0.1.3"]
)";
  for (int number = 1; number <= groups; ++number)
    made += "[group.web" + std::to_string(number) + "]\nservers = [\"server1\", \"server2\"]\n[group.web" +
            std::to_string(number) + ".service.httpd]\ncommand = [\"/usr/sbin/httpd\"]\n";
  return made;
}

struct Cluster {
  ClusterState state;
  uint64_t index = 1;
  std::string refusal;

  explicit Cluster(int groups = 1, const std::string& cluster = "") {
    EXPECT_TRUE(run(ApplyConfiguration{0, text(groups, cluster), "test", kFormatLevel})) << refusal;
  }
  bool run(const Command& command) {
    const ClusterState before = state;
    const Applied applied = apply_command(state, command, ++index);
    refusal = applied.refusal;
    if (!applied.applied) {
      EXPECT_EQ(state, before) << "a refused command changed something";
    }
    return applied.applied;
  }
  bool refused(const Command& command, const std::string& with) {
    return !run(command) && refusal.find(with) != std::string::npos;
  }
  GroupState& group(const std::string& name = "web1") { return state.groups.at(name); }
  bool assign(ServerId server, const std::string& name = "web1") {
    return run(AssignGroup{name, group(name).version, server, {}, {}, false, "why", {}, {}, ""});
  }
  bool phase(ServerId server, GroupPhase to, const std::string& name = "web1", const std::string& cause = "",
             uint64_t clock_ms = 0) {
    return run(SetGroupPhase{name, group(name).version, server, to, cause.empty() ? "" : "it failed", "because", {}, cause,
                             clock_ms});
  }
  bool up(ServerId server, const std::string& name = "web1") {
    return assign(server, name) && phase(server, GroupPhase::kStarted, name);
  }
  bool standing(ServerId server, ServerStanding to, uint64_t clock_ms = 0) {
    return run(SetStanding{server, state.server(server).version, to, "why", "", clock_ms, 0, 0});
  }
  SetShutdown shutdown(ServerId server, SetShutdown::Step step = SetShutdown::Step::kBegin) {
    const uint64_t version = server == kNobody ? state.maintenance_version : state.server(server).version;
    return {server, version, step, true, Afterwards::kNothing, "root", "", 0, 1000, {{kOne, 11}, {kTwo, 22}}};
  }
};

TEST(Maintenance, WhatFailedEndsOneServerAtATime) {
  Cluster cluster;
  ASSERT_TRUE(cluster.run(cluster.shutdown(kOne))) << cluster.refusal;
  SetShutdown own = cluster.shutdown(kTwo);
  own.author = kOwnAuthor;
  EXPECT_TRUE(cluster.refused(own, "server1 is being shut down: server2 stays until that is over")) << cluster.refusal;
  EXPECT_TRUE(cluster.run(cluster.shutdown(kTwo))) << "a person may: " << cluster.refusal;
}

TEST(Maintenance, ServersGoFromStateToStateAsTheyMay) {
  Cluster cluster;
  EXPECT_TRUE(cluster.refused(SetStanding{kOne, 0, ServerStanding::kIsolated, "", "", 0, 0, 0}, "cannot go from normal"));
  EXPECT_TRUE(cluster.standing(kOne, ServerStanding::kDown, 10));
  EXPECT_TRUE(cluster.refused(SetStanding{kOne, 0, ServerStanding::kNormal, "", "", 0, 0, 0}, "has changed meanwhile"));
  EXPECT_TRUE(cluster.standing(kOne, ServerStanding::kIsolated, 20));
  EXPECT_EQ(cluster.state.server(kOne).since_ms, 20u);
  EXPECT_EQ(cluster.state.clock_ms, 20u);
  EXPECT_TRUE(cluster.standing(kOne, ServerStanding::kNormal, 15));
  EXPECT_EQ(cluster.state.clock_ms, 20u) << "cluster time went back";
  EXPECT_TRUE(cluster.refused(SetStanding{ServerId{9}, 0, ServerStanding::kDown, "", "", 0, 0, 0}, "no server 9"));
}

TEST(Maintenance, AnIsolatedServerIsGivenNoGroupUnlessItIsOnlyHeld) {
  Cluster cluster;
  cluster.standing(kOne, ServerStanding::kDown);
  cluster.standing(kOne, ServerStanding::kIsolated);
  EXPECT_FALSE(cluster.assign(kOne));
  EXPECT_NE(cluster.refusal.find("isolated (Od)"), std::string::npos) << cluster.refusal;
  cluster.state.servers[kOne].hold_until_ms = 99;  // held for coming and going: the last resort
  EXPECT_TRUE(cluster.assign(kOne)) << cluster.refusal;
}

TEST(Maintenance, LossesAreCountedWithinTheWindowAndForgottenByHand) {
  Cluster cluster(1, "flapping = { losses = 2, window = \"1 min\" }\n");
  for (const uint64_t at : {1000u, 2000u, 70000u}) {
    ASSERT_TRUE(cluster.standing(kOne, ServerStanding::kDown, at));
    ASSERT_TRUE(cluster.standing(kOne, ServerStanding::kNormal, at + 500));
  }
  EXPECT_EQ(cluster.state.server(kOne).losses, (std::vector<uint64_t>{70000}));
  ASSERT_TRUE(cluster.standing(kOne, ServerStanding::kDown, 71000));
  ASSERT_TRUE(cluster.run(SetStanding{kOne, cluster.state.server(kOne).version, ServerStanding::kNormal, "", "root", 0, 0, 0}));
  EXPECT_TRUE(cluster.state.server(kOne).losses.empty());
}

TEST(Maintenance, AServerEndsOnlyWhenAskedAndWithoutGroups) {
  Cluster cluster;
  ASSERT_TRUE(cluster.up(kOne));
  EXPECT_FALSE(cluster.standing(kOne, ServerStanding::kStopped));
  EXPECT_NE(cluster.refusal.find("nobody asked"), std::string::npos);
  ASSERT_TRUE(cluster.run(cluster.shutdown(kOne))) << cluster.refusal;
  EXPECT_FALSE(cluster.standing(kOne, ServerStanding::kStopped));
  EXPECT_NE(cluster.refusal.find("web1 is still there"), std::string::npos) << cluster.refusal;
  ASSERT_TRUE(cluster.run(WishGroup{"web1", cluster.group().version, true, kNobody, "it stops with it", "baton", kOne}));
  ASSERT_TRUE(cluster.phase(kOne, GroupPhase::kStopping) && cluster.phase(kOne, GroupPhase::kStopped));
  EXPECT_FALSE(cluster.assign(kOne)) << "a server that is being shut down was given a group";
  ASSERT_TRUE(cluster.standing(kOne, ServerStanding::kStopped)) << cluster.refusal;
  EXPECT_EQ(cluster.group().parked, kOne);
  ASSERT_TRUE(cluster.standing(kOne, ServerStanding::kNormal));
  EXPECT_EQ(cluster.group().parked, kNobody) << "it is back, and its group still waits for it";
  EXPECT_FALSE(cluster.state.server(kOne).shutdown.has_value());
  EXPECT_TRUE(cluster.refused(cluster.shutdown(kWitness), "the witness"));
}

TEST(Maintenance, AServerThatIsDownIsNotShutDown) {
  Cluster cluster;
  ASSERT_TRUE(cluster.standing(kOne, ServerStanding::kDown));
  EXPECT_TRUE(cluster.refused(cluster.shutdown(kOne), "is down (Xd)"));
}

TEST(Maintenance, AWishToStartWhatALostOwnerHasIsOneToBeFulfilled) {
  Cluster cluster;
  ASSERT_TRUE(cluster.up(kOne));
  ASSERT_TRUE(cluster.run(WishGroup{"web1", cluster.group().version, true, kNobody, "start", "root", {}, {}}));
  EXPECT_FALSE(cluster.group().asked) << "it runs";
  ASSERT_TRUE(cluster.run(WishGroup{"web1", cluster.group().version, true, kNobody, "start", "root", {}, kTwo}));
  EXPECT_FALSE(cluster.group().asked) << "another one is its owner by now";
  ASSERT_TRUE(cluster.run(WishGroup{"web1", cluster.group().version, true, kNobody, "start", "root", {}, kOne}));
  EXPECT_TRUE(cluster.group().asked);
  EXPECT_EQ(required_level(WishGroup{"web1", 1, true, kNobody, "", "", {}, kOne}), 2u);
}

TEST(Maintenance, AServerThatHasLeftIsForgotten) {
  Cluster cluster;
  ASSERT_TRUE(cluster.standing(kWitness, ServerStanding::kDown));
  std::string without = text(1);
  const auto begin = without.find("[server.witness]");
  without.erase(begin, without.find("[group.") - begin);
  ASSERT_TRUE(cluster.run(ApplyConfiguration{cluster.state.configuration_version, without, "test", 0})) << cluster.refusal;
  EXPECT_FALSE(cluster.state.servers.contains(kWitness)) << "who bears its id next is another one";
}

TEST(Maintenance, TheClusterEndsWhenAllGroupsAreDownAndStartsAgain) {
  Cluster cluster;
  ASSERT_TRUE(cluster.up(kOne));
  EXPECT_TRUE(cluster.refused(cluster.shutdown(kNobody, SetShutdown::Step::kEnd), "nobody asked"));
  ASSERT_TRUE(cluster.run(cluster.shutdown(kNobody)));
  EXPECT_TRUE(cluster.refused(cluster.shutdown(kNobody, SetShutdown::Step::kEnd), "web1 is still up"));
  ASSERT_TRUE(cluster.phase(kOne, GroupPhase::kStopping) && cluster.phase(kOne, GroupPhase::kStopped));
  EXPECT_FALSE(cluster.assign(kTwo)) << "started in a cluster that is shut down";
  ASSERT_TRUE(cluster.run(cluster.shutdown(kNobody, SetShutdown::Step::kEnd))) << cluster.refusal;
  EXPECT_EQ(cluster.state.server(kOne).standing, ServerStanding::kStopped);
  EXPECT_EQ(cluster.state.server(kTwo).life, 22u);
  EXPECT_TRUE(cluster.refused(cluster.shutdown(kNobody, SetShutdown::Step::kCancel), "not being shut down"));
  ASSERT_TRUE(cluster.run(cluster.shutdown(kNobody, SetShutdown::Step::kStarted)));
  EXPECT_FALSE(cluster.state.shutdown || cluster.state.shut_down);
  EXPECT_EQ(cluster.state.server(kTwo).standing, ServerStanding::kNormal) << "who is not back is missing, not stopped";
  EXPECT_TRUE(cluster.group().wanted);
}

TEST(Maintenance, SuspensionsBeginAndEndWhereTheyBelong) {
  Cluster cluster;
  EXPECT_TRUE(cluster.refused(SetSuspension{"web1", kNobody, cluster.group().version, false, 0, "root", "", 0}, "not suspended"));
  ASSERT_TRUE(cluster.run(SetSuspension{"web1", kNobody, cluster.group().version, true, 500, "root", "new disks", 100}));
  ASSERT_TRUE(cluster.run(SetSuspension{"", kOne, 0, true, 0, "root", "", 100}));
  ASSERT_TRUE(cluster.run(SetSuspension{"", kNobody, 0, true, 0, "root", "", 100}));
  EXPECT_EQ(cluster.group().suspension->until_ms, 500u);
  EXPECT_TRUE(cluster.state.server(kOne).suspension && cluster.state.suspension);
  EXPECT_TRUE(cluster.refused(SetSuspension{"", kNobody, 0, false, 0, "root", "", 100}, "changed meanwhile"));
  ASSERT_TRUE(cluster.run(SetSuspension{"", kNobody, 1, false, 0, "root", "", 100}));
  EXPECT_FALSE(cluster.state.suspension.has_value());
}

TEST(Breaker, OneGroupFailsOverAgainAndAgainOnlySoOften) {
  Cluster cluster(1, "breaker = { groups = 4, failovers = 2, window = \"1 min\" }\n");
  const auto fails_over = [&](ServerId from, uint64_t at) {
    return cluster.up(from) && cluster.phase(from, GroupPhase::kStopping, "web1", "service", at) &&
           cluster.phase(from, GroupPhase::kStopped);
  };
  ASSERT_TRUE(fails_over(kOne, 1000)) << cluster.refusal;
  EXPECT_EQ(cluster.group().refused.at(kOne).attempts, 1u);
  ASSERT_TRUE(fails_over(kTwo, 2000));
  ASSERT_TRUE(cluster.up(kOne));
  EXPECT_FALSE(cluster.phase(kOne, GroupPhase::kStopping, "web1", "service", 3000));
  EXPECT_NE(cluster.refusal.find("failed over 2 times within 1 min"), std::string::npos) << cluster.refusal;
  ASSERT_TRUE(cluster.run(HoldGroup{"web1", cluster.group().version, kOne, "held"}));
  ASSERT_TRUE(cluster.run(ReleaseGroup{"web1", cluster.group().version, "root"}));
  EXPECT_TRUE(cluster.phase(kOne, GroupPhase::kStopping, "web1", "service", 3000)) << "released: " << cluster.refusal;
  EXPECT_FALSE(cluster.group().released) << "the word of an operator lets one move pass";
}

TEST(Breaker, OfManyGroupsWithOneCauseOnlySoManyMove) {
  Cluster cluster(6, "breaker = { groups = 3, window = \"1 min\" }\n");
  for (int number = 1; number <= 6; ++number) ASSERT_TRUE(cluster.up(kOne, "web" + std::to_string(number)));
  int moved = 0;
  for (int number = 1; number <= 5; ++number)
    moved += cluster.phase(kOne, GroupPhase::kStopping, "web" + std::to_string(number), "service", 1000) ? 1 : 0;
  EXPECT_EQ(moved, 3);
  EXPECT_NE(cluster.refusal.find("3 groups were moved for a failing service"), std::string::npos) << cluster.refusal;
  EXPECT_TRUE(cluster.phase(kOne, GroupPhase::kStopping, "web4", "address", 1000)) << "another cause: " << cluster.refusal;
  EXPECT_TRUE(cluster.phase(kOne, GroupPhase::kStopping, "web5", "service", 70000)) << "the window is over";
}

TEST(Breaker, ZeroIsNoBound) {
  Cluster cluster(6, "breaker = { groups = 0, failovers = 0 }\n");
  for (int number = 1; number <= 6; ++number) {
    const std::string name = "web" + std::to_string(number);
    ASSERT_TRUE(cluster.up(kOne, name) && cluster.phase(kOne, GroupPhase::kStopping, name, "service", 1000));
  }
}

TEST(Levels, WhatNotEveryVoterKnowsIsNotJudged) {
  EXPECT_EQ(required_level(SetInSync{}), 1u);
  EXPECT_EQ(required_level(SetDrain{}), 2u);
  SetGroupPhase phase;
  EXPECT_EQ(required_level(phase), 1u);
  phase.cause = "service";
  EXPECT_EQ(required_level(phase), 2u);

  ClusterState old;  // founded by a version that knew no levels
  ASSERT_TRUE(apply_command(old, ApplyConfiguration{0, text(1), "test"}, 1).applied);
  EXPECT_EQ(old.format_level, 1u);
  const ApplyConfiguration newer{1, text(1, "return = \"manual\"\n"), "test"};
  EXPECT_NE(apply_command(old, newer, 2).refusal.find("settings of level 2"), std::string::npos);
  ASSERT_TRUE(apply_command(old, RaiseFormatLevel{2}, 3).applied);
  EXPECT_FALSE(apply_command(old, RaiseFormatLevel{2}, 4).applied);
  EXPECT_TRUE(apply_command(old, newer, 5).applied);
}

TEST(Policies, AreReadAndRefusedWithTheirPlace) {
  const auto read = parse_configuration(text(1, "return = \"manual\"\nstartup_wait = \"5 min\"\n"
                                                "breaker = { groups = 7 }\nflapping = { hold = \"2 min\" }\n"));
  ASSERT_TRUE(read.has_value()) << read.error().message;
  EXPECT_EQ(read->return_policy_of(kOne), ReturnPolicy::kManual);
  EXPECT_EQ(read->startup_wait, 5min);
  EXPECT_EQ(read->breaker.groups, 7);
  EXPECT_EQ(read->flapping.hold, 2min);
  EXPECT_EQ(read->level, 2u);
  EXPECT_EQ(parse_configuration(text(1))->level, 1u);
  for (const std::string wrong : {"return = \"never\"\n", "breaker = 4\n", "breaker = { group = 4 }\n",
                                  "flapping = { hold = \"0 s\" }\n", "reboot_command = [\"reboot\"]\n"})
    EXPECT_FALSE(parse_configuration(text(1, wrong)).has_value()) << wrong;
}

}  // namespace
}  // namespace baton
