// When a monitor checks, and what its answers come to.
#include "src/core/group/monitor_run.h"

#include <gtest/gtest.h>

#include <set>

namespace baton::group {
namespace {

MonitorConfiguration every_ten_seconds() {
  MonitorConfiguration monitor;
  monitor.name = "answers";
  monitor.of = "web";
  monitor.interval = 10s;
  monitor.timeout = 3s;
  monitor.failures = 3;
  return monitor;
}

class MonitorRunTest : public testing::Test {
 protected:
  /// Goes on to the next check, and begins it.
  void begin() {
    now_ = std::max(now_, run_.next_tick());
    ASSERT_TRUE(run_.begin_if_due(now_, ++token_));
    ASSERT_TRUE(run_.has(token_));
  }
  bool answer(Verdict verdict, const std::string& detail = "") {
    begin();
    now_ += 10ms;
    return run_.done(now_, verdict, detail);
  }
  MonitorState state() const { return run_.view().state; }

  Instant now_{100s};
  uint64_t token_ = 0;
  MonitorRun run_{every_ten_seconds()};
};

TEST_F(MonitorRunTest, RestsUntilItsResourceIsUp) {
  EXPECT_EQ(run_.next_tick(), kNever);
  EXPECT_FALSE(run_.begin_if_due(now_, 1));
  run_.watch(now_);
  EXPECT_EQ(state(), MonitorState::kWaiting);
  begin();
  run_.rest();
  EXPECT_FALSE(run_.has(token_)) << "an answer of before counts";
  EXPECT_EQ(run_.take_dropped(), std::vector<uint64_t>{token_}) << "its program goes on";
  EXPECT_TRUE(run_.take_dropped().empty());
  EXPECT_EQ(run_.next_tick(), kNever);
}

TEST_F(MonitorRunTest, ChecksAtItsIntervalGiveOrTakeATenth) {
  run_.watch(now_);
  std::set<Duration> pauses;
  begin();
  for (int i = 0; i < 20; ++i) {
    const Instant begun = now_;
    EXPECT_FALSE(run_.done(now_ + 5ms, Verdict::kGood, ""));
    begin();
    pauses.insert(now_ - begun);
    EXPECT_GE(now_ - begun, 9s);
    EXPECT_LE(now_ - begun, 11s);
  }
  EXPECT_GT(pauses.size(), 5u);
  EXPECT_TRUE(run_.take_news().text.empty());
}

TEST_F(MonitorRunTest, ADelayComesBeforeTheFirstCheck) {
  auto monitor = every_ten_seconds();
  monitor.delay = 30s;
  run_ = MonitorRun(monitor);
  run_.watch(now_);
  run_.watch(now_ + 1s);
  EXPECT_FALSE(run_.begin_if_due(now_ + 29s, 1));
  EXPECT_TRUE(run_.begin_if_due(now_ + 30s, 1));
}

TEST_F(MonitorRunTest, OnlyBadChecksInARowAreAFailure) {
  run_.watch(now_);
  EXPECT_FALSE(answer(Verdict::kBad, "answered 503"));
  EXPECT_EQ(state(), MonitorState::kFailing);
  EXPECT_EQ(run_.take_news().text, "monitor answers of web: answered 503 (1 of 3 bad checks in a row)");
  EXPECT_LE(run_.next_tick() - now_, 1s) << "whether it was for a moment is asked soon";
  EXPECT_FALSE(answer(Verdict::kBad));
  EXPECT_TRUE(run_.take_news().text.empty()) << "said again";
  EXPECT_FALSE(answer(Verdict::kGood));
  EXPECT_EQ(run_.take_news().text, "monitor answers: web is well again");
  EXPECT_FALSE(answer(Verdict::kBad));
  EXPECT_FALSE(answer(Verdict::kBad));
  EXPECT_TRUE(answer(Verdict::kBad, "answered 503"));
  EXPECT_EQ(state(), MonitorState::kFailed);
  EXPECT_EQ(run_.why_failed(), "monitor answers: answered 503 (3 times in a row)");
  EXPECT_EQ(run_.take_news().text, "web failed: " + run_.why_failed());
  EXPECT_EQ(run_.next_tick(), kNever) << "its resource is being restarted";
  run_.rest();
  run_.watch(now_);
  EXPECT_FALSE(answer(Verdict::kBad)) << "counts anew";
}

TEST_F(MonitorRunTest, WhatCouldNotBeCheckedIsNoFailure) {
  run_.watch(now_);
  EXPECT_FALSE(answer(Verdict::kBad));
  EXPECT_FALSE(answer(Verdict::kBad));
  (void)run_.take_news();
  for (int i = 0; i < 10; ++i) EXPECT_FALSE(answer(Verdict::kUnknown, "there is no such program"));
  EXPECT_EQ(state(), MonitorState::kUnknown);
  const auto news = run_.take_news();
  EXPECT_TRUE(news.problem);
  EXPECT_EQ(news.text, "monitor answers could not check web, so nothing is known of it: there is no such program");
  EXPECT_EQ(run_.view().unknown, 10u);
  EXPECT_FALSE(answer(Verdict::kBad)) << "bad ones of before are not in a row with it";
  EXPECT_FALSE(answer(Verdict::kBad));
  EXPECT_TRUE(answer(Verdict::kBad));
}

TEST_F(MonitorRunTest, AnAnswerThatNeverComesIsUnknown) {
  run_.watch(now_);
  begin();
  EXPECT_EQ(run_.next_tick(), now_ + 6s) << "its timeout, and time for batond to say so";
  run_.tick(now_ + 5s);
  EXPECT_TRUE(run_.has(token_));
  now_ += 6s;
  run_.tick(now_);
  EXPECT_FALSE(run_.has(token_));
  EXPECT_EQ(run_.take_dropped(), std::vector<uint64_t>{token_});
  EXPECT_EQ(state(), MonitorState::kUnknown);
  EXPECT_EQ(run_.view().detail, "the check was not over 6000 ms after its beginning");
  EXPECT_FALSE(answer(Verdict::kGood));
}

TEST_F(MonitorRunTest, WhoHeardTheAnswerTooLateStoodStillHimself) {
  auto monitor = every_ten_seconds();
  monitor.failures = 1;
  run_ = MonitorRun(monitor);
  run_.watch(now_);
  begin();
  now_ += 7s;
  EXPECT_FALSE(run_.done(now_, Verdict::kBad, "no answer within 3000 ms"));
  EXPECT_EQ(state(), MonitorState::kUnknown);
  EXPECT_TRUE(answer(Verdict::kBad));
}

}  // namespace
}  // namespace baton::group
