// Commands are judged as docs/protocol.md says: compare-and-set, permits, in-sync set, promotion.
#include "src/model/command.h"

#include <gtest/gtest.h>

namespace baton {
namespace {

constexpr ServerId kOne{1}, kTwo{2}, kWitness{3};

std::string text(const std::string& groups) {
  return R"([cluster]
name = "pair"
public_lan = "10.0.0.0/24"
[server.server1]
id = 1
interconnects = ["10.0.1.1"]
[server.server2]
id = 2
interconnects = ["10.0.1.2"]
[server.witness]
id = 3
role = "witness"
interconnects = ["10.0.1.3"]
)" + groups;
}
const std::string kDb = R"([group.db]
servers = ["server1", "server2"]
[group.db.mirror.data]
size = "512 MiB"
store = "/var/lib/baton/store/db.img"
)";
const std::string kWeb = R"([group.web]
servers = ["server2", "server1"]
startup = "manual"
[group.web.service.httpd]
command = ["/usr/sbin/httpd"]
)";
const std::string kMirror = "db.data";

struct Cluster {
  ClusterState state;
  uint64_t index = 1;
  std::string refusal;

  Cluster() { EXPECT_TRUE(run(ApplyConfiguration{0, text(kDb + kWeb), "test"})) << refusal; }

  bool run(const Command& command) {
    const ClusterState before = state;
    const Applied applied = apply_command(state, command, ++index);
    refusal = applied.refusal;
    EXPECT_EQ(applied.applied, refusal.empty());
    if (!applied.applied) {
      EXPECT_EQ(state, before);
    }
    return applied.applied;
  }
  GroupState& db() { return state.groups.at("db"); }
  MirrorState& mirror() { return state.mirrors.at(kMirror); }

  AssignGroup assignment(ServerId server, std::map<ServerId, Incarnation> reported, bool alone = false) {
    return AssignGroup{"db", db().version, server, {{kMirror, mirror().version}}, {{kMirror, reported}}, alone, "why", {}};
  }
  bool assign(ServerId server, std::map<ServerId, Incarnation> reported, bool alone = false) {
    return run(assignment(server, std::move(reported), alone));
  }
  bool phase(ServerId server, GroupPhase phase, const std::string& failure = "") {
    return run(SetGroupPhase{"db", db().version, server, phase, failure, "because", {}});
  }
  bool set_in_sync(std::map<ServerId, Incarnation> in_sync) {
    return run(SetInSync{kMirror, mirror().version, mirror().permit, std::move(in_sync), ""});
  }
  /// Started on server 1, both copies in sync with incarnations 1 and 1.
  void up() {
    ASSERT_TRUE(assign(kOne, {{kOne, Incarnation{1}}}));
    ASSERT_TRUE(phase(kOne, GroupPhase::kStarted));
    ASSERT_TRUE(set_in_sync({{kOne, Incarnation{1}}, {kTwo, Incarnation{1}}}));
  }
};

TEST(Command, AConfigurationFoundsGroupsAndMirrors) {
  Cluster cluster;
  EXPECT_EQ(cluster.state.configuration_version, 1u);
  EXPECT_TRUE(cluster.db().wanted);
  EXPECT_FALSE(cluster.state.groups.at("web").wanted);
  EXPECT_EQ(cluster.db().phase, GroupPhase::kStopped);
  EXPECT_EQ(cluster.db().since_index, 2u);
  EXPECT_EQ(cluster.mirror().permit, Permit{});
  EXPECT_FALSE(cluster.run(ApplyConfiguration{0, text(kDb), "test"}));
  EXPECT_NE(cluster.refusal.find("changed meanwhile"), std::string::npos);
  EXPECT_FALSE(cluster.run(ApplyConfiguration{1, "nonsense", "test"}));
}

