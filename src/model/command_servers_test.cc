// Servers that join, leave and change their interconnects, judged as docs/protocol.md says ("Voters").
#include <gtest/gtest.h>

#include "src/model/command.h"

namespace baton {
namespace {

constexpr ServerId kOne{1}, kTwo{2}, kThree{3}, kFour{4}, kFive{5};

struct TestServer {
  std::string name;
  uint32_t id;
  std::string interconnects;
  bool witness = false;
};
using Servers = std::vector<TestServer>;

std::string text(const Servers& servers, const std::string& policy = "\"server1\", \"server2\"") {
  std::string made = "[cluster]\nname = \"many\"\n";
  for (const auto& server : servers)
    made += fmt::format("[server.{}]\nid = {}\n{}interconnects = [{}]\n", server.name, server.id,
                        server.witness ? "role = \"witness\"\n" : "", server.interconnects);
  return made + "[group.db]\nservers = [" + policy + "]\n[group.db.mirror.data]\nsize = \"512 MiB\"\nstore = \"/d\"\n";
}

const TestServer kServer1{"server1", 1, "\"10.0.1.1\", \"10.0.2.1\""}, kServer2{"server2", 2, "\"10.0.1.2\", \"10.0.2.2\""},
    kWitness{"witness", 3, "\"10.0.1.3\", \"10.0.2.3\"", true}, kServer4{"server4", 4, "\"10.0.1.4\", \"10.0.2.4\""},
    kServer5{"server5", 5, "\"10.0.1.5\", \"10.0.2.5\""};

struct Cluster {
  ClusterState state;
  uint64_t index = 1;
  std::string refusal;

