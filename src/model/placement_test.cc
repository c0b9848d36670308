// The rules of placement as every voter judges them when commands are applied, and what the state remembers for failback.
#include "src/model/placement.h"

#include <gtest/gtest.h>

#include "src/model/command.h"
#include "src/model/configuration_toml.h"

namespace baton {
namespace {

const ServerId kOne(1), kTwo(2);

std::string text_of(const std::string& first, const std::string& second) {
  std::string text = "[cluster]\nname = \"two\"\n";
  for (int id : {1, 2})
    text += fmt::format("[server.server{}]\nid = {}\ninterconnects = [\"10.0.1.{}\"]\ncapacity = {{ memory = 4 }}\n", id, id, id);
  for (const auto& [name, keys] : {std::pair("db", first), std::pair("web", second)})
    text += fmt::format("[group.{0}]\nservers = [\"server1\", \"server2\"]\n{1}[group.{0}.service.daemon]\ncommand = [\"/bin/{0}\"]\n",
                        name, keys);
  return text;
}

class Placements : public ::testing::Test {
 protected:
  Applied apply(const Command& command) { return apply_command(state_, command, ++index_); }

  Applied configure(const std::string& first, const std::string& second) {
    return apply(ApplyConfiguration{state_.configuration_version, text_of(first, second), "anna", kFormatLevel});
  }

  Applied assign(const std::string& group, ServerId server) {
    AssignGroup command;
    command.group = group;
    command.expected_version = state_.groups.at(group).version;
    command.server = server;
    return apply(command);
  }

  Applied phase(const std::string& group, GroupPhase to, const std::string& failure = "") {
    const GroupState& state = state_.groups.at(group);
    return apply(SetGroupPhase{group, state.version, state.owner, to, failure, failure, {}, "", 5000, false});
  }

  Applied wish(const std::string& group, ServerId target, const std::string& author) {
    return apply(WishGroup{group, state_.groups.at(group).version, true, target, "asked", author, {}});
  }

  ClusterState state_;
  uint64_t index_ = 0;
};

TEST_F(Placements, TwoAssignmentsUnderWayDoNotPutAnExclusiveGroupBesideAnother) {
  ASSERT_TRUE(configure("exclusive = true\n", "").applied);
  ASSERT_TRUE(assign("db", kOne).applied);
  const Applied refused = assign("web", kOne);
  EXPECT_FALSE(refused.applied);
  EXPECT_EQ(refused.refusal, "server1 has group db on it, which is exclusive");
  EXPECT_TRUE(assign("web", kTwo).applied);
}

TEST_F(Placements, GroupsThatAreKeptApartAreRefusedWhicheverSaysSo) {
  ASSERT_TRUE(configure("apart_from = [\"web\"]\n", "").applied);
  ASSERT_TRUE(assign("db", kOne).applied);
  EXPECT_EQ(assign("web", kOne).refusal, "server1 has group db on it, from which group web is kept apart");
}

TEST_F(Placements, AGroupThatStopsKeepsItsRoomUntilItIsDown) {
  ASSERT_TRUE(configure("needs = { memory = 3 }\n", "needs = { memory = 2 }\n").applied);
  ASSERT_TRUE(assign("db", kOne).applied);
  ASSERT_TRUE(phase("db", GroupPhase::kStopping).applied);
  EXPECT_EQ(assign("web", kOne).refusal, "server1 has no room for group web: it needs 2 memory, 1 are free");
  ASSERT_TRUE(phase("db", GroupPhase::kStopped).applied);
  EXPECT_TRUE(assign("web", kOne).applied);
}

TEST_F(Placements, AGroupIsGivenOnlyWhereTheOneIsThatItRunsWith) {
  ASSERT_TRUE(configure("", "with = [\"db\"]\n").applied);
  EXPECT_FALSE(assign("web", kOne).applied);
  ASSERT_TRUE(assign("db", kTwo).applied);
  EXPECT_EQ(assign("web", kOne).refusal, "server1 lacks group db, with which group web runs, and which is on server2");
  EXPECT_TRUE(assign("web", kTwo).applied);
}

TEST_F(Placements, RulesThatRunningGroupsDoNotKeepAreNotApplied) {
  ASSERT_TRUE(configure("", "").applied);
  ASSERT_TRUE(assign("db", kOne).applied);
  ASSERT_TRUE(assign("web", kOne).applied);
  const Applied refused = configure("exclusive = true\n", "");
  EXPECT_FALSE(refused.applied);
  EXPECT_NE(refused.refusal.find("stop or move one of them first"), std::string::npos) << refused.refusal;
  ASSERT_TRUE(phase("web", GroupPhase::kStopped).applied);
  EXPECT_TRUE(configure("exclusive = true\n", "").applied);
}

TEST_F(Placements, TheRulesAreOfLevelThree) {
  for (const char* keys : {"exclusive = true\n", "apart_from = [\"web\"]\n", "failback = \"online\"\n", "needs = { memory = 1 }\n"})
    EXPECT_EQ(parse_configuration(text_of(keys, ""))->level, 3U) << keys;
  EXPECT_EQ(parse_configuration("[cluster]\nname = \"a\"\n[server.a]\nid = 1\ninterconnects = [\"10.0.1.1\"]\n")->level, 1U);
}

TEST_F(Placements, WhatAPersonHasPutSomewhereIsRememberedUntilItGoesElsewhere) {
  ASSERT_TRUE(configure("", "").applied);
  const GroupState& db = state_.groups.at("db");
  ASSERT_TRUE(wish("db", kTwo, "anna").applied);
  ASSERT_TRUE(assign("db", kTwo).applied);
  EXPECT_EQ(db.placed, kTwo);
  ASSERT_TRUE(phase("db", GroupPhase::kStopped).applied);
  ASSERT_TRUE(assign("db", kOne).applied);
  EXPECT_EQ(db.placed, ServerId{});
  EXPECT_EQ(db.last, kOne);
  ASSERT_TRUE(wish("db", kTwo, kOwnAuthor).applied);
  EXPECT_EQ(db.placed, ServerId{});
}

TEST_F(Placements, WhereAGroupFailedIsRememberedOverASuccessElsewhere) {
  ASSERT_TRUE(configure("", "").applied);
  const GroupState& db = state_.groups.at("db");
  ASSERT_TRUE(assign("db", kOne).applied);
  ASSERT_TRUE(phase("db", GroupPhase::kStopped, "start: exit 1").applied);
  ASSERT_TRUE(assign("db", kTwo).applied);
  ASSERT_TRUE(phase("db", GroupPhase::kStarted).applied);
  EXPECT_TRUE(db.refused.empty());
  EXPECT_TRUE(db.failed_on.contains(kOne));
  ASSERT_TRUE(wish("db", kOne, kOwnAuthor).applied);
  EXPECT_TRUE(db.failed_on.contains(kOne));
  ASSERT_TRUE(wish("db", kTwo, "anna").applied);
  EXPECT_TRUE(db.failed_on.empty());
}

}  // namespace
}  // namespace baton
