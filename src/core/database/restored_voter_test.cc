// A voter that begins with a backup's log: it decides alone, above everything of before, and others join it. docs/protocol.md, R7.
#include "src/core/database/restored_voter.h"

#include "src/core/database/test_cluster.h"

namespace baton::database {
namespace {

constexpr int64_t kNow = 1800000000000;
constexpr const char* kText =
    "[cluster]\nname = \"demo\"\n[server.a]\nid = 1\ninterconnects = [\"10.0.0.1\"]\n"
    "[server.b]\nid = 2\ninterconnects = [\"10.0.0.2\"]\n[server.c]\nid = 3\nrole = \"witness\"\ninterconnects = [\"10.0.0.3\"]\n";

struct AllLost : TestCluster {
  std::vector<Entry> backup;

  AllLost() {
    view({kOne, kTwo, kThree});
    pass(1s);
    backup = voters[kTwo].disk.entries;
    backup.push_back(Entry{backup.back().epoch, backup.size() + 1, ApplyConfiguration{0, kText, "test", 2}, kOne, 77, 0});
  }
  Restoration restoration(std::set<ServerId> survivors = {kTwo}) {
    return {kTwo, std::move(survivors), restore_round(kNow, 3), kNow, kNow - 1000, "server1", "root", "present"};
  }
  void restore(std::set<ServerId> survivors = {kTwo}) {
    voters[kTwo].disk = restored_voter(backup, restoration(std::move(survivors)));
    for (const ServerId id : {kOne, kThree}) voters[id].disk = StoredVoter{};
    for (const ServerId id : {kOne, kTwo, kThree}) start(id);
  }
  void only(ServerId id) {
    bus.clear();
    members = {id};
    step(id, ViewChanged{members});
    pass(3s);
  }
  bool serves(ServerId id) { return database(id.value).standing().serving; }
};

TEST(RestoredVoter, HoldsTheBackupAndAnEpochAboveAllOthers) {
  AllLost lost;
  const StoredVoter voter = restored_voter(lost.backup, lost.restoration());
  EXPECT_TRUE(voter.counting);
  ASSERT_GT(voter.entries.size(), lost.backup.size());
  EXPECT_TRUE(std::equal(lost.backup.begin(), lost.backup.end(), voter.entries.begin()));
  EXPECT_EQ(voter.entries.back().epoch, voter.promised);
  const auto* restored = std::get_if<RestoreDatabase>(&voter.entries.back().command);
  ASSERT_NE(restored, nullptr);
  EXPECT_EQ(restored->servers, (std::set<ServerId>{kOne, kTwo, kThree}));
  EXPECT_EQ(restored->permits_above, round_of(voter.promised));
  EXPECT_EQ(restored->key, "present");
  EXPECT_GT(round_of(voter.promised), round_of(lost.backup.back().epoch) + (uint64_t{3} << 19)) << "a recovery";
}

TEST(RestoredVoter, ALaterRestoreIsAboveAnEarlierOneAndRecoveriesSince) {
  AllLost lost;
  const Epoch first = restored_voter(lost.backup, lost.restoration()).promised;
  Restoration again = lost.restoration();
  again.round = restore_round(kNow + 3600'000, 0);
  const Epoch second = restored_voter(lost.backup, again).promised;
  EXPECT_GT(round_of(second), round_of(first) + 20 * (uint64_t{3} << 19)) << "twenty recoveries in that hour";
  Restoration without_clock = lost.restoration();
  without_clock.round = restore_round(0, 5);
  EXPECT_GT(round_of(restored_voter(lost.backup, without_clock).promised), round_of(lost.backup.back().epoch));
}

TEST(RestoredVoter, ARestoreFromAnOlderBackupIsAboveOneFromANewer) {
  AllLost lost;
  const StoredVoter first = restored_voter(lost.backup, lost.restoration());
  Restoration second = lost.restoration();
  second.round = restore_round(kNow + 600'000, 0);
  Restoration third = lost.restoration();
  third.round = restore_round(kNow + 1200'000, 0);
  EXPECT_GT(restored_voter(lost.backup, third).promised, restored_voter(first.entries, second).promised);
}

TEST(RestoredVoter, DecidesAloneAndOthersWithoutADatabaseFollow) {
  AllLost lost;
  lost.restore();
  lost.only(kTwo);
  EXPECT_TRUE(lost.serves(kTwo)) << lost.database(2).standing().waiting;
  EXPECT_EQ(lost.database(2).voters(), (VoterSet{{kTwo}, {}})) << "settled";
  EXPECT_EQ(round_of(lost.database(2).lineage()), restore_round(kNow, 3));
  EXPECT_GT(lost.database(2).state().permits_above, 0U);
  lost.view({kOne, kTwo, kThree});
  lost.pass(3s);
  EXPECT_TRUE(lost.serves(kTwo) && lost.serves(kOne));
  EXPECT_EQ(lost.database(1).lineage(), lost.database(2).lineage());
}

TEST(RestoredVoter, NamesTheSurvivors) {
  AllLost lost;
  lost.restore({kTwo, kThree});
  EXPECT_EQ(lost.database(2).survivors(), (std::set<ServerId>{kTwo, kThree}));
  EXPECT_EQ(lost.database(2).voters().now, std::set<ServerId>{kTwo});
  lost.only(kTwo);
  EXPECT_TRUE(lost.serves(kTwo));
}

TEST(RestoredVoter, TakesEveryGroupFromEverybodyBeforeItIsCommitted) {
  AllLost lost;
  lost.restore();
  const auto fences = lost.database(2).fences_above(LogPosition{});
  for (const ServerId server : {kOne, kTwo, kThree}) {
    ASSERT_TRUE(fences.contains(server)) << server.value;
    EXPECT_EQ(fences.at(server).index, lost.voters[kTwo].disk.entries.size());
  }
  EXPECT_LT(lost.database(2).known_by(kTwo).index, lost.voters[kTwo].disk.entries.size());
}

}  // namespace
}  // namespace baton::database
