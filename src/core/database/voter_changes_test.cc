// Voters that come and go: joint majorities, what an uncommitted change does and leaves behind, who may lead.
// docs/protocol.md, "Voters".
#include "src/core/database/test_cluster.h"

namespace baton::database {
namespace {

SetVoters change(std::set<ServerId> before, std::set<ServerId> now) { return SetVoters{VoterSet{now, before}}; }
const SetVoters kFourJoins = change({kOne, kTwo, kThree}, {kOne, kTwo, kThree, kFour});
const SetVoters kThreeLeaves = change({kOne, kTwo, kThree}, {kOne, kTwo});

struct Cluster : TestCluster {
  explicit Cluster(Duration settle = 0ms) {
    settle_after = settle;
    for (const ServerId id : {kOne, kTwo, kThree}) start(id);
    view({kOne, kTwo, kThree});
    pass(100ms);
  }
  void four_comes() {
    join(kFour);
    view({kOne, kTwo, kThree, kFour});
    pass(2s);
  }
  std::string propose(const SetVoters& wanted) {
    const std::string why = database(1).why_not_change(wanted.voters);
    step(kOne, ProposeCommand{++request_, wanted, 0});
    return why;
  }
  const VoterSet& voters_of(uint32_t id) { return database(id).voters(); }

