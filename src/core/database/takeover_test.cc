// Two voters without a third: an operator lets one decide alone, and what becomes of that. docs/protocol.md, "Partitions and
// takeover".
#include "src/core/database/test_cluster.h"

namespace baton::database {
namespace {

const std::set<ServerId> kBoth{kOne, kTwo};

struct Pair : TestCluster {
  Pair() : TestCluster(2) {
    view(kBoth);
    pass(1s);
    EXPECT_TRUE(serves(1) && serves(2));
  }

  bool serves(uint32_t id) { return database(id).standing().serving; }
  /// Each sees itself only.
  void part() {
    for (const ServerId id : kBoth) apart(id);
    pass(1s);
  }
  void apart(ServerId id) {
    members = {id};
    step(id, ViewChanged{members});
    settle();
  }
  /// Only `id` is there, alone; time passes.
  void alone(ServerId id, Duration duration) {
    bus.clear();
    apart(id);
    pass(duration);
  }
  void right(uint32_t id, bool has) { step(ServerId{id}, AloneRight{has, kBoth}); }
  /// ... by ping targets.
  void by_itself(uint32_t id) { step(ServerId{id}, AloneRight{true, kBoth, true}); }
  std::string take_over(uint32_t id, int64_t wall_ms = 0) {
    auto& voter = voters[ServerId{id}];
    voter.decided.clear();
    members = {ServerId{id}};
    step(ServerId{id}, ProposeCommand{++request, TakeOver{ServerId{id}, "the other one is off", "test"}, wall_ms});
    settle();
    right(id, true);
    pass(1s);
    return voter.decided.empty() ? "no answer" : voter.decided.back().outcome.refusal;
  }
  void propose(uint32_t id, const std::string& text) {
    step(ServerId{id}, ProposeCommand{++request, RestrictMirror{text, 0, kOne, true, ""}, 0});
    pass(1s);
  }
  bool has(uint32_t id, const std::string& text) {
    for (const auto& entry : voters[ServerId{id}].disk.entries)
      if (const auto* found = std::get_if<RestrictMirror>(&entry.command); found != nullptr && found->mirror == text) return true;
    return false;
  }
  void power_cycle(uint32_t id) {
    start(ServerId{id});
    right(id, false);
  }

