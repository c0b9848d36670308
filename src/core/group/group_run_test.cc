// The order of a group's steps, restarts, escalation and deadlines.
#include "src/core/group/run_test.h"

namespace baton::group {
namespace {

GroupConfiguration database_group() {
  GroupConfiguration group;
  group.name = "db";
  group.resources = {resource("data", ResourceKind::kMirror, {}), resource("files", ResourceKind::kFilesystem, {"data"}),
                     resource("ip", ResourceKind::kAddress, {}),
                     resource("postgres", ResourceKind::kService, {"data", "files", "ip"})};
  return group;
}

class GroupRunTest : public RunTest {
 protected:
  GroupRunTest() : RunTest(database_group()) {}

  void bring_up() {
    run_.assume_down();
    run_.run(now_);
    asked();
    done("start data");
    done("start ip");
    asked();
    done("start files");
    asked();
    done("start postgres");
    ASSERT_TRUE(run_.all_up());
  }
};

TEST_F(GroupRunTest, StartsWhatIsIndependentAtOnceAndTheRestInOrder) {
  run_.assume_down();
  run_.run(now_);
  EXPECT_EQ(asked(), (Lines{"start data", "start ip"}));
  done("start ip");
  EXPECT_EQ(asked(), Lines{});
  done("start data");
  EXPECT_EQ(asked(), (Lines{"start files"}));
  done("start files");
  EXPECT_EQ(asked(), (Lines{"start postgres"}));
  done("start postgres");
  EXPECT_TRUE(run_.all_up());
  EXPECT_EQ(run_.steps_since_goal().size(), 4u);
}

TEST_F(GroupRunTest, StopsInTheOppositeOrder) {
  bring_up();
  run_.stop(now_);
  EXPECT_EQ(asked(), (Lines{"stop postgres"}));
  done("stop postgres");
  EXPECT_EQ(asked(), (Lines{"stop ip", "stop files"}));
  done("stop files");
  EXPECT_EQ(asked(), (Lines{"stop data"}));
  done("stop ip");
  done("stop data");
  EXPECT_TRUE(run_.all_down());
  EXPECT_TRUE(run_.failure().empty());
}

TEST_F(GroupRunTest, AServiceThatEndsIsRestartedOnceThenTheGroupIsGivenUp) {
  bring_up();
  run_.resource_failed(now_, "postgres", "exit status 1");
  EXPECT_EQ(asked(), (Lines{"kill postgres"}));
  done("kill postgres");
  EXPECT_EQ(asked(), (Lines{"start postgres"}));
  done("start postgres");
  run_.resource_failed(now_, "postgres", "exit status 2");
  EXPECT_NE(run_.failure().find("exit status 2"), std::string::npos);
  EXPECT_EQ(asked(), (Lines{"kill postgres"}));
  done("kill postgres");
  EXPECT_EQ(asked(), (Lines{"stop ip", "stop files"}));
}

TEST_F(GroupRunTest, ALostMirrorKillsAtOnceAndDoesNotWaitForFrozenProcesses) {
  bring_up();
  run_.resource_failed(now_, "data", "mirror daemon ended");
  const auto lines = asked();
  EXPECT_EQ(lines, (Lines{"kill postgres", "kill ip", "kill data"}));
  done("kill data");
  EXPECT_EQ(asked(), Lines{});
  done("kill postgres");
  EXPECT_EQ(asked(), (Lines{"kill files"}));
}

TEST_F(GroupRunTest, AStepThatNeverEndsIsGivenUpAtItsDeadline) {
  run_.assume_down();
  run_.run(now_);
  asked();
  now_ = run_.next_tick();
  run_.tick(now_);
  EXPECT_NE(run_.failure().find("was not done within 60000 ms"), std::string::npos);
  EXPECT_EQ(asked(), (Lines{"kill ip", "kill data"}));
  done("start data");  // too late: nobody listens any more
  EXPECT_FALSE(run_.all_up());
}

TEST_F(GroupRunTest, AKillThatFailsIsTriedAgainAndNeverCountsAsDown) {
  bring_up();
  run_.kill(now_, "group was given to server2");
  asked();
  done("kill postgres", false, "still there");
  EXPECT_FALSE(run_.all_down());
  now_ = run_.next_tick();
  run_.tick(now_);
  EXPECT_EQ(asked(), (Lines{"kill postgres"}));
}

TEST_F(GroupRunTest, WhatIsEndedFromOutsideIsInterruptedAndWhatFailsIsNot) {
  bring_up();
  run_.resource_failed(now_, "data", "the disk failed");
  EXPECT_EQ(run_.goal(), Goal::kKill);
  EXPECT_FALSE(run_.interrupted());
  run_.kill(now_, "the lease has been lost for 10 s");
  EXPECT_FALSE(run_.interrupted()) << "it had failed before";
  GroupRun other(database_group(), &next_token_);
  other.assume_down();
  other.run(now_);
  other.kill(now_, "the lease has been lost for 10 s");
  EXPECT_TRUE(other.interrupted());
}

TEST_F(GroupRunTest, ALapsedLeaseDropsTheAddressAndTakesItAgain) {
  bring_up();
  run_.set_suspended(now_, true);
  EXPECT_EQ(asked(), (Lines{"suspend ip"}));
  done("suspend ip");
  run_.set_suspended(now_, false);
  EXPECT_EQ(asked(), (Lines{"resume ip"}));
  done("resume ip");
  EXPECT_TRUE(run_.all_up());
}

TEST_F(GroupRunTest, AfterARestartOfBatondWhatIsUpIsLeftAlone) {
  run_.adopt(now_);
  EXPECT_EQ(asked().size(), 4u);
  for (const auto* name : {"adopt data", "adopt files", "adopt ip", "adopt postgres"}) done(name);
  run_.run(now_);
  EXPECT_EQ(asked(), Lines{});
  EXPECT_TRUE(run_.all_up());
}

TEST_F(GroupRunTest, WhatARestartedBatondDoesNotFindUpIsDownOnlyAfterAKill) {
  run_.adopt(now_);
  asked();
  for (const auto* name : {"adopt data", "adopt files", "adopt ip", "adopt postgres"}) done(name, false, "not up");
  EXPECT_FALSE(run_.all_down());  // an earlier batond may have asked for it
  EXPECT_TRUE(run_.nothing_up());
  run_.stop(now_);
  EXPECT_EQ(asked(), (Lines{"kill postgres"}));
  done("kill postgres");
  EXPECT_EQ(asked(), (Lines{"kill ip", "kill files"}));
  done("kill files");
  EXPECT_EQ(asked(), (Lines{"kill data"}));
  done("kill ip");
  done("kill data");
  EXPECT_TRUE(run_.all_down());
}

TEST_F(GroupRunTest, WhatARestartedBatondDoesNotFindUpIsStartedRightAwayWhenItIsWanted) {
  run_.adopt(now_);
  asked();
  for (const auto* name : {"adopt data", "adopt files", "adopt ip", "adopt postgres"}) done(name, false, "not up");
  run_.run(now_);
  EXPECT_EQ(asked(), (Lines{"start data", "start ip"}));
}

/// Its dependents are not down, only not found up: they must not keep it from being tried again.
TEST_F(GroupRunTest, AStartThatFailsAfterARestartOfBatondIsTriedAgainOrTheGroupIsGivenUp) {
  run_.adopt(now_);
  asked();
  for (const auto* name : {"adopt data", "adopt files"}) done(name);
  for (const auto* name : {"adopt ip", "adopt postgres"}) done(name, false, "not up");
  run_.run(now_);
  EXPECT_EQ(asked(), (Lines{"start ip"}));
  done("start ip", false, "no carrier");
  EXPECT_EQ(asked(), (Lines{"kill ip"})) << run_.failure();
  done("kill ip");
  EXPECT_EQ(asked(), (Lines{"start ip"})) << run_.failure();
}

TEST_F(GroupRunTest, WhatKeepsFailingIsStuckAndTheRestStaysUp) {
  bring_up();
  run_.set_asks(true);
  run_.resource_failed(now_, "postgres", "it ended");
  EXPECT_EQ(asked(), Lines{"kill postgres"});
  done("kill postgres");
  EXPECT_EQ(asked(), Lines{"start postgres"});  // the one restart in place
  done("start postgres");
  run_.resource_failed(now_, "postgres", "it ended again");
  EXPECT_EQ(asked(), Lines{"kill postgres"});
  done("kill postgres");
  EXPECT_EQ(asked(), Lines{});
  EXPECT_EQ(run_.stuck(), "service postgres failed: it ended again");
  EXPECT_EQ(run_.stuck_cause(), "service");
  EXPECT_TRUE(run_.failure().empty());
  EXPECT_EQ(run_.resources().at("ip").state, ResourceState::kUp);
  run_.stop(now_);
  EXPECT_EQ(asked(), (Lines{"stop ip", "stop files"}));
}

TEST_F(GroupRunTest, WhatIsHeldIsTriedAgainAtGrowingIntervals) {
  bring_up();
  run_.set_asks(true);
  for (const std::string why : {"once", "twice"}) {
    run_.resource_failed(now_, "postgres", why);
    asked();
    done("kill postgres");
    if (asked() == Lines{"start postgres"}) done("start postgres");
  }
  ASSERT_FALSE(run_.stuck().empty());
  run_.set_held(now_, true);
  EXPECT_EQ(asked(), Lines{}) << "tried again without a pause";
  EXPECT_EQ(run_.next_tick(), now_ + 5s);
  now_ += 5s;
  run_.tick(now_);
  EXPECT_EQ(asked(), Lines{"start postgres"});
  done("start postgres", false, "still broken");
  EXPECT_EQ(asked(), Lines{"kill postgres"});
  done("kill postgres");
  EXPECT_EQ(run_.next_tick(), now_ + 10s);
  now_ += 10s;
  run_.tick(now_);
  EXPECT_EQ(asked(), Lines{"start postgres"});
  done("start postgres");
  EXPECT_TRUE(run_.stuck().empty());
  EXPECT_TRUE(run_.all_up());
}

TEST_F(GroupRunTest, DuringMaintenanceWhatFailsStaysDown) {
  bring_up();
  run_.set_asks(true);
  run_.set_supervised(now_, false);
  run_.resource_failed(now_, "postgres", "it ended");
  EXPECT_EQ(asked(), Lines{"kill postgres"});
  done("kill postgres");
  EXPECT_EQ(asked(), Lines{});
  now_ += 600s;
  run_.tick(now_);
  EXPECT_EQ(asked(), Lines{});
  run_.set_supervised(now_, true);
  EXPECT_EQ(asked(), Lines{"start postgres"});
}

class MonitoredRunTest : public GroupRunTest {
 protected:
  MonitoredRunTest() {
    MonitorConfiguration monitor;
    monitor.name = "answers";
    monitor.of = "postgres";
    monitor.interval = 10s;
    monitor.failures = 2;
    monitors_ = {monitor};
    run_.set_monitors(monitors_);
  }
  /// The tokens of the checks that begin when the next one is due.
  std::vector<uint64_t> due() {
    run_.watch_monitors(now_);
    auto checks = run_.take_checks();
    if (checks.empty()) {
      now_ = std::max(now_, run_.next_tick());
      run_.tick(now_);
      run_.watch_monitors(now_);
      checks = run_.take_checks();
    }
    std::vector<uint64_t> tokens;
    for (const auto& check : checks) tokens.push_back(check.token);
    return tokens;
  }
  void answer(Verdict verdict) {
    const auto tokens = due();
    ASSERT_EQ(tokens.size(), 1u);
    EXPECT_TRUE(run_.check_done(now_, tokens.front(), verdict, "answered 503"));
    run_.watch_monitors(now_);
  }
  std::vector<MonitorConfiguration> monitors_;
};

TEST_F(MonitoredRunTest, WhatAMonitorFindsFailedIsStoppedInOrderAndStartedAgain) {
  run_.watch_monitors(now_);
  EXPECT_TRUE(run_.take_checks().empty()) << "not up yet";
  bring_up();
  answer(Verdict::kGood);
  answer(Verdict::kBad);
  EXPECT_EQ(asked(), Lines{});
  answer(Verdict::kBad);
  EXPECT_EQ(asked(), Lines{"stop postgres"});
  EXPECT_EQ(run_.resources().at("postgres").detail, "monitor answers: answered 503 (2 times in a row)");
  EXPECT_EQ(run_.monitors().front().view().state, MonitorState::kResting);
  done("stop postgres");
  EXPECT_EQ(asked(), Lines{"start postgres"});
  done("start postgres");
  answer(Verdict::kBad);
  answer(Verdict::kBad);
  EXPECT_EQ(run_.failure(), "service postgres failed: monitor answers: answered 503 (2 times in a row)") << "beyond its restarts";
}

TEST_F(MonitoredRunTest, AServiceThatDoesNotStopIsKilled) {
  bring_up();
  answer(Verdict::kBad);
  answer(Verdict::kBad);
  EXPECT_EQ(asked(), Lines{"stop postgres"});
  done("stop postgres", false, "still there after 30 s");
  EXPECT_EQ(asked(), Lines{"kill postgres"});
}

TEST_F(MonitoredRunTest, NothingIsCheckedInMaintenanceNorWithoutTheLease) {
  bring_up();
  auto tokens = due();
  ASSERT_EQ(tokens.size(), 1u);
  run_.set_suspended(now_, true);
  run_.watch_monitors(now_);
  EXPECT_FALSE(run_.check_done(now_, tokens.front(), Verdict::kBad, "its storage stood still"));
  EXPECT_EQ(run_.monitors().front().view().state, MonitorState::kResting);
  EXPECT_EQ(run_.take_dropped_checks(), tokens);
  EXPECT_EQ(asked(), Lines{"suspend ip"});
  done("suspend ip");
  run_.set_suspended(now_, false);
  run_.watch_monitors(now_);
  EXPECT_EQ(asked(), Lines{"resume ip"});
  EXPECT_TRUE(run_.take_checks().empty()) << "it is perhaps asked by its address";
  done("resume ip");
  run_.set_supervised(now_, false);
  run_.watch_monitors(now_);
  EXPECT_TRUE(run_.take_checks().empty());
  run_.set_supervised(now_, true);
  EXPECT_EQ(due().size(), 1u);
}

TEST_F(MonitoredRunTest, ChangedMonitorsBeginAnewAndTheOthersGoOn) {
  monitors_.push_back(monitors_.front());
  monitors_.back().name = "log";
  run_.set_monitors(monitors_);
  bring_up();
  const auto tokens = due();
  ASSERT_EQ(tokens.size(), 2u);
  monitors_.back().interval = 20s;
  run_.set_monitors(monitors_);
  EXPECT_TRUE(run_.check_done(now_, tokens[0], Verdict::kGood, ""));
  EXPECT_FALSE(run_.check_done(now_, tokens[1], Verdict::kGood, ""));
  EXPECT_EQ(run_.take_dropped_checks(), std::vector<uint64_t>{tokens[1]});
  monitors_.front().of = "a service that comes with the next start";
  run_.set_monitors(monitors_);
  EXPECT_EQ(run_.monitors().size(), 1u);
}

TEST_F(GroupRunTest, StorageThatFailsAlwaysGivesUp) {
  bring_up();
  run_.set_asks(true);
  run_.resource_failed(now_, "data", "the daemon ended");
  EXPECT_FALSE(run_.failure().empty());
  EXPECT_EQ(run_.goal(), Goal::kKill);
}

}  // namespace
}  // namespace baton::group
