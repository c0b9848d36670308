// Commands of operators on mirrors, detaching, and which settings may change when. docs/protocol.md.
#include <gtest/gtest.h>

#include "src/model/command.h"

namespace baton {
namespace {

constexpr ServerId kOne{1}, kTwo{2}, kWitness{3};
constexpr Incarnation kFirst{1}, kSecond{2};
const std::string kMirror = "db.data";

std::string text(const std::string& more = "") {
  return std::string(R"([cluster]
name = "pair"
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
[group.db]
servers = ["server1", "server2"]
[group.db.mirror.data]
store = "/var/lib/baton/store/db.img"
)") + (more.find("size") == std::string::npos ? "size = \"512 MiB\"\n" : "") + more;
}

struct Cluster {
  ClusterState state;
  uint64_t index = 1;
  std::string refusal;

  explicit Cluster(const std::string& more = "") { EXPECT_TRUE(run(ApplyConfiguration{0, text(more), "test"})) << refusal; }

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
  bool refused(const Command& command, const std::string& because) {
    if (run(command)) return false;
    EXPECT_NE(refusal.find(because), std::string::npos) << refusal;
    return refusal.find(because) != std::string::npos;
  }
  GroupState& db() { return state.groups.at("db"); }
  MirrorState& mirror() { return state.mirrors.at(kMirror); }
  AssignGroup assignment(ServerId server, std::map<ServerId, Incarnation> reported) {
    return {"db", db().version, server, {{kMirror, mirror().version}}, {{kMirror, reported}}, false, "why", {}};
  }
  SetGroupPhase phase(GroupPhase wanted) { return {"db", db().version, db().owner, wanted, "", "because", {}}; }
  SetInSync set(std::map<ServerId, Incarnation> in_sync) {
    return {kMirror, mirror().version, mirror().permit, std::move(in_sync), ""};
  }
  BreakMirror breaking(bool broken) { return {kMirror, mirror().version, broken, "root"}; }
  ForceMirror forcing(ServerId server, Incarnation incarnation) {
    return {kMirror, mirror().version, server, incarnation, "all of it", "root"};
  }
  RestrictMirror restricting(ServerId server, bool restricted) {
    return {kMirror, mirror().version, server, restricted, "root"};
  }
  /// Started on server 1, both copies in sync.
  void up() {
    ASSERT_TRUE(run(assignment(kOne, {{kOne, kFirst}})));
    ASSERT_TRUE(run(phase(GroupPhase::kStarted)));
    ASSERT_TRUE(run(set({{kOne, kFirst}, {kTwo, kFirst}})));
  }
  void down() { ASSERT_TRUE(run(phase(GroupPhase::kStopped))); }
};

TEST(MirrorCommand, AHolderWhoseDiskFailedLeavesTheSetToTheOther) {
  Cluster cluster;
  cluster.up();
  EXPECT_TRUE(cluster.refused(cluster.set({{kTwo, kSecond}}), "must contain its primary"));
  EXPECT_TRUE(cluster.refused(cluster.set({{kWitness, kFirst}}), "must contain its primary"));
  EXPECT_TRUE(cluster.refused(cluster.set({}), "cannot become empty"));
  ASSERT_TRUE(cluster.run(cluster.set({{kTwo, kFirst}}))) << cluster.refusal;
  EXPECT_TRUE(cluster.refused(cluster.set({{kOne, kFirst}, {kTwo, kFirst}}), "has left the in-sync set"));
  EXPECT_TRUE(cluster.refused(cluster.set({{kOne, kFirst}}), "has left the in-sync set"));
  EXPECT_TRUE(cluster.refused(cluster.breaking(true), "baton group move db"));
  cluster.down();
  const std::map<ServerId, Incarnation> both{{kOne, kFirst}, {kTwo, kFirst}};
  EXPECT_TRUE(cluster.refused(cluster.assignment(kOne, both), "not in sync"));
  EXPECT_TRUE(cluster.run(cluster.assignment(kTwo, both))) << cluster.refusal;
}

TEST(MirrorCommand, TheOnlyCopyLeftMayStartAfterACrash) {
  Cluster cluster;
  cluster.up();
  ASSERT_TRUE(cluster.run(cluster.set({{kTwo, kFirst}})));
  cluster.down();
  EXPECT_TRUE(cluster.run(cluster.assignment(kTwo, {{kTwo, kSecond}}))) << cluster.refusal;
}

TEST(MirrorCommand, ASingleHolderCannotLeaveTheSet) {
  Cluster cluster;
  cluster.up();
  ASSERT_TRUE(cluster.run(cluster.set({{kOne, kFirst}})));
  EXPECT_TRUE(cluster.refused(cluster.set({{kTwo, kFirst}}), "must contain its primary"));
}

TEST(MirrorCommand, ABrokenMirrorTakesNoCopyUntilItIsRejoined) {
  Cluster cluster;
  EXPECT_TRUE(cluster.refused(cluster.breaking(true), "never used"));
  cluster.up();
  EXPECT_TRUE(cluster.refused(cluster.breaking(false), "is not broken"));
  ASSERT_TRUE(cluster.run(cluster.breaking(true)));
  EXPECT_TRUE(cluster.mirror().broken);
  EXPECT_TRUE(cluster.refused(cluster.breaking(true), "broken already"));
  ASSERT_TRUE(cluster.run(cluster.set({{kOne, kFirst}})));
  EXPECT_TRUE(cluster.refused(cluster.set({{kOne, kFirst}, {kTwo, kFirst}}), "baton mirror rejoin"));
  ASSERT_TRUE(cluster.run(cluster.breaking(false)));
  EXPECT_TRUE(cluster.run(cluster.set({{kOne, kFirst}, {kTwo, kFirst}}))) << cluster.refusal;
}

TEST(MirrorCommand, ACopyIsForcedOnlyWhileNobodyUsesTheMirror) {
  Cluster cluster;
  cluster.up();
  ASSERT_TRUE(cluster.run(cluster.set({{kOne, kFirst}})));
  ASSERT_TRUE(cluster.run(cluster.breaking(true)));
  EXPECT_TRUE(cluster.refused(cluster.forcing(kTwo, kSecond), "baton group stop db"));
  cluster.down();
  EXPECT_TRUE(cluster.refused(cluster.forcing(kWitness, kFirst), "has no copy"));
  EXPECT_TRUE(cluster.refused(cluster.forcing(kTwo, Incarnation{}), "no usable copy"));
  ASSERT_TRUE(cluster.run(cluster.forcing(kTwo, kSecond))) << cluster.refusal;
  EXPECT_EQ(cluster.mirror().in_sync, (std::map<ServerId, Incarnation>{{kTwo, kSecond}}));
  EXPECT_EQ(cluster.mirror().forced, kTwo);
  EXPECT_FALSE(cluster.mirror().broken);
  const std::map<ServerId, Incarnation> both{{kOne, kFirst}, {kTwo, kSecond}};
  EXPECT_TRUE(cluster.refused(cluster.assignment(kOne, both), "not in sync"));
  ASSERT_TRUE(cluster.run(cluster.assignment(kTwo, both))) << cluster.refusal;
  EXPECT_EQ(cluster.mirror().forced, kTwo) << "the core asks for it at promotion";
  ASSERT_TRUE(cluster.run(cluster.set({{kTwo, kSecond}})));
  EXPECT_EQ(cluster.mirror().forced, ServerId{});
}

TEST(MirrorCommand, AForcedCopyIsAnOrdinaryOneOnceTheGroupWasUpWithIt) {
  Cluster cluster;
  cluster.up();
  cluster.down();
  ASSERT_TRUE(cluster.run(cluster.forcing(kTwo, kSecond))) << cluster.refusal;
  const std::map<ServerId, Incarnation> both{{kOne, kFirst}, {kTwo, kSecond}};
  ASSERT_TRUE(cluster.run(cluster.assignment(kTwo, both))) << cluster.refusal;
  const uint64_t version = cluster.mirror().version;
  ASSERT_TRUE(cluster.run(cluster.phase(GroupPhase::kStarted)));
  EXPECT_EQ(cluster.mirror().forced, ServerId{}) << "people would think that it was never started";
  EXPECT_GT(cluster.mirror().version, version);
  cluster.down();
  ASSERT_TRUE(cluster.run(cluster.forcing(kTwo, kSecond)));
  ASSERT_TRUE(cluster.run(cluster.assignment(kTwo, both)));
  ASSERT_TRUE(cluster.run(cluster.phase(GroupPhase::kStopped)));
  EXPECT_EQ(cluster.mirror().forced, kTwo) << "it was never up";
}

// ---- A5 ----

const std::string kDistant = "protocol = \"A\"\nmax_lag = \"5 s\"\n";
const std::map<ServerId, Incarnation> kAloneThere{{kTwo, kSecond}};

/// Server 1 is primary under protocol A, and has named server 2's copy.
void trail(Cluster& cluster) {
  cluster.up();
  SetInSync change = cluster.set({{kOne, kFirst}});
  change.trailing = {{kTwo, kSecond}};
  ASSERT_TRUE(cluster.run(change)) << cluster.refusal;
}

AssignGroup takeover(Cluster& cluster, std::map<ServerId, Incarnation> reported) {
  AssignGroup assignment = cluster.assignment(kTwo, std::move(reported));
  assignment.alone = true;
  assignment.loss = "the last 5 s";
  return assignment;
}

TEST(MirrorCommand, ACopyThatTrailsTakesOverOnlyWhenAllIsAsItMustBe) {
  Cluster cluster(kDistant);
  trail(cluster);
  AssignGroup unsaid = takeover(cluster, kAloneThere);
  unsaid.loss.clear();
  EXPECT_TRUE(cluster.refused(unsaid, "not in sync")) << "nobody has said what may be lost";
  EXPECT_TRUE(cluster.refused(takeover(cluster, {{kOne, kSecond}, {kTwo, kSecond}}), "not in sync")) << "I3";
  EXPECT_TRUE(cluster.refused(takeover(cluster, {{kTwo, kFirst}}), "not in sync")) << "S4";
  ASSERT_TRUE(cluster.run(takeover(cluster, kAloneThere))) << cluster.refusal;
  EXPECT_EQ(cluster.mirror().in_sync, kAloneThere);
  EXPECT_TRUE(cluster.mirror().trailing.empty());
  EXPECT_EQ(cluster.mirror().forced, ServerId{});
}

TEST(MirrorCommand, AnOrderlyStopEndsTheName) {
  Cluster cluster(kDistant);
  trail(cluster);
  const uint64_t version = cluster.mirror().version;
  SetGroupPhase failed = cluster.phase(GroupPhase::kStopped);
  failed.failure = "its storage was not up any more";
  Cluster crashed = cluster;
  ASSERT_TRUE(crashed.run(failed)) << crashed.refusal;
  EXPECT_FALSE(crashed.mirror().trailing.empty());
  ASSERT_TRUE(cluster.run(cluster.phase(GroupPhase::kStopped))) << cluster.refusal;
  EXPECT_TRUE(cluster.mirror().trailing.empty());
  EXPECT_GT(cluster.mirror().version, version) << "what the primary had proposed before is refused";
  EXPECT_TRUE(cluster.refused(takeover(cluster, kAloneThere), "not in sync"));
}

TEST(MirrorCommand, MaxLagBecomesSmallerOnlyWhileTheGroupIsStopped) {
  Cluster cluster(kDistant);
  trail(cluster);
  const std::string greater = "protocol = \"A\"\nmax_lag = \"9 s\"\n";
  ASSERT_TRUE(cluster.run(ApplyConfiguration{1, text(greater), "test"})) << cluster.refusal;
  EXPECT_TRUE(cluster.refused(ApplyConfiguration{2, text(kDistant), "test"}, "smaller only while its group is stopped"));
  EXPECT_TRUE(cluster.run(ApplyConfiguration{2, text("protocol = \"A\"\n"), "test"})) << "nobody takes over then";
}

TEST(MirrorCommand, ACopyTrailsOnlyWhereTheConfigurationAllowsIt) {
  for (const std::string& more : {std::string(), std::string("protocol = \"A\"\n"), std::string("protocol = \"B\"\n")}) {
    Cluster cluster(more);
    trail(cluster);
    EXPECT_TRUE(cluster.refused(takeover(cluster, kAloneThere), "not in sync")) << more;
  }
}

TEST(MirrorCommand, ACopyTrailsBehindThePrimaryAloneAndNeverOfABrokenMirror) {
  Cluster cluster(kDistant);
  cluster.up();
  SetInSync change = cluster.set({{kOne, kFirst}, {kTwo, kSecond}});
  change.trailing = {{kTwo, kSecond}};
  EXPECT_TRUE(cluster.refused(change, "only behind its primary"));
  change = cluster.set({{kOne, kFirst}});
  change.trailing = {{kOne, kFirst}};
  EXPECT_TRUE(cluster.refused(change, "only behind its primary"));
  change.trailing = {{kTwo, kSecond}};
  ASSERT_TRUE(cluster.run(change));
  ASSERT_TRUE(cluster.run(cluster.breaking(true)));
  EXPECT_TRUE(cluster.mirror().trailing.empty());
  change.expected_version = cluster.mirror().version;
  EXPECT_TRUE(cluster.refused(change, "is broken"));
  EXPECT_TRUE(cluster.run(cluster.set({{kOne, kFirst}}))) << "each says it anew";
}

TEST(MirrorCommand, ANewPrimaryNamesTheOtherCopyAnew) {
  Cluster cluster(kDistant);
  trail(cluster);
  cluster.down();
  ASSERT_TRUE(cluster.run(cluster.assignment(kOne, {{kOne, kFirst}, {kTwo, kSecond}}))) << cluster.refusal;
  EXPECT_TRUE(cluster.mirror().trailing.empty());
}

TEST(MirrorCommand, AnOldPrimaryCannotUndoAForcedCopy) {
  Cluster cluster;
  cluster.up();
  const SetInSync late = cluster.set({{kOne, kFirst}});
  cluster.down();
  ASSERT_TRUE(cluster.run(cluster.forcing(kTwo, kFirst)));
  EXPECT_TRUE(cluster.refused(late, "has changed meanwhile"));
  EXPECT_TRUE(cluster.refused(cluster.set({{kOne, kFirst}}), "has left the in-sync set"));
}

TEST(MirrorCommand, ARestrictedServerIsNotAssigned) {
  Cluster cluster;
  EXPECT_TRUE(cluster.refused(cluster.restricting(kWitness, true), "has no copy"));
  EXPECT_TRUE(cluster.refused(cluster.restricting(kTwo, false), "nothing to lift"));
  cluster.up();
  EXPECT_TRUE(cluster.refused(cluster.restricting(kOne, true), "move it first"));
  ASSERT_TRUE(cluster.run(cluster.restricting(kTwo, true)));
  EXPECT_TRUE(cluster.refused(cluster.restricting(kTwo, true), "already"));
  cluster.down();
  EXPECT_TRUE(cluster.refused(cluster.restricting(kOne, true), "from all its servers"));
  const std::map<ServerId, Incarnation> both{{kOne, kFirst}, {kTwo, kFirst}};
  EXPECT_TRUE(cluster.refused(cluster.assignment(kTwo, both), "keeps mirror db.data away from server 2"));
  EXPECT_TRUE(cluster.refused(cluster.forcing(kTwo, kFirst), "lift that first"));
  ASSERT_TRUE(cluster.run(cluster.restricting(kTwo, false)));
  EXPECT_TRUE(cluster.run(cluster.assignment(kTwo, both))) << cluster.refusal;
}

TEST(MirrorCommand, OldVersionsAndUnknownMirrorsAreRefused) {
  Cluster cluster;
  cluster.up();
  BreakMirror old = cluster.breaking(true);
  --old.expected_version;
  EXPECT_TRUE(cluster.refused(old, "changed meanwhile"));
  old.mirror = "db.none";
  EXPECT_TRUE(cluster.refused(old, "no mirror db.none"));
}

TEST(MirrorCommand, TheAdoptedStoreIsUsedFirst) {
  Cluster cluster("adopt = \"server2\"\n");
  const std::map<ServerId, Incarnation> both{{kOne, kFirst}, {kTwo, kFirst}};
  EXPECT_TRUE(cluster.refused(cluster.assignment(kOne, both), "starts on server 2"));
  EXPECT_TRUE(cluster.run(cluster.assignment(kTwo, both))) << cluster.refusal;
}

TEST(MirrorCommand, SettingsOfAMirrorInUseMayChange) {
  Cluster cluster;
  cluster.up();
  uint64_t version = 1;
  for (const std::string more : {"size = \"1 GiB\"\n", "size = \"1 GiB\"\nrate = \"50MB/s\"\n",
                                 "size = \"1 GiB\"\nprotocol = \"A\"\ncompress = true\n",
                                 "size = \"1 GiB\"\ndisk_timeout = \"5 s\"\npeer_timeout = \"2 s\"\nexport = \"nbd\"\n"})
    EXPECT_TRUE(cluster.run(ApplyConfiguration{version++, text(more), "test"})) << cluster.refusal;
  EXPECT_TRUE(cluster.refused(ApplyConfiguration{version, text(), "test"}, "cannot shrink from 1 GiB to 512 MiB"));
  const std::string plain = "size = \"1 GiB\"\nencrypt = false\n";
  EXPECT_TRUE(cluster.refused(ApplyConfiguration{version, text(plain), "test"}, "baton group stop db"));
  cluster.down();
  EXPECT_TRUE(cluster.refused(ApplyConfiguration{version, text(plain), "test"}, "baton group stop db"));
  ASSERT_TRUE(cluster.run(WishGroup{"db", cluster.db().version, false, ServerId{}, "", "root"}));
  EXPECT_TRUE(cluster.run(ApplyConfiguration{version, text(plain), "test"})) << cluster.refusal;
}

TEST(MirrorCommand, Describes) {
  EXPECT_EQ(describe(BreakMirror{kMirror, 1, true, "root"}), "mirror db.data: broken off (its primary goes on alone) by root");
  EXPECT_EQ(describe(ForceMirror{kMirror, 1, kTwo, kFirst, "4 MiB", "root"}),
            "mirror db.data: the copy of server 2 forced to be its data by root: 4 MiB");
  EXPECT_EQ(describe(RestrictMirror{kMirror, 1, kTwo, false, "root"}),
            "mirror db.data: server 2 no longer restricted by root");
}

}  // namespace
}  // namespace baton
