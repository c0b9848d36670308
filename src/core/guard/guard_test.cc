// The guard: what it publishes, withdraws and confirms. docs/protocol.md, "Fences".
#include "src/core/guard/guard.h"

#include <gtest/gtest.h>

namespace baton::guard {
namespace {

constexpr ServerId kOne{1}, kTwo{2}, kThree{3};
constexpr Instant at(Duration duration) { return Instant{} + 100s + duration; }
Settings settings() { return {kOne, {kOne, kTwo, kThree}, 1000ms, 100ms}; }
constexpr LogPosition kTaken{Epoch{65}, 7};

struct Bench {
  explicit Bench(const Knowledge& kept = {}, Instant published = {}) : guard(settings(), 11, kept, published, at(0ms)) {}

  template <class Action_>
  const Action_* step(Instant now, const Event& event) {
    actions.clear();
    guard.step(now, event, actions);
    for (const auto& action : actions)
      if (const auto* found = std::get_if<Action_>(&action)) return found;
    return nullptr;
  }
  void feed(Instant now, const Event& event) { step<Publish>(now, event); }
  /// The sequence of the newest beat of this one, as the last step sent it.
  uint64_t sent() const {
    uint64_t newest = 0;
    for (const auto& action : actions)
      if (const auto* beat = std::get_if<SendBeat>(&action)) newest = beat->beat.sequence;
    return newest;
  }
  /// Server 2 grants the newest beat of this one.
  void granted(Instant now, uint64_t sequence) {
    Beat beat{++of_two, 22, {}, {{kOne, {11, sequence}}}};
    step<Publish>(now, BeatReceived{kTwo, beat});
  }