 private:
  uint64_t request_ = 1000;
};

TEST(VoterChanges, ANewcomerCatchesUpThenVotes) {
  Cluster cluster;
  cluster.join(kFour);
  EXPECT_FALSE(cluster.voters_of(4).majority({kOne, kTwo, kThree, kFour})) << "it knows of no voters";
  cluster.view({kOne, kTwo, kThree, kFour});
  EXPECT_EQ(cluster.database(4).standing().waiting, "new here: catching up with the voters");
  EXPECT_NE(cluster.propose(kFourJoins), "") << "it has not caught up";
  cluster.pass(2s);
  EXPECT_TRUE(cluster.database(4).standing().counting);
  EXPECT_EQ(cluster.voters_of(1).now.size(), 3u);
  EXPECT_EQ(cluster.propose(kFourJoins), "");
  cluster.pass(100ms);
  for (uint32_t id : {1, 2, 3, 4}) {
    EXPECT_EQ(cluster.voters_of(id), (VoterSet{{kOne, kTwo, kThree, kFour}, {}}));
    EXPECT_EQ(cluster.database(id).state().voters, cluster.voters_of(id));
  }
  cluster.view({kOne, kFour});
  cluster.pass(3s);
  EXPECT_FALSE(cluster.database(1).standing().serving) << "two of four";
  cluster.view({kOne, kThree, kFour});
  cluster.pass(3s);
  EXPECT_TRUE(cluster.database(4).standing().serving);
}

/// The third to the sixteenth join one by one; then seven of them are lost for good, and taken out one by one by the rest.
TEST(VoterChanges, UpToSixteenAndBack) {
  constexpr uint32_t kMost = 16, kLost = 7;
  Cluster cluster;
  std::set<ServerId> present{kOne, kTwo, kThree};
  for (uint32_t id = 4; id <= kMost; ++id) {
    const std::set<ServerId> before = present;
    present.insert(ServerId{id});
    cluster.join(ServerId{id});
    cluster.view(present);
    cluster.pass(2s);
    ASSERT_EQ(cluster.propose(change(before, present)), "") << id;
    cluster.pass(100ms);
    ASSERT_EQ(cluster.voters_of(id), (VoterSet{present, {}})) << id;
  }
  std::set<ServerId> left = present;
  for (uint32_t id = kMost - kLost + 1; id <= kMost; ++id) left.erase(ServerId{id});
  cluster.view({left.begin(), std::next(left.begin(), 8)});
  cluster.pass(5s);
  EXPECT_FALSE(cluster.database(1).standing().serving) << "eight of sixteen";
  cluster.view(left);
  cluster.pass(5s);
  ASSERT_TRUE(cluster.database(1).standing().serving) << "nine of sixteen";
  for (uint32_t id = kMost; id > kMost - kLost; --id) {
    const std::set<ServerId> before = present;
    present.erase(ServerId{id});
    ASSERT_EQ(cluster.propose(change(before, present)), "") << id;
    cluster.pass(100ms);
    ASSERT_EQ(cluster.voters_of(2), (VoterSet{present, {}})) << id;
  }
  for (const ServerId id : left) EXPECT_EQ(cluster.voters[id].database->state(), cluster.database(1).state()) << id.value;
}

TEST(VoterChanges, UntilItIsSettledBothMajoritiesAreNeeded) {
  Cluster cluster{10s};
  cluster.four_comes();
  ASSERT_EQ(cluster.propose(kFourJoins), "");
  cluster.voters[kThree].hangs = cluster.voters[kFour].hangs = true;
  cluster.pass(1s);
  EXPECT_TRUE(cluster.voters_of(2).joint());
  EXPECT_FALSE(cluster.database(1).state().voters.joint()) << "two of three old ones, but two of four new ones";
  cluster.voters[kFour].hangs = false;
  cluster.pass(6s);
  EXPECT_TRUE(cluster.database(1).state().voters.joint()) << "committed by 1, 2 and 4";
}

TEST(VoterChanges, ItIsSettledOnlyWhenOlderLeasesHaveEnded) {
  Cluster cluster{2s};
  ASSERT_EQ(cluster.propose(kThreeLeaves), "");
  cluster.pass(1900ms);
  EXPECT_TRUE(cluster.database(1).state().voters.joint());
  EXPECT_NE(cluster.propose(change({kOne, kTwo}, {kOne})), "") << "one at a time";
  // A new leader counts anew.
  cluster.view({kTwo, kThree});
  cluster.step(kOne, ViewChanged{{kOne}});
  cluster.pass(3s);
  EXPECT_FALSE(cluster.database(2).standing().serving) << "one of the two that stay";
  cluster.view({kOne, kTwo, kThree});
  cluster.pass(1900ms);
  EXPECT_TRUE(cluster.database(1).state().voters.joint());
  cluster.pass(500ms);
  EXPECT_EQ(cluster.database(1).state().voters, (VoterSet{{kOne, kTwo}, {}}));
  cluster.view({kOne, kTwo});
  cluster.pass(1s);
  EXPECT_TRUE(cluster.database(2).standing().serving);
}

TEST(VoterChanges, AChangeThatIsCutOffWasNeverInEffect) {
  Cluster cluster{10s};
  cluster.four_comes();
  cluster.lose = [](ServerId from, ServerId, const Message&) { return from == kOne; };
  ASSERT_EQ(cluster.propose(kFourJoins), "");
  cluster.pass(100ms);
  EXPECT_TRUE(cluster.voters_of(1).joint());
  cluster.lose = nullptr;
  cluster.view({kTwo, kThree});
  cluster.pass(2s);
  ASSERT_TRUE(cluster.database(2).standing().serving) << "a majority of those who voted before";
  EXPECT_TRUE(cluster.voters_of(1).joint());
  cluster.view({kOne, kTwo, kThree});
  cluster.pass(2s);
  EXPECT_FALSE(cluster.voters_of(1).joint());
  EXPECT_EQ(cluster.voters_of(1), cluster.voters_of(2));
  EXPECT_EQ(cluster.database(1).voters_index(), 0u);
}

TEST(VoterChanges, WhoWasRemovedAndDoesNotKnowOpensNoEpoch) {
  TestCluster cluster{5};
  cluster.view({kOne, kTwo, kThree, kFour, kFive});
  cluster.pass(100ms);
  // 1 and then 2 are removed while they are away.
  cluster.view({kTwo, kThree, kFour, kFive});
  cluster.pass(2s);
  cluster.step(kTwo, ProposeCommand{1, change({kOne, kTwo, kThree, kFour, kFive}, {kTwo, kThree, kFour, kFive}), 0});
  cluster.pass(1s);
  cluster.view({kThree, kFour, kFive});
  cluster.pass(2s);
  cluster.step(kThree, ProposeCommand{1, change({kTwo, kThree, kFour, kFive}, {kThree, kFour, kFive}), 0});
  cluster.pass(1s);
  ASSERT_EQ(cluster.database(3).voters(), (VoterSet{{kThree, kFour, kFive}, {}}));
  EXPECT_EQ(cluster.database(1).voters().now.size(), 5u);
  // By its own log 1 has a majority: 1, 2 and 3.
  cluster.view({kOne, kTwo, kThree});
  cluster.pass(20s);
  for (uint32_t id : {1, 2, 3}) EXPECT_FALSE(cluster.database(id).standing().serving) << id;
  cluster.view({kOne, kTwo, kThree, kFour});
  cluster.pass(20s);
  EXPECT_TRUE(cluster.database(3).standing().serving);
  EXPECT_EQ(cluster.database(3).standing().leader, kThree);
  EXPECT_EQ(cluster.database(1).voters(), (VoterSet{{kThree, kFour, kFive}, {}})) << "it has learnt it";
}

TEST(VoterChanges, OneThatWouldLeaveTooFewDoesNotBegin) {
  Cluster cluster;
  cluster.view({kOne, kThree});
  cluster.pass(1s);
  EXPECT_EQ(cluster.propose(kThreeLeaves), "without it, or with it, too few of the voters would be here");
  cluster.pass(1s);
  EXPECT_EQ(cluster.database(1).voters_index(), 0u);
  EXPECT_EQ(cluster.voters[kOne].decided.size(), 1u);
  EXPECT_FALSE(cluster.voters[kOne].decided[0].decided);
  EXPECT_EQ(cluster.propose(change({kOne, kTwo, kThree}, {kOne})), "voters change one at a time");
  EXPECT_EQ(cluster.propose(change({kOne, kTwo}, {kOne})), "the voters have changed meanwhile");
  EXPECT_EQ(cluster.propose(change({kOne, kTwo, kThree}, {kOne, kThree})), "") << "the dead one may leave";
  cluster.pass(1s);
  EXPECT_EQ(cluster.database(3).state().voters, (VoterSet{{kOne, kThree}, {}}));
}

TEST(VoterChanges, OnlyTheLeaderChangesThem) {
  Cluster cluster;
  cluster.step(kTwo, ProposeCommand{1, kThreeLeaves, 0});
  cluster.pass(6s);
  ASSERT_EQ(cluster.voters[kTwo].decided.size(), 1u);
  EXPECT_FALSE(cluster.voters[kTwo].decided[0].decided);
  EXPECT_EQ(cluster.database(1).voters_index(), 0u);
}

}  // namespace
}  // namespace baton::database
