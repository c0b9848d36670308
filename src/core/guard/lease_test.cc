// The lease's rules: from the sending, by a majority, what remains by a grantor's account. docs/protocol.md,
// "Leases".
#include "src/core/guard/lease.h"

#include <gtest/gtest.h>

namespace baton::guard {
namespace {

constexpr ServerId kOne{1}, kTwo{2}, kThree{3};
constexpr Instant at(Duration duration) { return Instant{} + 100s + duration; }

Settings settings(ServerId self) { return {self, {kOne, kTwo, kThree}, 1000ms, 100ms}; }

/// Everybody may be granted everything, unless a test says otherwise.
struct Pair {
  Lease one{settings(kOne), 11, at(0ms)};
  Lease two{settings(kTwo), 22, at(0ms)};
  Pair() {
    for (Lease* each : {&one, &two}) {
      each->view_changed({kOne, kTwo});
      each->set_knowledge(true, {}, {});
    }
  }
};

Duration left(const Account& account, ServerId server, Instant now) { return account.at(server) - now; }

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
  again.view_changed({kOne, kTwo});
  again.set_knowledge(true, {}, {});
  again.make_beat(at(60ms));
  again.beat_received(at(90ms), kTwo, pair.two.make_beat(at(70ms)));
  EXPECT_EQ(again.lease_until(), Instant{});
}

TEST(Lease, WhatWasHeardInAnOlderViewIsNotGranted) {
  Pair pair;
  pair.two.beat_received(at(40ms), kOne, pair.one.make_beat(at(10ms)));
  pair.two.view_changed({kOne, kTwo});
  EXPECT_TRUE(pair.two.make_beat(at(70ms)).granted.empty());
}

TEST(Lease, BelowItsFenceABeatIsNotGranted) {
  Pair pair;
  const LogPosition taken{Epoch{65}, 7};
  pair.one.set_knowledge(true, {Epoch{65}, 6}, {});
  pair.two.set_knowledge(true, {}, {{kOne, taken}});
  pair.two.beat_received(at(40ms), kOne, pair.one.make_beat(at(10ms)));
  EXPECT_TRUE(pair.two.make_beat(at(70ms)).granted.empty());
  pair.one.set_knowledge(true, taken, {});
  pair.two.beat_received(at(80ms), kOne, pair.one.make_beat(at(75ms)));
  EXPECT_EQ(pair.two.make_beat(at(90ms)).granted.at(kOne).sequence, 2u);
}

TEST(Lease, AnEarlierEpochIsBelowWhateverItsIndex) {
  Pair pair;
  pair.one.set_knowledge(true, {Epoch{65}, 900}, {});
  pair.two.set_knowledge(true, {}, {{kOne, {Epoch{130}, 7}}});
  pair.two.beat_received(at(40ms), kOne, pair.one.make_beat(at(10ms)));
  EXPECT_TRUE(pair.two.make_beat(at(70ms)).granted.empty());
}

TEST(Lease, BehindItsOwnFenceAServerRenewsNothing) {
  Pair pair;
  pair.one.set_knowledge(true, {Epoch{65}, 6}, {{kOne, {Epoch{65}, 7}}});
  EXPECT_TRUE(pair.one.fenced());
  pair.two.beat_received(at(40ms), kOne, pair.one.make_beat(at(10ms)));
  pair.one.beat_received(at(90ms), kTwo, pair.two.make_beat(at(70ms)));
  EXPECT_EQ(pair.one.lease_until(), Instant{});
}

TEST(Lease, WhoKnowsNothingGrantsNothing) {
  Pair pair;
  pair.two.set_knowledge(false, {}, {});
  pair.two.beat_received(at(40ms), kOne, pair.one.make_beat(at(10ms)));
  EXPECT_TRUE(pair.two.make_beat(at(70ms)).granted.empty());
}

TEST(Lease, ABeatSentBeforeAGapRenewsNothing) {
  Pair pair;
  pair.two.beat_received(at(40ms), kOne, pair.one.make_beat(at(10ms)));
  pair.one.forget_sent();
  pair.one.beat_received(at(90ms), kTwo, pair.two.make_beat(at(70ms)));
  EXPECT_EQ(pair.one.lease_until(), Instant{});
}

TEST(Lease, AGrantorRemembersWithDrift) {
  Pair pair;
  const Instant late = at(5s);
  pair.two.beat_received(late, kOne, pair.one.make_beat(late));
  EXPECT_EQ(left(pair.two.account(late), kOne, late), 0ms);  // not granted yet
  pair.two.make_beat(late + 50ms);
  EXPECT_GE(left(pair.two.account(late + 50ms), kOne, late + 50ms), 960ms);
  EXPECT_EQ(left(pair.two.account(late + 1011ms), kOne, late + 1011ms), 0ms);
  EXPECT_EQ(left(pair.two.account(late), kThree, late), 0ms);
}

TEST(Lease, GrantsAtOrAboveTheFenceCountInTheFullAccountAlone) {
  Pair pair;
  const Instant late = at(5s);
  pair.one.set_knowledge(true, {Epoch{65}, 6}, {});
  pair.two.beat_received(late, kOne, pair.one.make_beat(late));
  pair.two.make_beat(late);
  const auto fence_of_one = [&](uint64_t index) { pair.two.set_knowledge(true, {}, {{kOne, {Epoch{65}, index}}}); };
  fence_of_one(6);
  EXPECT_EQ(left(pair.two.account_below_fences(late), kOne, late), 0ms);
  EXPECT_GE(left(pair.two.account(late), kOne, late), 1010ms);
  fence_of_one(7);
  EXPECT_GE(left(pair.two.account_below_fences(late), kOne, late), 1010ms);
}

TEST(Lease, ARestartCountsAsAGrantToEverybody) {
  Lease fresh{settings(kTwo), 5, at(0ms)};
  for (const ServerId each : {kOne, kTwo}) {
    EXPECT_GE(left(fresh.account(at(0ms)), each, at(0ms)), 1010ms);
    EXPECT_GE(left(fresh.account_below_fences(at(0ms)), each, at(0ms)), 1010ms);
  }
  EXPECT_EQ(left(fresh.account(at(1011ms)), kOne, at(1011ms)), 0ms);
}

TEST(Lease, AloneIsAMajorityOfOne) {
  Lease only{{kOne, {kOne}, 1000ms, 100ms}, 1, at(0ms)};
  only.view_changed({kOne});
  only.set_knowledge(true, {}, {});
  only.make_beat(at(7ms));
  EXPECT_EQ(only.lease_until(), at(1007ms));
}

TEST(Lease, WhileVotersChangeBothMajoritiesMustGrant) {
  constexpr ServerId kFour{4};
  const VoterSet joint{{kOne, kThree, kFour}, {kOne, kTwo, kThree}};
  Pair pair;
  pair.one.set_voters(joint, {});
  pair.two.beat_received(at(40ms), kOne, pair.one.make_beat(at(10ms)));
  pair.one.beat_received(at(90ms), kTwo, pair.two.make_beat(at(70ms)));
  EXPECT_EQ(pair.one.lease_until(), Instant{}) << "two of the old three, but one of the new";
  Lease three{settings(kThree), 33, at(0ms)};
  three.view_changed({kOne, kThree});
  three.set_knowledge(true, {}, {});
  pair.one.view_changed({kOne, kThree});
  three.beat_received(at(95ms), kOne, pair.one.make_beat(at(92ms)));
  pair.one.beat_received(at(98ms), kThree, three.make_beat(at(97ms)));
  EXPECT_EQ(pair.one.lease_until(), at(92ms) + 1000ms);
}

TEST(Lease, AChangeOfVotersIsAFenceOfEverybodyElse) {
  constexpr LogPosition kChange{Epoch{65}, 7};
  const VoterSet voters{{kOne, kTwo, kThree}, {}};
  Pair pair;
  pair.two.beat_received(at(40ms), kOne, pair.one.make_beat(at(10ms)));
  pair.two.set_voters(voters, kChange);
  EXPECT_TRUE(pair.two.make_beat(at(50ms)).granted.empty()) << "it may still count by those of before";
  EXPECT_FALSE(pair.two.fenced()) << "it goes by the change itself";
  pair.one.set_knowledge(true, kChange, {});
  pair.one.set_voters(voters, kChange);
  pair.two.beat_received(at(70ms), kOne, pair.one.make_beat(at(60ms)));
  EXPECT_TRUE(pair.two.make_beat(at(80ms)).granted.contains(kOne));
}

TEST(Lease, TellsOfVotersThatCameLater) {
  constexpr ServerId kNew{9};
  Lease fresh{settings(kTwo), 5, at(0ms)};
  fresh.set_voters({{kTwo, kThree, kNew}, {}}, {});
  EXPECT_EQ(fresh.account(at(0ms)).at(kNew), at(0ms) + with_drift(1000ms)) << "who knows what was granted before";
}

}  // namespace
}  // namespace baton::guard