  GuardCore guard;
  std::vector<Action> actions;
  uint64_t of_two = 0;
};

Knowledge knowledge(const LogPosition& knows, const Fences& fences = {}) { return {true, knows, {}, fences}; }

TEST(Guard, GrantsNothingUntilItIsTold) {
  Bench bench;
  bench.feed(at(0ms), ViewChanged{{kOne, kTwo}});
  bench.granted(at(10ms), 1);
  EXPECT_EQ(bench.guard.published_until(), Instant{});
  bench.feed(at(20ms), Tell{5, 1, knowledge({})});
  bench.granted(at(30ms), 3);
  EXPECT_EQ(bench.guard.published_until(), at(20ms) + 1000ms);
}

TEST(Guard, ConfirmsWhatItHasKept) {
  Bench bench;
  bench.feed(at(0ms), Tell{5, 3, knowledge({}, {{kTwo, kTaken}})});
  ASSERT_EQ(bench.actions.size(), 2u);
  Knowledge kept = knowledge({}, {{kTwo, kTaken}});
  kept.gaps = 1;  // its own count, from 1
  EXPECT_EQ(std::get<Keep>(bench.actions[0]).knowledge, kept);
  const Report& report = std::get<Report>(bench.actions[1]);
  EXPECT_EQ(report.teller, 5u);
  EXPECT_EQ(report.number, 3u);
}

TEST(Guard, WithdrawsThePageWhenAGroupOfItsOwnIsTaken) {
  Bench bench{knowledge({Epoch{65}, 6}), at(900ms)};
  const auto* publish = bench.step<Publish>(at(0ms), Tell{5, 1, knowledge({Epoch{65}, 6}, {{kOne, kTaken}})});
  ASSERT_NE(publish, nullptr);
  EXPECT_EQ(publish->until, Instant{});
}

TEST(Guard, ANewOneGoesOnWithThePage) {
  Bench bench{knowledge(kTaken, {{kOne, kTaken}}), at(900ms)};
  EXPECT_EQ(bench.guard.published_until(), at(900ms));
  bench.feed(at(0ms), ViewChanged{{kOne, kTwo}});
  bench.granted(at(10ms), 1);
  EXPECT_EQ(bench.guard.published_until(), at(0ms) + 1000ms);
}

TEST(Guard, WhatAServerKnowsNeverMovesBack) {
  Bench bench{knowledge(kTaken)};
  bench.feed(at(0ms), Tell{5, 1, knowledge({})});
  EXPECT_EQ(bench.guard.knowledge().knows, kTaken);
}

TEST(Guard, AfterALateTickOlderBeatsRenewNothing) {
  Bench bench{knowledge({})};
  bench.feed(at(0ms), ViewChanged{{kOne, kTwo}});
  bench.granted(at(400ms), 1);  // the tick was due at 100 ms
  EXPECT_EQ(bench.guard.published_until(), Instant{});
  bench.granted(at(450ms), 2);
  EXPECT_EQ(bench.guard.published_until(), at(400ms) + 1000ms);
}

TEST(Guard, AJumpOfTheClocksWithdrawsThePage) {
  Bench bench{knowledge({})};
  bench.feed(at(0ms), ViewChanged{{kOne, kTwo}});
  bench.granted(at(10ms), 1);
  EXPECT_EQ(bench.guard.published_until(), at(0ms) + 1000ms);
  const auto* publish = bench.step<Publish>(at(50ms), TimeJumped{});
  ASSERT_NE(publish, nullptr);
  EXPECT_EQ(publish->until, Instant{});
  bench.granted(at(70ms), bench.sent());
  EXPECT_EQ(bench.guard.published_until(), at(50ms) + 1000ms);
}

TEST(Guard, AJumpOfTheClocksAsksAnew) {
  Bench bench{knowledge({})};
  bench.feed(at(0ms), ViewChanged{{kOne, kTwo}});
  EXPECT_NE(bench.step<SendBeat>(at(50ms), TimeJumped{}), nullptr);
  bench.granted(at(60ms), 1);
  EXPECT_EQ(bench.guard.published_until(), Instant{});
}

/// One of two servers that an operator lets decide alone (W4): its vote is a majority, and it needs a right besides.
Knowledge alone(uint64_t right, uint64_t gaps = 0) {
  Knowledge told = knowledge({Epoch{65}, 6});
  told.voters = VoterSet{{kOne}, {}};
  told.alone = true;
  told.right = right;
  told.gaps = gaps;
  return told;
}

TEST(Guard, AloneItPublishesOnlyByARight) {
  Bench bench;
  bench.feed(at(0ms), ViewChanged{{kOne}});
  bench.feed(at(10ms), Tell{5, 1, alone(0)});
  bench.feed(at(110ms), Tick{});
  EXPECT_EQ(bench.guard.published_until(), Instant{});
  bench.feed(at(120ms), Tell{5, 2, alone(1)});
  bench.feed(at(220ms), Tick{});
  EXPECT_EQ(bench.guard.published_until(), at(220ms) + 1000ms);
  const auto* publish = bench.step<Publish>(at(230ms), Tell{5, 3, alone(0)});
  ASSERT_NE(publish, nullptr) << "the right is taken back";
  EXPECT_EQ(publish->until, Instant{});
}

TEST(Guard, GapsBetweenWhichItCannotBeSeenAreOne) {
  const auto gaps_after = [](Duration between) {
    Bench bench;
    bench.feed(at(0ms), ViewChanged{{kOne}});
    bench.feed(at(0ms), Tell{5, 1, alone(1)});
    Instant now = at(6s);
    bench.feed(now, Tick{});
    for (const Instant end = now + between; now < end; now += 100ms) bench.feed(now, Tick{});
    bench.feed(now + 6s, Tick{});
    return bench.guard.knowledge().gaps;
  };
  EXPECT_EQ(gaps_after(100ms), 2u) << "the other server may not have seen it for 12 s";
  EXPECT_EQ(gaps_after(3s), 1u) << "it has";
}

/// What the clocks do not show (F5) counts as a piece, too.
TEST(Guard, SuspensionsBetweenWhichItCannotBeSeenAreOneGap) {
  const auto gaps_after = [](Duration first, Duration between, Duration second) {
    Bench bench;
    bench.feed(at(0ms), ViewChanged{{kOne}});
    bench.feed(at(0ms), Tell{5, 1, alone(1)});
    Instant now = at(100ms);
    bench.feed(now, TimeJumped{first});
    for (const Instant end = now + between; now < end; now += 100ms) bench.feed(now, Tick{});
    bench.feed(now, TimeJumped{second});
    return bench.guard.knowledge().gaps;
  };
  EXPECT_EQ(gaps_after(6s, 100ms, 6s), 2u) << "the other server may not have seen it for 12 s";
  EXPECT_EQ(gaps_after(6s, 3s, 6s), 1u) << "it has";
  EXPECT_EQ(gaps_after(11s, 3s, 11s), 3u);
  EXPECT_EQ(gaps_after(Duration::max(), 3s, 1s), 2u) << "of a length that is not known";
}

TEST(Guard, AloneItTakesARightOnlyInTime) {
  Knowledge told = alone(1);
  told.right_by = at(500ms);
  Bench late;
  late.feed(at(0ms), ViewChanged{{kOne}});
  late.feed(at(500ms), Tell{5, 1, told});
  late.feed(at(600ms), Tick{});
  EXPECT_EQ(late.guard.published_until(), Instant{});
  EXPECT_EQ(late.guard.knowledge().right, 0u) << "batond learns that it was refused";
  Bench soon;
  soon.feed(at(0ms), ViewChanged{{kOne}});
  soon.feed(at(499ms), Tell{5, 1, told});
  soon.feed(at(700ms), Tell{5, 2, told});
  soon.feed(at(800ms), Tick{});
  EXPECT_EQ(soon.guard.published_until(), at(800ms) + 1000ms) << "what it has taken it keeps";
}

/// T3, W7. The limit goes by a clock that stood still.
TEST(Guard, AloneItTakesARightInTimeThatItsClockDidNotSee) {
  Knowledge told = alone(1);
  told.right_by = at(4s);
  const auto right_after = [&](Instant jump, Instant tell, Duration length) {
    Bench bench;
    bench.feed(at(0ms), ViewChanged{{kOne}});
    for (Instant now = at(0ms); now <= at(15s); now += 50ms) {
      if (now == jump) bench.feed(now, TimeJumped{length});
      if (now == tell) {
        told.right_by = tell + 3500ms;
        bench.feed(now, Tell{5, 1, told});
      }
      bench.feed(now, Tick{});
    }
    return bench.guard.knowledge().right;
  };
  EXPECT_EQ(right_after(at(400ms), at(500ms), 3s), 1u);
  EXPECT_EQ(right_after(at(400ms), at(500ms), 4s), 0u) << "told after the look";
  EXPECT_EQ(right_after(at(600ms), at(500ms), 4s), 0u) << "and before it";
  EXPECT_EQ(right_after(at(5s), at(500ms), 4s), 1u) << "long since taken";
  EXPECT_EQ(right_after(at(400ms), at(12s), 4s), 1u) << "long ago";
}

TEST(Guard, TheLeaseFromBothLastsWhenItIsToldThatItIsAlone) {
  Bench bench{knowledge({Epoch{65}, 6})};
  bench.feed(at(0ms), ViewChanged{{kOne, kTwo}});
  bench.granted(at(10ms), 1);
  ASSERT_EQ(bench.guard.published_until(), at(0ms) + 1000ms);
  bench.feed(at(20ms), Tell{5, 1, alone(0)});
  bench.feed(at(120ms), Tick{});
  EXPECT_EQ(bench.guard.published_until(), at(0ms) + 1000ms) << "its own vote adds nothing without a right";
  bench.feed(at(130ms), Tell{5, 2, alone(1)});
  EXPECT_EQ(bench.guard.published_until(), at(120ms) + 1000ms);
}

TEST(Guard, AloneALongPauseEndsTheRight) {
  Bench bench{alone(3, 3), at(900ms)};
  bench.feed(at(0ms), ViewChanged{{kOne}});
  bench.feed(at(100ms), Tick{});
  EXPECT_EQ(bench.guard.published_until(), at(100ms) + 1000ms);
  bench.feed(at(9s), Tick{});
  EXPECT_EQ(bench.guard.published_until(), at(9s) + 1000ms) << "shorter than an operator's patience";
  bench.feed(at(30s), Tick{});
  EXPECT_EQ(bench.guard.published_until(), Instant{});
  EXPECT_EQ(bench.guard.knowledge().gaps, 4u);
  bench.feed(at(31s), Tell{5, 4, alone(4)});
  bench.feed(at(32s), Tick{});
  EXPECT_EQ(bench.guard.published_until(), at(32s) + 1000ms);
}

TEST(Guard, AloneAJumpOfTheClocksEndsTheRight) {
  Bench bench{alone(3, 3), at(900ms)};
  bench.feed(at(0ms), ViewChanged{{kOne}});
  bench.feed(at(100ms), TimeJumped{});
  bench.feed(at(200ms), Tick{});
  EXPECT_EQ(bench.guard.published_until(), Instant{});
}

TEST(Guard, AloneANewOneHasTheRightOnlyIfItIsThereSoon) {
  EXPECT_EQ((Bench{alone(3, 3), at(-5s)}.guard.knowledge().gaps), 3u);
  EXPECT_EQ((Bench{alone(3, 3), at(-15s)}.guard.knowledge().gaps), 4u);
  EXPECT_EQ((Bench{alone(3, 3), Instant{}}.guard.knowledge().gaps), 4u) << "the page was withdrawn";
}

/// R6. The batond of the survivor may be away; and what was heard goes round, and outlives this guard.
TEST(Guard, HearsOfARecoveryWithoutThisServer) {
  Bench bench;
  bench.feed(at(0ms), ViewChanged{{kOne, kTwo, kThree}});
  bench.feed(at(0ms), Tell{5, 1, knowledge({})});
  bench.granted(at(10ms), bench.sent() + 1);
  bench.feed(at(100ms), Tick{});
  bench.granted(at(110ms), bench.sent());
  ASSERT_NE(bench.guard.published_until(), Instant{});
  Beat of_survivor{1, 33, {}, {}};
  of_survivor.lineage = Epoch{900};
  const auto* withdrawn = bench.step<Publish>(at(120ms), BeatReceived{kThree, of_survivor});
  ASSERT_NE(withdrawn, nullptr);
  EXPECT_EQ(withdrawn->until, Instant{});
  const auto* sent = bench.step<SendBeat>(at(250ms), Tick{});
  ASSERT_NE(sent, nullptr);
  EXPECT_TRUE(sent->beat.granted.empty());
  EXPECT_EQ(sent->beat.lineage, Epoch{900});
  bench.granted(at(260ms), sent->beat.sequence);
  EXPECT_EQ(bench.guard.published_until(), Instant{}) << "granted or not";
  Bench next(bench.guard.knowledge());
  next.feed(at(0ms), ViewChanged{{kOne, kTwo}});
  next.feed(at(0ms), Tell{5, 1, knowledge({})});
  next.feed(at(100ms), Tick{});
  next.granted(at(110ms), next.sent());
  EXPECT_EQ(next.guard.published_until(), Instant{});
}

TEST(Guard, OfTheNewestLineageGoesOn) {
  Bench bench;
  bench.feed(at(0ms), ViewChanged{{kOne, kTwo}});
  Knowledge of_lineage = knowledge({});
  of_lineage.lineage = Epoch{900};
  bench.feed(at(0ms), Tell{5, 1, of_lineage});
  Beat of_two{1, 22, {}, {}};
  of_two.lineage = Epoch{900};
  bench.feed(at(50ms), BeatReceived{kTwo, of_two});
  bench.feed(at(200ms), Tick{});
  bench.of_two = 1;
  bench.granted(at(210ms), bench.sent());
  EXPECT_NE(bench.guard.published_until(), Instant{});
}

}  // namespace
}  // namespace baton::guard