  Cluster() { EXPECT_EQ(servers({kServer1, kServer2, kWitness}), ""); }
  std::string servers(const Servers& wanted, const std::string& policy = "\"server1\", \"server2\"") {
    return apply_command(state, ApplyConfiguration{state.configuration_version, text(wanted, policy), "test"}, ++index)
        .refusal;
  }
  void voters(std::set<ServerId> now, std::set<ServerId> before = {}) {
    EXPECT_TRUE(apply_command(state, SetVoters{VoterSet{std::move(now), std::move(before)}}, ++index).applied);
  }
};

bool says(const std::string& refusal, const std::string& part) { return refusal.find(part) != std::string::npos; }

TEST(CommandServers, TheFoundersVote) {
  Cluster cluster;
  EXPECT_EQ(cluster.state.voters, (VoterSet{{kOne, kTwo, kThree}, {}}));
}

TEST(CommandServers, OneJoinsAtATime) {
  Cluster cluster;
  EXPECT_TRUE(says(cluster.servers({kServer1, kServer2, kWitness, kServer4, kServer5}), "one at a time"));
  EXPECT_EQ(cluster.servers({kServer1, kServer2, kWitness, kServer4}), "");
  EXPECT_EQ(cluster.state.voters.now.size(), 3u) << "it votes when it has caught up";
  EXPECT_TRUE(says(cluster.servers({kServer1, kServer2, kWitness, kServer4, kServer5}), "still under way"));
  EXPECT_EQ(cluster.servers({kServer1, kServer2, kWitness}), "") << "a join may be taken back";
  EXPECT_EQ(cluster.servers({kServer1, kServer2, kWitness, kServer4}), "");
  cluster.voters({kOne, kTwo, kThree, kFour}, {kOne, kTwo, kThree});
  EXPECT_TRUE(says(cluster.servers({kServer1, kServer2, kWitness}), "still under way")) << "not in the middle";
  cluster.voters({kOne, kTwo, kThree, kFour});
  EXPECT_EQ(cluster.servers({kServer1, kServer2, kWitness, kServer4, kServer5}), "");
  EXPECT_TRUE(says(cluster.servers({kServer1, kServer2, kServer4, kServer5}), "still under way"));
}

TEST(CommandServers, NamesIdsAndRolesStay) {
  Cluster cluster;
  EXPECT_TRUE(says(cluster.servers({kServer1, {"server2", 4, "\"10.0.1.2\", \"10.0.2.2\""}, kWitness}), "for good"));
  EXPECT_TRUE(says(cluster.servers({kServer1, kServer2, {"arbiter", 3, kWitness.interconnects, true}}), "another id"));
  EXPECT_TRUE(says(cluster.servers({kServer1, kServer2, {"witness", 3, kWitness.interconnects}}), "server and witness"));
}

TEST(CommandServers, AnInterconnectChangesWhileAnotherOneStays) {
  Cluster cluster;
  const Servers one_changed{kServer1, {"server2", 2, "\"10.0.9.2\", \"10.0.2.2\""}, kWitness};
  EXPECT_EQ(cluster.servers(one_changed), "");
  EXPECT_TRUE(says(cluster.servers({kServer1, {"server2", 2, "\"10.0.8.2\", \"10.0.8.3\""}, kWitness}), "cut off"));
  EXPECT_TRUE(says(cluster.servers({{"server1", 1, "\"10.0.2.1\""}, {"server2", 2, "\"10.0.2.2\""}, {"witness", 3, "\"10.0.2.3\"", true}}),
                   "cut off"))
      << "the second one would become the first";
  EXPECT_EQ(cluster.servers({{"server1", 1, "\"10.0.1.1\""}, {"server2", 2, "\"10.0.9.2\""}, {"witness", 3, "\"10.0.1.3\"", true}}), "");
}

TEST(CommandServers, AnOwnerDoesNotLeave) {
  Cluster cluster;
  const std::string key = "db.data";
  const AssignGroup assign{"db", cluster.state.groups.at("db").version, kTwo, {{key, cluster.state.mirrors.at(key).version}},
                           {{key, {{kTwo, Incarnation{1}}}}}, false, "why", {}};
  // A new mirror begins on the policy's first server.
  const AssignGroup first{"db", assign.expected_version, kOne, assign.mirror_versions,
                          {{key, {{kOne, Incarnation{1}}}}}, false, "why", {}};
  ASSERT_TRUE(apply_command(cluster.state, first, 90).applied);
  EXPECT_EQ(cluster.servers({kServer1, kServer2, kWitness, kServer4}), "");
  cluster.voters({kOne, kTwo, kThree, kFour});
  EXPECT_TRUE(says(cluster.servers({kServer2, kWitness, kServer4}, "\"server4\", \"server2\""), "move it first"));
}

TEST(CommandServers, TheLastGoodCopyDoesNotLeaveAndOthersAreForgotten) {
  Cluster cluster;
  EXPECT_EQ(cluster.servers({kServer1, kServer2, kWitness, kServer4}), "");
  cluster.voters({kOne, kTwo, kThree, kFour});
  auto& mirror = cluster.state.mirrors.at("db.data");
  mirror.in_sync = {{kTwo, Incarnation{1}}};
  EXPECT_TRUE(says(cluster.servers({kServer1, kWitness, kServer4}, "\"server1\", \"server4\""), "only copy"));
  mirror.in_sync = {{kOne, Incarnation{1}}, {kTwo, Incarnation{1}}};
  const uint64_t version = mirror.version;
  cluster.state.groups.at("db").phase = GroupPhase::kStarted;
  EXPECT_TRUE(says(cluster.servers({kServer1, kWitness, kServer4}, "\"server1\", \"server4\""), "break the mirror first"));
  cluster.state.groups.at("db").phase = GroupPhase::kStopped;
  EXPECT_EQ(cluster.servers({kServer1, kWitness, kServer4}, "\"server1\", \"server4\""), "");
  EXPECT_EQ(mirror.in_sync, (std::map<ServerId, Incarnation>{{kOne, Incarnation{1}}}));
  EXPECT_EQ(mirror.version, version + 1);
}

/// S3. What a primary proposed before a server left is judged after it: nobody would take that name out of the set again.
TEST(CommandServers, AReadmissionThatMeetsALeaveIsRefused) {
  Cluster cluster;
  EXPECT_EQ(cluster.servers({kServer1, kServer2, kWitness, kServer4}), "");
  cluster.voters({kOne, kTwo, kThree, kFour});
  auto& mirror = cluster.state.mirrors.at("db.data");
  mirror.in_sync = {{kOne, Incarnation{1}}};
  mirror.permit = Permit{1};
  mirror.holder = kOne;
  const SetInSync readmission{"db.data", mirror.version, mirror.permit, {{kOne, Incarnation{1}}, {kTwo, Incarnation{1}}}, "up to date"};
  const SetInSync naming{"db.data", mirror.version, mirror.permit, mirror.in_sync, "trails", {{kTwo, Incarnation{1}}}};
  EXPECT_EQ(cluster.servers({kServer1, kWitness, kServer4}, "\"server1\", \"server4\""), "");
  EXPECT_TRUE(says(apply_command(cluster.state, readmission, 90).refusal, "not among the servers"));
  EXPECT_TRUE(says(apply_command(cluster.state, naming, 91).refusal, "not among the servers"));
  EXPECT_EQ(mirror.in_sync, (std::map<ServerId, Incarnation>{{kOne, Incarnation{1}}}));
  EXPECT_TRUE(mirror.trailing.empty());
  SetInSync of_the_next = readmission;
  of_the_next.in_sync = {{kOne, Incarnation{1}}, {kFour, Incarnation{1}}};
  EXPECT_TRUE(apply_command(cluster.state, of_the_next, 92).applied) << "a server that is there is named";
}

TEST(CommandServers, AnIdThatIsGivenAnewIsNotRestricted) {
  Cluster cluster;
  EXPECT_EQ(cluster.servers({kServer1, kServer2, kWitness, kServer4}), "");
  cluster.voters({kOne, kTwo, kThree, kFour});
  auto& mirror = cluster.state.mirrors.at("db.data");
  mirror.in_sync = {{kOne, Incarnation{1}}};
  mirror.restricted = {kTwo};
  EXPECT_EQ(cluster.servers({kServer1, kWitness, kServer4}, "\"server1\", \"server4\""), "");
  EXPECT_TRUE(mirror.restricted.empty());
}

}  // namespace
}  // namespace baton