TEST(Command, ARunningGroupKeepsWhatItStandsOn) {
  Cluster cluster;
  cluster.up();
  const auto refused = [&](const std::string& groups, const std::string& because) {
    EXPECT_FALSE(cluster.run(ApplyConfiguration{1, text(groups), "test"}));
    EXPECT_NE(cluster.refusal.find(because), std::string::npos) << cluster.refusal;
  };
  refused(kWeb, "baton group stop db");
  std::string changed = kDb;
  refused(changed.replace(changed.find("512"), 3, "256"), "cannot shrink");
  changed = kDb;
  refused(changed.replace(changed.find("db.img"), 6, "other"), "store, metadata and port");
  refused(kDb + "metadata = \"/dev/sdb1\"\n", "store, metadata and port");
  refused(kDb + "start_timeout = \"5 s\"\n", "resources of group db cannot change");
  changed = kDb;
  refused(changed.replace(changed.find("mirror.data"), 11, "mirror.new1"), "resources of group db cannot change");
  std::string other = text(kDb);
  other.replace(other.find("server.server2"), 14, "server.serverX");
  other.replace(other.find(", \"server2\""), 11, ", \"serverX\"");
  EXPECT_FALSE(cluster.run(ApplyConfiguration{1, other, "test"}));
  EXPECT_NE(cluster.refusal.find("another name needs a server of another id"), std::string::npos) << cluster.refusal;
  const GroupState before = cluster.db();
  EXPECT_TRUE(cluster.run(ApplyConfiguration{1, text(kDb), "test"})) << cluster.refusal;
  EXPECT_EQ(cluster.db(), before);
  EXPECT_FALSE(cluster.state.groups.contains("web"));
  ASSERT_TRUE(cluster.phase(kOne, GroupPhase::kStopped));
  EXPECT_TRUE(cluster.run(ApplyConfiguration{2, text(kWeb), "test"})) << cluster.refusal;
  // Its copies' metadata is still there: the name is not given to another store.
  EXPECT_FALSE(cluster.run(ApplyConfiguration{3, text(kDb), "test"}));
  EXPECT_NE(cluster.refusal.find("choose another name"), std::string::npos) << cluster.refusal;
}

TEST(Command, AnAssignmentGivesOwnerAndPermitAtOnce) {
  Cluster cluster;
  cluster.db().target = kOne;
  EXPECT_TRUE(cluster.assign(kOne, {{kOne, Incarnation{4}}})) << cluster.refusal;
  EXPECT_EQ(cluster.db().owner, kOne);
  EXPECT_EQ(cluster.db().phase, GroupPhase::kStarting);
  EXPECT_EQ(cluster.db().target, ServerId{});
  EXPECT_EQ(cluster.db().reason, "why");
  EXPECT_EQ(cluster.mirror().permit, Permit{1});
  EXPECT_EQ(cluster.mirror().holder, kOne);
  EXPECT_EQ(cluster.mirror().in_sync, (std::map<ServerId, Incarnation>{{kOne, Incarnation{4}}}));
}

TEST(Command, AnAssignmentFromAnOldStateIsRefused) {
  Cluster cluster;
  auto old_group = cluster.assignment(kOne, {{kOne, Incarnation{1}}});
  --old_group.expected_version;
  EXPECT_FALSE(cluster.run(old_group));
  auto old_mirror = cluster.assignment(kOne, {{kOne, Incarnation{1}}});
  ++old_mirror.mirror_versions[kMirror];
  EXPECT_FALSE(cluster.run(old_mirror));
  old_mirror.mirror_versions.clear();
  EXPECT_FALSE(cluster.run(old_mirror));
  EXPECT_FALSE(cluster.assign(kWitness, {{kWitness, Incarnation{1}}}));
  EXPECT_FALSE(cluster.assign(kOne, {{kTwo, Incarnation{1}}}));
  EXPECT_TRUE(cluster.assign(kOne, {{kOne, Incarnation{1}}}));
  EXPECT_FALSE(cluster.assign(kOne, {{kOne, Incarnation{1}}}));
}

TEST(Command, OnlyACopyThatHoldsEverythingIsPromoted) {
  Cluster cluster;
  EXPECT_FALSE(cluster.assign(kTwo, {{kTwo, Incarnation{1}}})) << "S6: the first of the policy";
  cluster.up();
  EXPECT_FALSE(cluster.assign(kTwo, {{kTwo, Incarnation{2}}})) << "S4: restarted uncleanly";
  EXPECT_FALSE(cluster.assign(kTwo, {{kOne, Incarnation{1}}, {kTwo, Incarnation{2}}})) << "S4: the other did not";
  EXPECT_FALSE(cluster.assign(kTwo, {{kOne, Incarnation{2}}, {kTwo, Incarnation{2}}})) << "S5: last primary first";
  EXPECT_TRUE(cluster.assign(kTwo, {{kTwo, Incarnation{1}}}, true)) << cluster.refusal;
  EXPECT_EQ(cluster.mirror().in_sync, (std::map<ServerId, Incarnation>{{kTwo, Incarnation{1}}}));
  EXPECT_EQ(cluster.mirror().permit, Permit{2});
  EXPECT_FALSE(cluster.assign(kOne, {{kOne, Incarnation{1}}})) << "not in the set";
}

