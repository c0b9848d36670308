// Who is heard, who is a member and who must stand down after a recovery. docs/protocol.md, "Recovery".
#include "src/core/node/lineage_gate.h"

#include <gtest/gtest.h>

namespace baton::node {
namespace {

constexpr ServerId kOne{1}, kTwo{2}, kThree{3};
constexpr Epoch kOld{}, kNew{1000};
constexpr Instant at(Duration duration) { return Instant{} + 100s + duration; }
const std::set<ServerId> kAll{kOne, kTwo, kThree};

struct Bench {
  explicit Bench(Epoch own = kOld, bool given_up = false) : gate(kOne, own, given_up) {}

  const GateActions& view(Instant now, const std::set<ServerId>& members) {
    actions = {};
    gate.view_changed(now, {members, {}}, actions);
    return actions;
  }
  const GateActions& hear(ServerId from, Message message, Epoch lineage = kOld) {
    actions = {};
    gate.message_received({from, std::move(message), lineage}, actions);
    return actions;
  }
  const GateActions& hello(ServerId from, Epoch lineage = kOld, const std::set<ServerId>& survivors = {}) {
    return hear(from, Hello{survivors, {}, 0}, lineage);
  }
  const GateActions& guards(const std::set<ServerId>& heard, Epoch lineage = kOld) {
    actions = {};
    gate.guard_heard(lineage, heard, actions);
    return actions;
  }
  const GateActions& tick(Instant now) {
    actions = {};
    gate.tick(now, actions);
    return actions;
  }
  std::set<ServerId> members() const {
    for (auto event = actions.pass.rbegin(); event != actions.pass.rend(); ++event)
      if (const auto* view = std::get_if<ViewChanged>(&*event)) return view->members;
    return {ServerId{99}};  // no view
  }
  size_t messages() const {
    return static_cast<size_t>(std::count_if(actions.pass.begin(), actions.pass.end(),
                                             [](const Event& event) { return std::holds_alternative<MessageReceived>(event); }));
  }

