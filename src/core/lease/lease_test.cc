// The lease's rules: from the sending, by a majority, what remains by a grantor's account. docs/protocol.md,
// "Leases".
#include "src/core/lease/lease.h"

#include <gtest/gtest.h>

namespace baton::lease {
namespace {

constexpr ServerId kOne{1}, kTwo{2}, kThree{3};
constexpr Instant at(Duration duration) { return Instant{} + 100s + duration; }

Settings settings(ServerId self) { return {self, {{kOne, kTwo, kThree}, {}}, 1000ms, 100ms}; }

struct Pair {
  Lease one{settings(kOne), 11, at(0ms)};
  Lease two{settings(kTwo), 22, at(0ms)};
  Pair() {
    one.view_changed(at(0ms), {kOne, kTwo});
    two.view_changed(at(0ms), {kOne, kTwo});
  }
};

TEST(Lease, RunsFromTheSendingOfTheGrantedBeat) {
  Pair pair;
  const Beat beat = pair.one.make_beat(at(10ms));
  EXPECT_EQ(pair.one.lease_until(), Instant{});
  pair.two.beat_received(at(40ms), kOne, beat);
  pair.one.beat_received(at(90ms), kTwo, pair.two.make_beat(at(70ms)));
  EXPECT_EQ(pair.one.lease_until(), at(10ms) + 1000ms);
}

TEST(Lease, ABeatOfAnEarlierStartGrantsNothing) {
  Pair pair;
  pair.two.beat_received(at(40ms), kOne, pair.one.make_beat(at(10ms)));
  Lease again{settings(kOne), 12, at(50ms)};
  again.view_changed(at(50ms), {kOne, kTwo});
  again.make_beat(at(60ms));
  again.beat_received(at(90ms), kTwo, pair.two.make_beat(at(70ms)));
  EXPECT_EQ(again.lease_until(), Instant{});
}

TEST(Lease, WhatWasHeardInAnOlderViewIsNotGranted) {
  Pair pair;
  pair.two.beat_received(at(40ms), kOne, pair.one.make_beat(at(10ms)));
  pair.two.view_changed(at(50ms), {kOne, kTwo});
  EXPECT_TRUE(pair.two.make_beat(at(70ms)).heard.empty());
}

TEST(Lease, WithheldGrantsAreNotGiven) {
  Pair pair;
  pair.two.beat_received(at(40ms), kOne, pair.one.make_beat(at(10ms)));
  EXPECT_TRUE(pair.two.make_beat(at(70ms), {kOne}).heard.empty());
  EXPECT_EQ(pair.two.make_beat(at(80ms)).heard.at(kOne).sequence, 1u);
}

TEST(Lease, AGrantorRemembersWithDrift) {
  Pair pair;
  const Instant late = at(5s);
  pair.two.beat_received(late, kOne, pair.one.make_beat(late));
  EXPECT_EQ(pair.two.left(late).at(kOne), 0ms);  // not granted yet
  pair.two.make_beat(late + 50ms);
  EXPECT_GE(pair.two.left(late + 50ms).at(kOne), 960ms);
  EXPECT_EQ(pair.two.left(late + 1011ms).at(kOne), 0ms);
  EXPECT_EQ(pair.two.left(late).at(kThree), 0ms);
}

TEST(Lease, ARestartCountsAsAGrantToEverybody) {
  Lease fresh{settings(kTwo), 5, at(0ms)};
  EXPECT_GE(fresh.left(at(0ms)).at(kOne), 1010ms);
  EXPECT_GE(fresh.left(at(0ms)).at(kTwo), 1010ms);
  EXPECT_EQ(fresh.left(at(1011ms)).at(kOne), 0ms);
}

TEST(Lease, SilenceIsJudgedByOwnBeatsThatCameBack) {
  Pair pair;
  pair.one.beat_received(at(20ms), kOne, pair.one.make_beat(at(10ms)));
  EXPECT_TRUE(pair.one.silent(500ms).empty());
  const Beat late = pair.one.make_beat(at(800ms));  // this one was paused, or the other: not known yet
  EXPECT_TRUE(pair.one.silent(500ms).empty());
  pair.one.beat_received(at(810ms), kOne, late);
  EXPECT_EQ(pair.one.silent(500ms), std::set<ServerId>{kTwo});
  pair.one.beat_received(at(820ms), kTwo, pair.two.make_beat(at(815ms)));
  EXPECT_TRUE(pair.one.silent(500ms).empty());
}

TEST(Lease, AloneIsAMajorityOfOne) {
  Lease only{{kOne, {{kOne}, {}}, 1000ms, 100ms}, 1, at(0ms)};
  only.view_changed(at(0ms), {kOne});
  only.make_beat(at(7ms));
  EXPECT_EQ(only.lease_until(), at(1007ms));
}

TEST(Lease, WhileVotersChangeBothMajoritiesMustGrant) {
  constexpr ServerId kFour{4};
  Pair pair;
  const VoterSet joint{{kOne, kThree, kFour}, {kOne, kTwo, kThree}};
  pair.one.set_voters(joint, 7, {});
  pair.two.set_voters(joint, 7, {});
  pair.two.beat_received(at(40ms), kOne, pair.one.make_beat(at(10ms)));
  pair.one.beat_received(at(90ms), kTwo, pair.two.make_beat(at(70ms)));
  EXPECT_EQ(pair.one.lease_until(), Instant{}) << "two of the old three, but one of the new";
  Lease three{settings(kThree), 33, at(0ms)};
  three.view_changed(at(0ms), {kOne, kThree});
  three.set_voters(joint, 7, {});
  three.beat_received(at(95ms), kOne, pair.one.make_beat(at(92ms)));
  pair.one.view_changed(at(96ms), {kOne, kThree});
  pair.one.beat_received(at(97ms), kThree, three.make_beat(at(97ms)));
  EXPECT_EQ(pair.one.lease_until(), at(92ms) + 1000ms);
}

TEST(Lease, WhoDoesNotKnowTheNewestVotersIsGrantedNothing) {
  Pair pair;
  pair.two.beat_received(at(40ms), kOne, pair.one.make_beat(at(10ms)));
  pair.two.set_voters({{kTwo, kThree}, {kOne, kTwo, kThree}}, 7, {});
  EXPECT_TRUE(pair.two.make_beat(at(70ms)).heard.empty());
  pair.one.set_voters({{kTwo, kThree}, {kOne, kTwo, kThree}}, 7, {});
  pair.two.beat_received(at(80ms), kOne, pair.one.make_beat(at(75ms)));
  EXPECT_EQ(pair.two.make_beat(at(90ms)).heard.size(), 1u);
}

TEST(Lease, TellsOfEveryServerThatMayHoldOne) {
  Lease fresh{settings(kTwo), 5, at(0ms)};
  constexpr ServerId kNew{9};
  fresh.set_voters({{kTwo, kThree}, {}}, 7, {kNew});
  const auto left = fresh.left(at(0ms));
  EXPECT_TRUE(left.contains(kNew) && left.contains(kThree) && !left.contains(kOne));
}

}  // namespace
}  // namespace baton::lease