TEST(Command, WhenTheWholeSetCrashedTheLastHolderGoesFirst) {
  Cluster cluster;
  cluster.up();
  ASSERT_TRUE(cluster.phase(kOne, GroupPhase::kStopped));
  EXPECT_TRUE(cluster.assign(kOne, {{kOne, Incarnation{2}}, {kTwo, Incarnation{5}}})) << cluster.refusal;
  EXPECT_EQ(cluster.mirror().in_sync, (std::map<ServerId, Incarnation>{{kOne, Incarnation{2}}}));
}

/// S5. A disk that cannot be read now may hold what the other copy forgot: its copy has said nothing of a restart.
TEST(Command, ACopyThatCannotBeOpenedHasNotCrashed) {
  Cluster cluster;
  cluster.up();
  ASSERT_TRUE(cluster.phase(kOne, GroupPhase::kStopped));
  EXPECT_FALSE(cluster.assign(kOne, {{kOne, Incarnation{2}}, {kTwo, Incarnation{}}}));
  EXPECT_FALSE(cluster.assign(kTwo, {{kOne, Incarnation{2}}, {kTwo, Incarnation{}}}));
  EXPECT_TRUE(cluster.assign(kOne, {{kOne, Incarnation{1}}, {kTwo, Incarnation{}}})) << cluster.refusal;
}

TEST(Command, TheOwnerReportsItsTransitions) {
  Cluster cluster;
  ASSERT_TRUE(cluster.assign(kOne, {{kOne, Incarnation{1}}}));
  EXPECT_FALSE(cluster.phase(kTwo, GroupPhase::kStarted));
  EXPECT_FALSE(cluster.phase(kOne, GroupPhase::kStarting));
  EXPECT_TRUE(cluster.phase(kOne, GroupPhase::kStopped, "mount failed"));
  EXPECT_EQ(cluster.db().owner, ServerId{});
  EXPECT_EQ(cluster.db().refused.at(kOne), (Refusal{"mount failed", 1}));
  EXPECT_FALSE(cluster.phase(kOne, GroupPhase::kStarted));
  ASSERT_TRUE(cluster.assign(kOne, {{kOne, Incarnation{1}}}));
  EXPECT_TRUE(cluster.phase(kOne, GroupPhase::kStopped, "again"));
  EXPECT_EQ(cluster.db().refused.at(kOne).attempts, 2u);
  ASSERT_TRUE(cluster.assign(kOne, {{kOne, Incarnation{1}}}));
  EXPECT_TRUE(cluster.phase(kOne, GroupPhase::kStarted));
  EXPECT_TRUE(cluster.db().refused.empty());
  EXPECT_TRUE(cluster.phase(kOne, GroupPhase::kStopping));
  EXPECT_FALSE(cluster.phase(kOne, GroupPhase::kStarted));
  EXPECT_TRUE(cluster.phase(kOne, GroupPhase::kFailed, "broken"));
  EXPECT_EQ(cluster.db().owner, ServerId{});
}

/// What ended with the power or the majority of its server has not failed there: it is no attempt.
TEST(Command, AnInterruptionIsNoFailureOfTheServer) {
  Cluster cluster;
  ASSERT_TRUE(cluster.assign(kOne, {{kOne, Incarnation{1}}})) << cluster.refusal;
  SetGroupPhase stopped{"db", cluster.db().version, kOne, GroupPhase::kStopped, "its storage was not up any more", "because", {}};
  stopped.clock_ms = 7000;
  Cluster failed = cluster;
  ASSERT_TRUE(failed.run(stopped)) << failed.refusal;
  EXPECT_EQ(failed.db().refused.at(kOne), (Refusal{"its storage was not up any more", 1, 7000}));
  EXPECT_EQ(failed.state.clock_ms, 7000u) << "a pause that is counted from there outlives everybody's restart";
  stopped.interrupted = true;
  ASSERT_TRUE(cluster.run(stopped)) << cluster.refusal;
  EXPECT_TRUE(cluster.db().refused.empty());
  EXPECT_EQ(cluster.db().phase, GroupPhase::kStopped);
}

