// What answers of ping targets say, and what they do not. docs/protocol.md, "The arbiter by ping targets".
#include "src/core/arbiter/ping_watch.h"

#include <gtest/gtest.h>

namespace baton::arbiter {
namespace {

constexpr Duration kPatience = 630ms;

struct Watched {
  PingWatch watch;
  Instant now{10s};
  Watched() { watch.use(now, {"192.0.2.1", "192.0.2.2"}, kPatience); }

  /// Rounds for so long; each is answered by `address` a millisecond later. Empty: by nobody.
  void pass(Duration lasts, const std::string& address) {
    for (const Instant end = now + lasts; now < end; now = std::min(end, watch.next_tick())) {
      const auto round = watch.next(now);
      if (round && !address.empty()) watch.answered(now + 1ms, {round->number, address, ""});
    }
  }
};

TEST(PingWatch, AsksEachTargetFiveTimesASecondAndOftenerWhereLossesShowSooner) {
  Watched watched;
  const auto round = watched.watch.next(watched.now);
  ASSERT_TRUE(round.has_value());
  EXPECT_EQ(round->addresses, (std::vector<std::string>{"192.0.2.1", "192.0.2.2"}));
  EXPECT_FALSE(watched.watch.next(watched.now + 199ms));
  EXPECT_TRUE(watched.watch.next(watched.now + 200ms));
  watched.watch.use(watched.now, {"192.0.2.1"}, 165ms);
  EXPECT_TRUE(watched.watch.next(watched.now));
  EXPECT_TRUE(watched.watch.next(watched.now + 55ms));
}

TEST(PingWatch, AnAnswerCountsFromTheSendingOfItsEcho) {
  Watched watched;
  const auto round = watched.watch.next(watched.now);
  EXPECT_EQ(watched.watch.target_answered(), Instant{});
  watched.watch.answered(watched.now + 150ms, {round->number, "192.0.2.2", ""});
  EXPECT_EQ(watched.watch.target_answered(), watched.now);
  EXPECT_TRUE(watched.watch.targets()[1].answers);
  EXPECT_FALSE(watched.watch.targets()[0].answers);
}

TEST(PingWatch, AnAnswerThatComesTooLateOrToNothingDoesNotCount) {
  Watched watched;
  const auto round = watched.watch.next(watched.now);
  watched.watch.answered(watched.now + 1s, {round->number, "192.0.2.1", ""});
  watched.watch.answered(watched.now + 1ms, {round->number + 1, "192.0.2.1", ""});
  EXPECT_EQ(watched.watch.target_answered(), Instant{});
}

TEST(PingWatch, APauseOfAllTargetsEndsTheSteadyTimeAndOneTargetIsEnough) {
  Watched watched;
  const Instant begun = watched.now;
  watched.pass(5s, "192.0.2.1");
  watched.pass(5s, "192.0.2.2");
  EXPECT_LE(watched.watch.steady_since(watched.now), begun + 1ms);
  watched.pass(400ms, "");
  EXPECT_LE(watched.watch.steady_since(watched.now), begun + 1ms);
  watched.pass(400ms, "");
  EXPECT_EQ(watched.watch.steady_since(watched.now), kNever);
  const Instant again = watched.now;
  watched.pass(1s, "192.0.2.1");
  EXPECT_GE(watched.watch.steady_since(watched.now), again);
}

TEST(PingWatch, APauseIsToldByTheSendingWheneverTheAnswersCome) {
  Watched watched;
  watched.pass(5s, "192.0.2.1");
  // The last echo that gets through is answered late; then there is a pause, of which only its end is seen.
  const auto last = watched.watch.next(watched.now);
  ASSERT_TRUE(last.has_value());
  watched.pass(600ms, "");
  watched.watch.answered(watched.now, {last->number, "192.0.2.1", ""});
  watched.pass(600ms, "");
  EXPECT_EQ(watched.watch.steady_since(watched.now), kNever);
  const auto next = watched.watch.next(watched.now);
  ASSERT_TRUE(next.has_value());
  watched.watch.answered(watched.now, {next->number, "192.0.2.1", ""});
  EXPECT_EQ(watched.watch.steady_since(watched.now), watched.now);
}

TEST(PingWatch, QuietIsCountedByEchoesThatWereSent) {
  Watched watched;
  watched.pass(1s, "192.0.2.1");
  EXPECT_EQ(watched.watch.quiet_for(), 0ms);
  watched.pass(2100ms, "");
  EXPECT_GE(watched.watch.quiet_for(), 1800ms);
  watched.pass(300ms, "192.0.2.1");
  EXPECT_EQ(watched.watch.quiet_for(), 0ms);
  watched.watch.next(watched.now);
  watched.now += 20s;  // it stood still itself
  watched.watch.next(watched.now);
  EXPECT_LE(watched.watch.quiet_for(), 200ms);
  watched.pass(1200ms, "");
  watched.now += 20s;  // ... which neither counts nor begins anew
  watched.pass(1200ms, "");
  EXPECT_GE(watched.watch.quiet_for(), 2000ms);
  EXPECT_LE(watched.watch.quiet_for(), 2800ms);
}

TEST(PingWatch, WhatCannotBeSentIsNoAnswerAndIsTold) {
  Watched watched;
  const auto round = watched.watch.next(watched.now);
  watched.watch.answered(watched.now, {round->number, "192.0.2.1", "no route to host"});
  EXPECT_EQ(watched.watch.target_answered(), Instant{});
  EXPECT_EQ(watched.watch.describe(), "192.0.2.1 (no route to host), 192.0.2.2");
}

TEST(PingWatch, OthersAreAskedBesidesAndCountForThemselves) {
  Watched watched;
  watched.watch.ask_also({"192.0.2.50"});
  const auto round = watched.watch.next(watched.now);
  EXPECT_EQ(round->addresses.size(), 3u);
  watched.watch.answered(watched.now + 1ms, {round->number, "192.0.2.50", ""});
  EXPECT_EQ(watched.watch.other_answered(), watched.now);
  EXPECT_EQ(watched.watch.target_answered(), Instant{});
}

TEST(PingWatch, HurriesOnceAtAMoment) {
  Watched watched;
  EXPECT_TRUE(watched.watch.next(watched.now));
  watched.watch.hurry(watched.now);
  EXPECT_FALSE(watched.watch.next(watched.now));
  watched.now += 3ms;
  watched.watch.hurry(watched.now);
  EXPECT_TRUE(watched.watch.next(watched.now));
}

}  // namespace
}  // namespace baton::arbiter