  uint64_t request = 100;
};

TEST(Takeover, AloneNobodyDecidesUntilAnOperatorSaysSo) {
  Pair pair;
  pair.part();
  EXPECT_FALSE(pair.serves(1));
  EXPECT_FALSE(pair.serves(2));
  EXPECT_EQ(pair.take_over(2), "");
  EXPECT_TRUE(pair.serves(2));
  EXPECT_EQ(pair.database(2).voters(), (VoterSet{{kTwo}, {}}));
  EXPECT_EQ(pair.database(2).state().taken_over, kTwo);
  pair.propose(2, "alone");
  EXPECT_TRUE(pair.has(2, "alone"));
  EXPECT_FALSE(pair.serves(1));
}

TEST(Takeover, IsRefusedWhileAMajorityServes) {
  Pair pair;
  pair.step(kOne, ProposeCommand{7, TakeOver{kOne, "", ""}, 0});
  pair.pass(1s);
  ASSERT_EQ(pair.voters[kOne].decided.size(), 1u);
  EXPECT_FALSE(pair.voters[kOne].decided[0].outcome.applied);
  EXPECT_EQ(pair.database(1).voters(), (VoterSet{kBoth, {}}));
}

TEST(Takeover, ALostDatabaseTakesNothingOver) {
  Pair pair;
  pair.part();
  pair.voters[kTwo].disk = StoredVoter{};
  pair.power_cycle(2);
  EXPECT_NE(pair.take_over(2), "");
  EXPECT_FALSE(pair.serves(2));
}

TEST(Takeover, WhoComesBackLosesWhatItHadUncommittedAndLearns) {
  Pair pair;
  // An entry of the leader that the other one never got.
  pair.lose = [](ServerId, ServerId to, const Message&) { return to == kTwo; };
  pair.propose(1, "never committed");
  EXPECT_TRUE(pair.has(1, "never committed"));
  pair.lose = nullptr;
  pair.part();
  pair.pass(6s);  // its proposer has given up: nobody asks for it again
  EXPECT_EQ(pair.take_over(2), "");
  pair.propose(2, "alone");
  pair.view(kBoth);
  pair.pass(3s);
  EXPECT_TRUE(pair.serves(1) && pair.serves(2));
  EXPECT_TRUE(pair.has(1, "alone"));
  EXPECT_FALSE(pair.has(1, "never committed"));
  EXPECT_EQ(pair.database(1).standing().leader, kTwo);
}

TEST(Takeover, AfterItsPowerWasOffItWaitsForTheOtherOneOrAnOperator) {
  Pair pair;
  pair.part();
  EXPECT_EQ(pair.take_over(2), "");
  pair.power_cycle(2);
  pair.alone(kTwo, 5s);
  EXPECT_FALSE(pair.serves(2)) << "W4";
  EXPECT_NE(pair.database(2).standing().waiting.find("was let go on alone"), std::string::npos);
  EXPECT_EQ(pair.take_over(2), "");
  EXPECT_TRUE(pair.serves(2));
  pair.power_cycle(2);
  pair.view(kBoth);
  pair.pass(3s);
  EXPECT_TRUE(pair.serves(1) && pair.serves(2)) << "all agree";
}

TEST(Takeover, ABatondThatKeepsItsRightGoesOn) {
  Pair pair;
  pair.part();
  EXPECT_EQ(pair.take_over(2), "");
  pair.start(kTwo);
  pair.right(2, true);
  pair.alone(kTwo, 1s);
  EXPECT_TRUE(pair.serves(2));
  pair.right(2, false);
  EXPECT_FALSE(pair.serves(2));
  pair.pass(3s);
  EXPECT_FALSE(pair.serves(2));
}

/// Whatever its log says of epochs: the one that decides alone now was taken over later than one that only returns.
TEST(Takeover, TakenOverInTurnsTheOneThatHasARightStays) {
  for (const int64_t clock_of_first : {0, 2000000}) {
    Pair pair;
    pair.part();
    EXPECT_EQ(pair.take_over(1, clock_of_first), "");
    pair.propose(1, "of the first");
    pair.power_cycle(1);
    EXPECT_EQ(pair.take_over(2, 1000000), "");
    pair.propose(2, "of the second");
    pair.view(kBoth);
    pair.pass(4s);
    EXPECT_TRUE(pair.serves(1) && pair.serves(2)) << clock_of_first;
    EXPECT_TRUE(pair.has(1, "of the second"));
    EXPECT_FALSE(pair.has(1, "of the first"));
    EXPECT_TRUE(pair.has(2, "of the second"));
  }
}

/// Paused for long while it decided alone, it has lost its right, but still knows what it had applied.
TEST(Takeover, WhoWakesUpAfterTheOtherOneWasTakenOverBeginsAnew) {
  Pair pair;
  pair.part();
  EXPECT_EQ(pair.take_over(1, 1000000), "");
  pair.propose(1, "of the first");
  EXPECT_EQ(pair.take_over(2, 2000000), "");
  pair.propose(2, "of the second");
  pair.right(1, false);
  pair.view(kBoth);
  pair.pass(2s);
  EXPECT_TRUE(pair.voters[kOne].overruled);
  EXPECT_TRUE(pair.serves(2));
  pair.power_cycle(1);
  pair.view(kBoth);
  pair.pass(4s);
  EXPECT_TRUE(pair.serves(1) && pair.serves(2));
  EXPECT_FALSE(pair.has(1, "of the first"));
  EXPECT_TRUE(pair.has(1, "of the second"));
}

TEST(Takeover, TakenOverInTurnsAndBothOffSinceAPersonDecides) {
  Pair pair;
  pair.part();
  EXPECT_EQ(pair.take_over(1, 2000000), "");
  pair.propose(1, "of the first");
  pair.power_cycle(1);
  EXPECT_EQ(pair.take_over(2, 1000000), "");
  pair.propose(2, "of the second");
  pair.power_cycle(2);
  pair.view(kBoth);
  pair.pass(10s);
  EXPECT_FALSE(pair.serves(1));
  EXPECT_FALSE(pair.serves(2));
  pair.members = kBoth;
  pair.step(kTwo, ProposeCommand{++pair.request, TakeOver{kTwo, "", ""}, 3000000});
  pair.settle();
  pair.right(2, true);
  pair.pass(4s);
  EXPECT_TRUE(pair.serves(1) && pair.serves(2));
  EXPECT_TRUE(pair.has(1, "of the second"));
  EXPECT_FALSE(pair.has(2, "of the first"));
}

/// The second one knew all that the first one had decided: nothing is given up.
TEST(Takeover, TakenOverInTurnsTheOneThatHasAllOfTheOtherGoesOn) {
  Pair pair;
  pair.part();
  EXPECT_EQ(pair.take_over(1, 2000000), "");
  pair.propose(1, "of the first");
  pair.voters[kTwo].disk = pair.voters[kOne].disk;
  pair.power_cycle(1);
  pair.power_cycle(2);
  pair.apart(kTwo);
  EXPECT_EQ(pair.take_over(2, 1000000), "");
  pair.propose(2, "of the second");
  pair.power_cycle(2);
  pair.view(kBoth);
  pair.pass(10s);
  EXPECT_TRUE(pair.serves(1) && pair.serves(2));
  EXPECT_TRUE(pair.has(1, "of the first") && pair.has(1, "of the second"));
}

/// Against the first rule of taking over. The later one stays, the other one is to be started anew.
TEST(Takeover, BothDecideAloneAndMeet) {
  Pair pair;
  pair.part();
  EXPECT_EQ(pair.take_over(1, 1000000), "");
  EXPECT_EQ(pair.take_over(2, 2000000), "");
  pair.propose(1, "of the first");
  std::vector<Action> actions;
  pair.view(kBoth);
  pair.database(1).step(pair.now, MessageReceived{kTwo, Prepare{make_epoch(90000, kTwo), make_epoch(2000, kTwo)}}, actions);
  EXPECT_TRUE(std::any_of(actions.begin(), actions.end(),
                          [](const auto& action) { return std::holds_alternative<Overruled>(action); }));
  pair.power_cycle(1);
  pair.view(kBoth);
  pair.pass(4s);
  EXPECT_TRUE(pair.serves(1) && pair.serves(2));
  EXPECT_FALSE(pair.has(1, "of the first"));
}

/// T7. Both went on by ping targets: neither is given up before a person says so.
TEST(Takeover, BothDecideAloneByThemselvesAndMeetAPersonDecides) {
  Pair pair;
  pair.part();
  EXPECT_EQ(pair.take_over(1, 1000000), "");
  pair.by_itself(1);
  pair.propose(1, "of the first");
  EXPECT_EQ(pair.take_over(2, 2000000), "");
  pair.by_itself(2);
  pair.propose(2, "of the second");
  pair.view(kBoth);
  pair.pass(4s);
  EXPECT_TRUE(pair.voters[kOne].rivalled && pair.voters[kTwo].rivalled);
  EXPECT_FALSE(pair.serves(1) || pair.serves(2));
  EXPECT_FALSE(pair.voters[kOne].overruled || pair.voters[kTwo].overruled);
  EXPECT_TRUE(pair.has(1, "of the first") && pair.has(2, "of the second"));
}

/// ... and where only one did it goes on when it has the other one's promise.
TEST(Takeover, OneThatWentOnByItselfMeetsTheOtherOne) {
  Pair pair;
  pair.part();
  EXPECT_EQ(pair.take_over(1, 1000000), "");
  pair.by_itself(1);
  pair.propose(1, "of the first");
  pair.view(kBoth);
  pair.pass(4s);
  EXPECT_TRUE(pair.serves(1) && pair.serves(2));
  EXPECT_FALSE(pair.voters[kOne].rivalled || pair.voters[kTwo].rivalled);
  EXPECT_TRUE(pair.has(2, "of the first"));
}

TEST(Takeover, TheOtherOneVotesAgainByAJointChange) {
  Pair pair;
  pair.part();
  EXPECT_EQ(pair.take_over(2), "");
  pair.view(kBoth);
  pair.pass(3s);
  const SetVoters change{VoterSet{kBoth, {kTwo}}};
  EXPECT_EQ(pair.database(2).why_not_change(change.voters), "");
  pair.step(kTwo, ProposeCommand{++pair.request, change, 0});
  pair.pass(2s);
  for (uint32_t id : {1, 2}) {
    EXPECT_EQ(pair.database(id).voters(), (VoterSet{kBoth, {}}));
    EXPECT_EQ(pair.database(id).state().taken_over, ServerId{});
    EXPECT_FALSE(pair.database(id).taken_over());
  }
  pair.part();
  EXPECT_FALSE(pair.serves(2)) << "together again";
}

TEST(Takeover, ThatIsNotOnDiskHasNotHappened) {
  Pair pair;
  pair.part();
  pair.voters[kTwo].disk_works = false;
  pair.members = {kTwo};
  pair.step(kTwo, ProposeCommand{++pair.request, TakeOver{kTwo, "", ""}, 0});
  pair.settle();
  EXPECT_FALSE(pair.serves(2));
  pair.voters[kTwo].disk_works = true;
  pair.power_cycle(2);
  EXPECT_EQ(pair.database(2).voters(), (VoterSet{kBoth, {}}));
}

}  // namespace
}  // namespace baton::database