TEST(Command, AWishClearsWhatStoodInTheWay) {
  Cluster cluster;
  ASSERT_TRUE(cluster.assign(kOne, {{kOne, Incarnation{1}}}));
  ASSERT_TRUE(cluster.phase(kOne, GroupPhase::kFailed, "broken"));
  const uint64_t version = cluster.db().version;
  EXPECT_FALSE(cluster.run(WishGroup{"db", version, true, kWitness, "", ""}));
  EXPECT_FALSE(cluster.run(WishGroup{"db", version - 1, true, kTwo, "", ""}));
  EXPECT_FALSE(cluster.run(WishGroup{"nothing", 0, true, ServerId{}, "", ""}));
  EXPECT_TRUE(cluster.run(WishGroup{"db", version, true, kTwo, "by hand", "root"}));
  EXPECT_EQ(cluster.db().phase, GroupPhase::kStopped);
  EXPECT_TRUE(cluster.db().refused.empty());
  EXPECT_EQ(cluster.db().target, kTwo);
  EXPECT_EQ(cluster.db().version, version + 1);
}

TEST(Command, AMoveToWhereTheGroupIsLeavesNoTarget) {
  Cluster cluster;
  ASSERT_TRUE(cluster.assign(kOne, {{kOne, Incarnation{1}}}));
  EXPECT_TRUE(cluster.run(WishGroup{"db", cluster.db().version, true, kOne, "by hand", "root"}));
  EXPECT_EQ(cluster.db().target, ServerId{});
  // Already on its way elsewhere: then it comes back.
  ASSERT_TRUE(cluster.phase(kOne, GroupPhase::kStopping));
  EXPECT_TRUE(cluster.run(WishGroup{"db", cluster.db().version, true, kOne, "by hand", "root"}));
  EXPECT_EQ(cluster.db().target, kOne);
}

TEST(Command, OnlyTheHolderOfThePermitChangesTheInSyncSet) {
  Cluster cluster;
  EXPECT_FALSE(cluster.set_in_sync({{kOne, Incarnation{1}}})) << "never promoted";
  cluster.up();
  const MirrorState before = cluster.mirror();
  EXPECT_FALSE(cluster.run(SetInSync{kMirror, before.version - 1, before.permit, before.in_sync, ""}));
  EXPECT_FALSE(cluster.run(SetInSync{kMirror, before.version, Permit{0}, before.in_sync, ""}));
  EXPECT_FALSE(cluster.set_in_sync({})) << "never empty";
  EXPECT_FALSE(cluster.set_in_sync({{kTwo, Incarnation{2}}})) << "not the copy that was in sync";
  EXPECT_TRUE(cluster.set_in_sync(before.in_sync));
  EXPECT_EQ(cluster.mirror().version, before.version + 1);
}

TEST(Command, AfterTheWholeSetCrashedAnotherMemberGoesFirstOnlyIfTheLastHolderIsLost) {
  Cluster cluster;
  cluster.up();
  ASSERT_TRUE(cluster.phase(kOne, GroupPhase::kStopped));
  ASSERT_EQ(cluster.mirror().in_sync.size(), 2u);
  const std::map<ServerId, Incarnation> restarted{{kOne, Incarnation{101}}, {kTwo, Incarnation{102}}};
  const ServerId other = cluster.mirror().holder == kOne ? kTwo : kOne;
  EXPECT_FALSE(cluster.assign(other, restarted)) << "the last primary goes first";
  AssignGroup assignment = cluster.assignment(other, restarted);
  assignment.holder_lost.insert(kMirror);
  EXPECT_TRUE(cluster.run(assignment)) << cluster.refusal;
  EXPECT_EQ(cluster.mirror().in_sync, (std::map<ServerId, Incarnation>{{other, restarted.at(other)}}));
}

TEST(Command, Describes) {
  EXPECT_EQ(describe(AssignGroup{"db", 1, kTwo, {}, {}, true, "server1 lost", {}}),
            "group db: assign to server 2 alone: server1 lost");
  EXPECT_EQ(describe(SetGroupPhase{"db", 1, kTwo, GroupPhase::kStopped, "mount failed", "cannot start", {}}),
            "group db: stopped on server 2: cannot start (mount failed)");
  EXPECT_EQ(describe(WishGroup{"db", 1, true, kOne, "moved by hand", "root"}),
            "group db: wanted running on server 1 by root: moved by hand");
  EXPECT_EQ(describe(SetInSync{"db.data", 1, Permit{1}, {{kOne, {}}, {kTwo, {}}}, "copied"}),
            "mirror db.data: in sync on server 1, 2: copied");
}

}  // namespace
}  // namespace baton