  LineageGate gate;
  GateActions actions;
};

Message database_word() { return database::Message{database::Prepare{Epoch{65}}}; }

TEST(LineageGate, NobodyOpensAnEpochBeforeNewcomersWereHeard) {
  Bench bench;
  bench.view(at(0s), kAll);
  EXPECT_EQ(bench.members(), kAll);
  EXPECT_TRUE(bench.actions.say_hello);
  bench.guards(kAll);
  bench.hello(kTwo);
  EXPECT_EQ((bench.hear(kTwo, database_word()), bench.messages()), 0u);
  EXPECT_EQ((bench.hear(kTwo, BeatMessage{}), bench.messages()), 1u) << "only the database waits";
  EXPECT_EQ((bench.hello(kThree), bench.messages()), 1u) << "what was held";
  EXPECT_EQ((bench.hear(kTwo, database_word()), bench.messages()), 1u);
}

TEST(LineageGate, WaitsForThoseThatHangOnlyForAWhile) {
  Bench bench;
  bench.view(at(0s), kAll);
  bench.guards(kAll);
  bench.hello(kTwo);
  bench.hear(kTwo, database_word());
  EXPECT_EQ((bench.tick(at(2900ms)), bench.messages()), 0u);
  EXPECT_EQ((bench.tick(at(3000ms)), bench.messages()), 1u);
  bench.view(at(10s), {kOne, kTwo});
  bench.view(at(11s), kAll);
  bench.hear(kTwo, database_word());
  EXPECT_EQ((bench.tick(at(11400ms)), bench.messages()), 0u);
  EXPECT_EQ((bench.tick(at(11500ms)), bench.messages()), 1u);
}

TEST(LineageGate, TheFirstTimeAlsoForTheGuards) {
  Bench bench;
  bench.view(at(0s), {kOne, kTwo});
  bench.hello(kTwo);
  bench.hear(kTwo, database_word());
  EXPECT_EQ((bench.guards({kOne}), bench.messages()), 0u) << "its guard does not see the others yet";
  EXPECT_EQ((bench.guards({kOne, kTwo}), bench.messages()), 1u);
}

TEST(LineageGate, AGuardOfALaterLineageShutsIt) {
  Bench bench;
  bench.view(at(0s), {kOne, kTwo});
  bench.hello(kTwo);
  bench.hear(kTwo, database_word());
  bench.guards(kAll, kNew);
  EXPECT_TRUE(bench.gate.outdated());
  EXPECT_EQ(bench.members(), std::set<ServerId>{});
  EXPECT_EQ(bench.messages(), 0u);
  EXPECT_EQ((bench.hear(kTwo, database_word()), bench.messages()), 0u);
  EXPECT_FALSE(bench.actions.stand_down) << "it may be a survivor";
  bench.view(at(1s), kAll);
  EXPECT_EQ(bench.members(), std::set<ServerId>{});
  EXPECT_TRUE(bench.hello(kThree, kNew, {kThree}).stand_down);
}

TEST(LineageGate, WhoWasGivenUpSeesNobodyAnyMore) {
  Bench bench;
  bench.view(at(0s), kAll);
  bench.hello(kThree, kNew, {kThree});
  ASSERT_TRUE(bench.actions.stand_down);
  EXPECT_FALSE(bench.actions.stand_down->survivor);
  EXPECT_EQ(bench.actions.stand_down->lineage, kNew);
  EXPECT_EQ(bench.members(), std::set<ServerId>{});
  EXPECT_EQ((bench.hear(kTwo, database_word()), bench.messages()), 0u);
  bench.view(at(1s), {kOne, kTwo});
  EXPECT_EQ(bench.members(), std::set<ServerId>{});
  EXPECT_TRUE(bench.actions.say_hello) << "others are to hear whom they see";
}

/// What it said in an earlier view may be of a log that has grown since.
TEST(LineageGate, AHelloIsOfItsView) {
  Bench bench;
  bench.view(at(0s), {kOne, kTwo});
  bench.hello(kTwo);
  EXPECT_TRUE(bench.gate.hellos().contains(kTwo));
  bench.view(at(1s), kAll);
  EXPECT_FALSE(bench.gate.hellos().contains(kTwo));
}

TEST(LineageGate, AlsoAfterARestart) {
  Bench bench(kOld, true);
  bench.view(at(0s), {kOne, kTwo});
  EXPECT_EQ(bench.members(), std::set<ServerId>{});
}

TEST(LineageGate, ASurvivorBeginsAnew) {
  Bench bench;
  bench.view(at(0s), {kOne, kThree});
  bench.hello(kThree, kNew, {kOne, kThree});
  ASSERT_TRUE(bench.actions.stand_down);
  EXPECT_TRUE(bench.actions.stand_down->survivor);
}

TEST(LineageGate, TheSurvivorRefusesThoseOfThePast) {
  Bench bench(kNew);
  bench.view(at(0s), kAll);
  bench.guards(kAll);
  bench.hello(kTwo, kNew);
  bench.hello(kThree, kOld);
  EXPECT_EQ(bench.actions.refused, std::set<ServerId>{kThree});
  EXPECT_EQ(bench.members(), (std::set<ServerId>{kOne, kTwo}));
  EXPECT_EQ((bench.hear(kThree, database_word(), kOld), bench.messages()), 0u);
  EXPECT_EQ((bench.hear(kTwo, database_word(), kNew), bench.messages()), 1u);
  EXPECT_EQ(bench.gate.refused(), std::set<ServerId>{kThree});
}

TEST(LineageGate, OneThatDoesNotCountFitsEverywhere) {
  Bench bench(kNew);
  bench.view(at(0s), {kOne, kTwo});
  bench.guards({kOne, kTwo});
  bench.hello(kTwo, kNoLineage);
  EXPECT_TRUE(bench.actions.refused.empty());
  EXPECT_EQ((bench.hear(kTwo, database_word(), kNoLineage), bench.messages()), 1u);
}

/// A recovery here, while a survivor and one of the past are members.
TEST(LineageGate, ItsOwnRecoveryIsToldAtOnce) {
  Bench bench;
  bench.view(at(0s), {kOne, kTwo});
  bench.guards({kOne, kTwo});
  bench.hello(kTwo);
  bench.actions = {};
  bench.gate.own_changed(kNew, bench.actions);
  EXPECT_TRUE(bench.actions.say_hello);
  EXPECT_EQ(bench.actions.refused, std::set<ServerId>{kTwo});
  EXPECT_EQ(bench.members(), std::set<ServerId>{kOne});
  bench.hello(kTwo, kNoLineage);
  EXPECT_EQ(bench.members(), (std::set<ServerId>{kOne, kTwo})) << "it has begun anew";
}

}  // namespace
}  // namespace baton::node
