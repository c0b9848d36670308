// The database's rules on a small bus without faults of its own: tests drop, delay and restart what they want
// to. docs/protocol.md, "Cluster database".
#include "src/core/database/test_cluster.h"

namespace baton::database {
namespace {

TEST(Database, TheLowestIdOpensAnEpoch) {
  TestCluster cluster;
  cluster.view({kOne, kTwo, kThree});
  cluster.pass(100ms);
  for (uint32_t id : {1, 2, 3}) {
    EXPECT_TRUE(cluster.database(id).standing().serving);
    EXPECT_EQ(cluster.database(id).standing().leader, kOne);
    EXPECT_EQ(cluster.database(id).standing().committed, 1u);
    EXPECT_EQ(cluster.database(id).standing().waiting, "");
    EXPECT_EQ(cluster.database(id).next_tick(), kNever);
    EXPECT_EQ(cluster.voters[ServerId{id}].disk.promised, make_epoch(1, kOne));
  }
}

TEST(Database, WithoutAMajorityNothingIsServedAndItSaysWhatIsMissing) {
  TestCluster cluster;
  cluster.view({kTwo});
  cluster.pass(10s);
  EXPECT_FALSE(cluster.database(2).standing().serving);
  EXPECT_EQ(cluster.database(2).standing().waiting,
            "no majority: 1 of 3 voters are there, 2 are needed; missing: 1, 3");
  EXPECT_EQ(cluster.ticks, 0);
}

TEST(Database, AProposalFromAnybodyIsDecidedOnce) {
  TestCluster cluster;
  cluster.view({kOne, kTwo, kThree});
  cluster.pass(100ms);
  cluster.step(kThree, ProposeCommand{7, some_command("a"), 0});
  cluster.step(kOne, ProposeCommand{7, some_command("b"), 0});
  cluster.pass(6s);
  for (auto& [id, voter] : cluster.voters) {
    EXPECT_EQ(voter.applied.size(), 3u);
    EXPECT_EQ(voter.disk.entries.size(), 3u);
  }
  ASSERT_EQ(cluster.voters[kThree].decided.size(), 1u);
  EXPECT_TRUE(cluster.voters[kThree].decided[0].decided);
  EXPECT_EQ(cluster.voters[kThree].decided[0].outcome.refusal, "there is no group a");
  EXPECT_EQ(cluster.voters[kOne].decided.size(), 1u);
}

TEST(Database, LostMessagesAreMadeUpForAndNothingIsRecordedTwice) {
  TestCluster cluster;
  cluster.view({kOne, kTwo, kThree});
  cluster.pass(100ms);
  int count = 0;
  cluster.lose = [&](ServerId, ServerId, const Message&) { return ++count % 3 == 0; };
  for (uint64_t request = 1; request <= 20; ++request) {
    cluster.step(kTwo, ProposeCommand{request, some_command("a"), 0});
    cluster.pass(20ms);
  }
  cluster.lose = nullptr;
  cluster.pass(20s);
  EXPECT_EQ(cluster.voters[kTwo].decided.size(), 20u);
  for (auto& [id, voter] : cluster.voters) {
    std::set<uint64_t> requests;
    for (const auto& entry : voter.disk.entries) {
      if (entry.request == 0) continue;
      EXPECT_TRUE(requests.insert(entry.request).second);
    }
    EXPECT_EQ(requests.size(), 20u);
    EXPECT_EQ(voter.database->next_tick(), kNever);
  }
}

TEST(Database, AnUndecidedProposalIsAnsweredNotKnownInTime) {
  TestCluster cluster;
  cluster.view({kOne});
  cluster.step(kOne, ProposeCommand{1, some_command("a"), 0});
  cluster.pass(4900ms);
  EXPECT_TRUE(cluster.voters[kOne].decided.empty());
  cluster.pass(200ms);
  ASSERT_EQ(cluster.voters[kOne].decided.size(), 1u);
  EXPECT_FALSE(cluster.voters[kOne].decided[0].decided);
}

TEST(Database, TheNextCandidateTriesWhenTheLowestHangs) {
  TestCluster cluster;
  cluster.voters[kOne].hangs = true;
  cluster.view({kOne, kTwo, kThree});
  cluster.pass(2s);
  EXPECT_TRUE(cluster.database(3).standing().serving);
  EXPECT_EQ(cluster.database(3).standing().leader, kTwo);
}

TEST(Database, AHangingLeaderIsReplacedOnAProposalOrOnSilence) {
  for (const bool by_silence : {false, true}) {
    TestCluster cluster;
    cluster.view({kOne, kTwo, kThree});
    cluster.pass(100ms);
    cluster.voters[kOne].hangs = true;
    if (by_silence) {
      for (const ServerId id : {kTwo, kThree}) cluster.step(id, SilenceChanged{{kOne}});
    } else {
      cluster.step(kThree, ProposeCommand{1, some_command("a"), 0});
    }
    cluster.pass(3s);
    EXPECT_TRUE(cluster.database(2).standing().serving);
    EXPECT_EQ(cluster.database(2).standing().leader, kTwo);
    if (!by_silence) {
      ASSERT_EQ(cluster.voters[kThree].decided.size(), 1u);
      EXPECT_TRUE(cluster.voters[kThree].decided[0].decided);
    }
  }
}

TEST(Database, AFullDiskAcknowledgesNothingAndLosesNothing) {
  TestCluster cluster;
  cluster.view({kOne, kTwo, kThree});
  cluster.pass(100ms);
  cluster.voters[kTwo].disk_works = cluster.voters[kThree].disk_works = false;
  cluster.step(kOne, ProposeCommand{1, some_command("a"), 0});
  cluster.pass(2s);
  EXPECT_EQ(cluster.database(1).standing().committed, 1u);
  cluster.finish_persist(kTwo);
  EXPECT_NE(cluster.database(2).standing().waiting.find("full or fails"), std::string::npos);
  cluster.voters[kTwo].disk_works = true;
  cluster.pass(1s);
  EXPECT_EQ(cluster.database(1).standing().committed, 2u);
  EXPECT_EQ(cluster.database(2).standing().waiting, "");
}

TEST(Database, TheMoreAdvancedLogWinsAndOthersAreCutBack) {
  for (const size_t batch : {size_t{1}, size_t{64}}) {
    TestCluster cluster{3, batch};
    cluster.view({kOne, kTwo, kThree});
    cluster.pass(100ms);
    cluster.view({kOne});
    // Entries of voter 1 that nobody else has.
    for (int extra = 0; extra < 5; ++extra) {
      auto& entries = cluster.voters[kOne].disk.entries;
      entries.push_back({make_epoch(1, kOne), entries.size() + 1, some_command("lost"), kOne, 100u + extra, 0});
    }
    cluster.start(kOne);
    cluster.view({kTwo, kThree});
    cluster.pass(1s);
    for (uint64_t request = 1; request <= 3; ++request)
      cluster.step(kThree, ProposeCommand{request, some_command("kept"), 0});
    cluster.pass(1s);
    cluster.view({kOne, kTwo, kThree});
    cluster.pass(3s);
    EXPECT_EQ(cluster.database(1).standing().leader, kOne);
    EXPECT_TRUE(cluster.database(2).standing().serving);
    EXPECT_EQ(cluster.voters[kOne].disk.entries, cluster.voters[kTwo].disk.entries);
    EXPECT_EQ(cluster.voters[kOne].disk.entries, cluster.voters[kThree].disk.entries);
    EXPECT_EQ(cluster.voters[kOne].disk.entries.size(), 1u + 1 + 3 + 1);
  }
}

TEST(Database, ALostDatabaseCountsOnlyAfterCatchingUp) {
  TestCluster cluster;
  cluster.view({kOne, kTwo, kThree});
  cluster.pass(100ms);
  cluster.step(kTwo, ProposeCommand{1, some_command("a"), 0});
  cluster.pass(100ms);
  cluster.voters[kThree].disk = StoredVoter{};
  cluster.start(kThree);
  cluster.view({kOne, kThree});
  cluster.pass(3s);
  EXPECT_FALSE(cluster.database(1).standing().serving);
  EXPECT_FALSE(cluster.database(3).standing().counting);
  cluster.view({kOne, kTwo, kThree});
  cluster.pass(3s);
  EXPECT_TRUE(cluster.database(3).standing().counting);
  EXPECT_TRUE(cluster.voters[kThree].disk.counting);
  EXPECT_EQ(cluster.voters[kThree].disk.entries, cluster.voters[kOne].disk.entries);
  cluster.view({kOne, kThree});
  cluster.pass(3s);
  EXPECT_TRUE(cluster.database(1).standing().serving);
}

constexpr const char* kConfiguration = R"([cluster]
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
[group.web]
servers = ["server2", "server1"]
[group.web.service.httpd]
command = ["/usr/sbin/httpd"]
)";

TEST(Database, AnEntryThatTakesAGroupWaitsForTheOwnersLease) {
  TestCluster cluster;
  static std::map<ServerId, Duration> left;
  left = {{kOne, 0ms}, {kTwo, 0ms}, {kThree, 0ms}};
  for (auto& [id, voter] : cluster.voters)
    voter.database->set_lease_account([](void*, Instant, Database::Grants) { return left; }, nullptr);
  cluster.view({kOne, kTwo, kThree});
  cluster.step(kOne, ProposeCommand{1, ApplyConfiguration{0, kConfiguration, "test"}, 0});
  cluster.pass(100ms);
  left[kTwo] = 700ms;
  const uint64_t version = cluster.database(1).state().groups.at("web").version;
  cluster.step(kOne, ProposeCommand{2, AssignGroup{"web", version, kTwo, {}, {}, false, "first", {}}, 0});
  cluster.pass(100ms);
  EXPECT_EQ(cluster.database(3).state().groups.at("web").owner, kTwo) << "it was nobody's: no wait";
  EXPECT_TRUE(cluster.database(3).fences_above({}).empty());

  cluster.step(kOne, ProposeCommand{3, AssignGroup{"web", version + 1, kOne, {}, {}, true, "lost", {}}, 0});
  cluster.settle();
  const LogPosition taken = cluster.database(3).fences_above({}).at(kTwo);
  EXPECT_EQ(cluster.database(2).fences_above({}), (std::map<ServerId, LogPosition>{{kTwo, taken}}));
  EXPECT_LT(cluster.database(2).known_by(kTwo), taken);
  EXPECT_EQ(cluster.database(2).known_by(kOne), taken);
  EXPECT_TRUE(cluster.database(3).fences_above(taken).empty());
  cluster.pass(690ms);
  EXPECT_EQ(cluster.database(1).state().groups.at("web").owner, kTwo);
  left[kTwo] = 0ms;
  cluster.pass(20ms);
  EXPECT_EQ(cluster.database(1).state().groups.at("web").owner, kOne);
  EXPECT_TRUE(cluster.database(3).fences_above({}).empty());
  EXPECT_EQ(cluster.database(2).known_by(kTwo), taken);
}

/// The others' guards are being replaced just when they acknowledge such an entry.
TEST(Database, AMissingAccountOfLeasesIsAskedForAgain) {
  using Account = std::map<ServerId, Duration>;
  TestCluster cluster;
  static const Account kOver{{kOne, 0ms}, {kTwo, 0ms}, {kThree, 0ms}};
  std::map<ServerId, Account> accounts;
  for (auto& [id, voter] : cluster.voters) {
    accounts[id] = kOver;
    voter.database->set_lease_account(
        [](void* account, Instant, Database::Grants) { return *static_cast<Account*>(account); }, &accounts[id]);
  }
  cluster.view({kOne, kTwo, kThree});
  cluster.step(kOne, ProposeCommand{1, ApplyConfiguration{0, kConfiguration, "test"}, 0});
  cluster.pass(100ms);
  const uint64_t version = cluster.database(1).state().groups.at("web").version;
  cluster.step(kOne, ProposeCommand{2, AssignGroup{"web", version, kTwo, {}, {}, false, "first", {}}, 0});
  cluster.pass(100ms);
  for (auto& [id, account] : accounts) account.clear();
  cluster.step(kOne, ProposeCommand{3, AssignGroup{"web", version + 1, kOne, {}, {}, true, "lost", {}}, 0});
  cluster.pass(3s);
  EXPECT_EQ(cluster.database(1).state().groups.at("web").owner, kTwo) << "nobody knows of the lease";
  accounts[kThree] = kOver;
  cluster.pass(1s);
  EXPECT_EQ(cluster.database(1).state().groups.at("web").owner, kTwo) << "one of three knows";
  accounts[kOne] = kOver;
  cluster.pass(1s);
  EXPECT_EQ(cluster.database(1).state().groups.at("web").owner, kOne);
}

}  // namespace
}  // namespace baton::database
