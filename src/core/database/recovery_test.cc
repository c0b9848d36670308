// A voter that a person lets decide alone, because the others are lost for good. docs/protocol.md, "Recovery".
#include "src/core/database/test_cluster.h"

namespace baton::database {
namespace {

constexpr uint64_t kLeftOut = (uint64_t{1} << 20) * 64;

struct Lost : TestCluster {
  Lost() {
    view({kOne, kTwo, kThree});
    pass(1s);
    EXPECT_TRUE(serves(kTwo));
  }
  bool serves(ServerId id) { return database(id.value).standing().serving; }
  void alone(ServerId id) {
    bus.clear();
    members = {id};
    step(id, ViewChanged{members});
    pass(2s);
  }
  void recover(ServerId id, const std::set<ServerId>& survivors) {
    step(id, Recover{survivors, 5, 1000});
    pass(3s);
  }
};

TEST(Recovery, TheSurvivorDecidesAloneAndItsEntriesStay) {
  Lost lost;
  lost.alone(kTwo);
  EXPECT_FALSE(lost.serves(kTwo));
  const auto before = lost.voters[kTwo].disk.entries;
  lost.recover(kTwo, {kTwo});
  EXPECT_TRUE(lost.serves(kTwo));
  EXPECT_EQ(lost.database(2).voters(), (VoterSet{{kTwo}, {}})) << "settled";
  EXPECT_GE(lost.database(2).lineage().value, before.back().epoch.value + kLeftOut);
  EXPECT_EQ(lost.database(2).survivors(), std::set<ServerId>{kTwo});
  EXPECT_EQ(lost.database(2).newest_wall_ms(), 1000);
  const auto& after = lost.voters[kTwo].disk.entries;
  ASSERT_GT(after.size(), before.size());
  EXPECT_TRUE(std::equal(before.begin(), before.end(), after.begin()));
}

TEST(Recovery, LivesOnAfterARestart) {
  Lost lost;
  lost.alone(kTwo);
  lost.recover(kTwo, {kTwo});
  const Epoch lineage = lost.database(2).lineage();
  lost.start(kTwo);
  EXPECT_EQ(lost.database(2).lineage(), lineage);
  lost.alone(kTwo);
  EXPECT_TRUE(lost.serves(kTwo));
}

TEST(Recovery, OtherSurvivorsAreNamedButDoNotVoteBeforeTheyHaveCaughtUp) {
  Lost lost;
  lost.alone(kTwo);
  lost.step(kTwo, Recover{{kTwo, kThree}, 5, 0});
  EXPECT_EQ(lost.database(2).voters().now, std::set<ServerId>{kTwo});
  EXPECT_EQ(lost.database(2).survivors(), (std::set<ServerId>{kTwo, kThree}));
}

TEST(Recovery, BeforeItIsOnDiskNothingHasHappened) {
  Lost lost;
  lost.alone(kTwo);
  lost.voters[kTwo].disk_works = false;
  lost.step(kTwo, Recover{{kTwo}, 5, 0});
  EXPECT_EQ(lost.database(2).lineage(), Epoch{});
  EXPECT_FALSE(lost.serves(kTwo));
  lost.voters[kTwo].disk_works = true;
  lost.start(kTwo);  // the power was cut
  EXPECT_EQ(lost.database(2).lineage(), Epoch{});
  lost.view({kOne, kTwo, kThree});
  lost.pass(1s);
  EXPECT_TRUE(lost.serves(kTwo)) << "nobody was given up";
}

TEST(Recovery, NotWhileAMajorityDecides) {
  Lost lost;
  lost.recover(kTwo, {kTwo});
  EXPECT_EQ(lost.database(2).lineage(), Epoch{});
  EXPECT_EQ(lost.database(2).voters().now.size(), 3u);
}

TEST(Recovery, NotWhereTheDatabaseWasLost) {
  Lost lost;
  lost.voters[kTwo].disk = StoredVoter{};
  lost.start(kTwo);
  lost.alone(kTwo);
  lost.recover(kTwo, {kTwo});
  EXPECT_EQ(lost.database(2).lineage(), Epoch{});
  EXPECT_FALSE(lost.serves(kTwo));
}

/// V3, if the gate has let them through: a majority of old that meets the survivor does not decide.
TEST(Recovery, TheLostOnesHaveNoVoteWhereTheyMeetTheSurvivor) {
  Lost lost;
  lost.alone(kTwo);
  lost.recover(kTwo, {kTwo});
  lost.view({kOne, kTwo, kThree});
  lost.pass(5s);
  EXPECT_EQ(lost.database(1).standing().leader, kTwo);
  EXPECT_EQ(lost.database(3).standing().leader, kTwo);
}

}  // namespace
}  // namespace baton::database
