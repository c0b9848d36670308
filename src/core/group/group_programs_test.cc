// Programs that scripts have had supervised, scripts without their storage, and what is done beyond the restarts.
#include "src/core/group/run_test.h"

namespace baton::group {
namespace {

GroupConfiguration scripted_group() {
  GroupConfiguration group;
  group.name = "web";
  group.resources = {resource("data", ResourceKind::kMirror, {}), resource("app", ResourceKind::kScript, {"data"}),
                     resource("quiet", ResourceKind::kScript, {"data"})};
  for (auto& made : group.resources) made.restarts = 0;
  group.resources[1].script.on_disk_failure = true;
  return group;
}

ProgramPolicy policy(uint32_t restarts, Duration window = Duration{0}) {
  ProgramPolicy made;
  made.id = "worker";
  made.restarts = restarts;
  made.window = window;
  return made;
}

class ProgramsTest : public RunTest {
 protected:
  ProgramsTest() : RunTest(scripted_group()) {}

  void SetUp() override {
    run_.set_asks(true);
    run_.assume_down();
    run_.run(now_);
  }
  void bring_up() {
    asked();
    done("start data");
    asked();
    done("start app");
    done("start quiet");
    ASSERT_TRUE(run_.all_up());
  }
  void end() { run_.program_ended(now_, "app", "worker", "ended with status 1"); }
  const ProgramRun& program() { return run_.programs().at("app").front(); }
};

TEST_F(ProgramsTest, OneIsStartedAgainAsOftenAsItMayThenItsScriptHasFailed) {
  bring_up();
  ASSERT_TRUE(run_.program_started("app", policy(1)));
  end();
  EXPECT_EQ(asked(), Lines{"restart app/worker"});
  EXPECT_EQ(program().state(), ProgramState::kRestarting);
  done("restart app/worker");
  EXPECT_EQ(program().state(), ProgramState::kRunning);
  end();
  EXPECT_EQ(run_.stuck(), "script app failed: program worker ended with status 1, after 1 restart");
  EXPECT_EQ(run_.final_action(), FinalAction::kFailover);
  EXPECT_EQ(asked(), Lines{"stop app"}) << "in order: the rest of it lives";
  done("stop app");
  EXPECT_EQ(program().how(), "ended with its script");
}

TEST_F(ProgramsTest, OnlyRestartsWithinTheWindowCount) {
  bring_up();
  run_.program_started("app", policy(1, 1h));
  end();
  asked();
  done("restart app/worker");
  now_ += 1h + 1s;
  end();
  EXPECT_EQ(asked(), Lines{"restart app/worker"});
  EXPECT_EQ(program().restarts(now_), 1u);
}

TEST_F(ProgramsTest, ARestartThatFailsCountsAsAnotherEnd) {
  bring_up();
  run_.program_started("app", policy(2));
  end();
  asked();
  done("restart app/worker", false);
  EXPECT_EQ(program().how(), "could not be started again: refused");
  EXPECT_EQ(asked(), Lines{"restart app/worker"});
  done("restart app/worker", false);
  EXPECT_FALSE(run_.stuck().empty());
}

TEST_F(ProgramsTest, WithItsScriptTheCountGoesOnThroughTheScriptsStart) {
  bring_up();
  auto whole = policy(1);
  whole.with_script = true;
  run_.program_started("app", whole);
  end();
  EXPECT_EQ(asked(), Lines{"stop app"});
  done("stop app");
  EXPECT_EQ(asked(), Lines{"start app"});
  ASSERT_TRUE(run_.program_started("app", whole)) << "while the script starts";
  done("start app");
  EXPECT_TRUE(run_.stuck().empty());
  end();
  EXPECT_FALSE(run_.stuck().empty());
}

TEST_F(ProgramsTest, OneThatIsNotWatchedMayEnd) {
  bring_up();
  auto loose = policy(0);
  loose.watched = false;
  run_.program_started("app", loose);
  end();
  EXPECT_TRUE(asked().empty());
  EXPECT_TRUE(run_.all_up());
  ASSERT_EQ(run_.take_news().size(), 1u);
}

TEST_F(ProgramsTest, ItsOwnFinalActionCounts) {
  bring_up();
  auto ends_server = policy(0);
  ends_server.on_failure = FinalAction::kShutdown;
  run_.program_started("app", ends_server);
  end();
  EXPECT_EQ(run_.final_action(), FinalAction::kShutdown);
}

TEST_F(ProgramsTest, WithNothingAsItsFinalActionTheScriptStaysUp) {
  bring_up();
  auto harmless = policy(0);
  harmless.on_failure = FinalAction::kNothing;
  run_.program_started("app", harmless);
  end();
  EXPECT_TRUE(asked().empty());
  EXPECT_TRUE(run_.stuck().empty());
  EXPECT_EQ(program().state(), ProgramState::kEnded);
}

TEST_F(ProgramsTest, InMaintenanceItWaitsForItsEnd) {
  bring_up();
  run_.program_started("app", policy(1));
  run_.set_supervised(now_, false);
  end();
  EXPECT_TRUE(asked().empty());
  EXPECT_EQ(program().state(), ProgramState::kWaiting);
  run_.set_supervised(now_, true);
  EXPECT_EQ(asked(), Lines{"restart app/worker"});
}

TEST_F(ProgramsTest, WhatEndedWhileNoBatondLookedIsSeenToWhenTheGroupGoesOn) {
  GroupRun run{scripted_group(), &next_token_};
  run.adopt(now_);
  ASSERT_TRUE(run.program_started("app", policy(1)));
  run.program_ended(now_, "app", "worker", "ended with status 1");
  for (const auto& step : run.take_steps()) run.step_done(now_, step.token, true, "");
  EXPECT_TRUE(run.take_steps().empty());
  run.run(now_);
  const auto steps = run.take_steps();
  ASSERT_EQ(steps.size(), 1u);
  EXPECT_EQ(steps.front().program, "worker");
}

TEST_F(ProgramsTest, ItIsNoneOfAScriptThatIsDownNorOfAService) {
  EXPECT_FALSE(run_.program_started("app", policy(1)));
  bring_up();
  EXPECT_FALSE(run_.program_started("data", policy(1)));
  EXPECT_FALSE(run_.program_started("nobody", policy(1)));
}

TEST_F(ProgramsTest, OneThatWasRemovedIsForgotten) {
  bring_up();
  run_.program_started("app", policy(1));
  run_.program_removed("app", "worker");
  end();
  EXPECT_TRUE(asked().empty());
}

TEST_F(ProgramsTest, ScriptsThatAskForItAreRunWithoutTheirStorageBeforeTheGroupIsGivenUp) {
  run_.set_asks(false);
  EXPECT_EQ(asked(), Lines{"start data"});
  done("start data", false);
  EXPECT_EQ(asked(), Lines{"run once app"});
  EXPECT_FALSE(run_.failure().empty());
  done("run once app");
  EXPECT_EQ(asked(), Lines{"kill app"}) << "whatever it has left running";
  done("kill app");
  EXPECT_EQ(asked(), Lines{"kill data"});
  done("kill data");
  EXPECT_TRUE(run_.all_down());
}

TEST_F(ProgramsTest, AScriptThatNeverEndsWithoutItsStorageIsKilledAtItsDeadline) {
  run_.set_asks(false);
  asked();
  done("start data", false);
  asked();
  now_ = run_.next_tick();
  run_.tick(now_);
  EXPECT_EQ(asked(), Lines{"kill app"});
}

TEST_F(ProgramsTest, TheLatestFailureAboutWhichSomethingIsToBeDoneDecides) {
  GroupConfiguration group = scripted_group();
  group.resources[1].on_failure = FinalAction::kStop;
  group.resources[2].on_failure = FinalAction::kNothing;
  run_ = GroupRun{group, &next_token_};
  SetUp();
  bring_up();
  run_.set_held(now_, true);
  run_.resource_failed(now_, "quiet", "it ended");
  EXPECT_EQ(run_.final_action(), FinalAction::kNothing);
  run_.resource_failed(now_, "app", "it ended");
  EXPECT_EQ(run_.stuck(), "script app failed: it ended");
  EXPECT_EQ(run_.final_action(), FinalAction::kStop);
  asked();
  done("kill quiet");
  done("kill app");
  now_ += 1min;
  run_.tick(now_);
  EXPECT_EQ(asked(), Lines{"start app"}) << "the other one stays down, as is configured";
  done("start app");
  EXPECT_EQ(run_.stuck(), "script quiet failed: it ended") << "not what has recovered";
  EXPECT_EQ(run_.final_action(), FinalAction::kNothing);
  EXPECT_EQ(run_.next_tick(), kNever);
}

}  // namespace
}  // namespace baton::group
