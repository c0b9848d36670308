// What is recorded of lost servers' power, and that it holds up a takeover where fencing is required.
#include <gtest/gtest.h>

#include "src/model/command.h"
#include "src/model/configuration_toml.h"

namespace baton {
namespace {

constexpr ServerId kOne{1};
constexpr ServerId kTwo{2};

std::string text_with(const std::string& mode) {
  return "[cluster]\nname = \"c\"\npublic_lan = \"10.0.0.0/24\"\nfencing = \"" + mode +
         "\"\n[server.one]\nid = 1\ninterconnects = [\"10.0.1.1\"]\n[server.one.fence]\nagent = \"fence_x\"\n"
         "options = { ip = \"10.0.9.1\", password = \"p\" }\ntimeout = \"20 s\"\n[server.two]\nid = 2\ninterconnects = "
         "[\"10.0.1.2\"]\n[server.two.fence]\nagent = \"fence_x\"\n[server.w]\nid = 3\nrole = \"witness\"\ninterconnects = "
         "[\"10.0.1.3\"]\n[group.g]\nservers = [\"one\", \"two\"]\n[group.g.address.ip]\naddress = \"10.0.0.9\"\n";
}

/// Group g is started on server one.
ClusterState founded(const std::string& mode) {
  ClusterState state;
  EXPECT_EQ(apply_command(state, ApplyConfiguration{0, text_with(mode), "test"}, 1).refusal, "");
  AssignGroup assign;
  assign.group = "g";
  assign.expected_version = state.groups.at("g").version;
  assign.server = kOne;
  EXPECT_EQ(apply_command(state, assign, 2).refusal, "");
  return state;
}

std::string take_over(ClusterState& state) {
  AssignGroup assign;
  assign.group = "g";
  assign.expected_version = state.groups.at("g").version;
  assign.server = kTwo;
  return apply_command(state, assign, 3).refusal;
}

uint64_t version_of(const ClusterState& state) {
  return state.fences.contains(kOne) ? state.fences.at(kOne).version : 0;
}

std::string record(ClusterState& state, FenceOutcome outcome, const std::string& author = "") {
  return apply_command(state, RecordFence{kOne, version_of(state), outcome, "text", author}, 4).refusal;
}

TEST(CommandFencing, BesidesHoldsUpNothing) {
  ClusterState state = founded("besides");
  EXPECT_EQ(take_over(state), "");
}

TEST(CommandFencing, RequiredWaitsUntilThePowerIsOff) {
  ClusterState state = founded("required");
  EXPECT_NE(take_over(state).find("one must be fenced first (not tried yet)"), std::string::npos);
  EXPECT_EQ(record(state, FenceOutcome::kWanted), "");
  EXPECT_NE(take_over(state).find("being fenced"), std::string::npos);
  EXPECT_EQ(record(state, FenceOutcome::kFailed), "");
  EXPECT_NE(take_over(state).find("attempt 1: fencing failed, text"), std::string::npos);
  EXPECT_EQ(record(state, FenceOutcome::kWanted), "");
  EXPECT_EQ(record(state, FenceOutcome::kOff), "");
  EXPECT_EQ(state.fences.at(kOne).attempts, 2u);
  EXPECT_EQ(take_over(state), "");
}

TEST(CommandFencing, APersonsWordIsEnough) {
  ClusterState state = founded("required");
  EXPECT_EQ(record(state, FenceOutcome::kOff, "root"), "");
  EXPECT_EQ(take_over(state), "");
}

TEST(CommandFencing, AnEndThatNobodyBeganIsRefused) {
  ClusterState state = founded("required");
  EXPECT_NE(record(state, FenceOutcome::kOff), "");
  EXPECT_EQ(record(state, FenceOutcome::kWanted), "");
  EXPECT_EQ(record(state, FenceOutcome::kNone), "");
  EXPECT_EQ(state.fences.at(kOne).attempts, 0u);
  EXPECT_NE(record(state, FenceOutcome::kFailed), "");
  EXPECT_NE(apply_command(state, RecordFence{kOne, 77, FenceOutcome::kWanted, "", ""}, 5).refusal, "") << "an old version";
}

TEST(CommandFencing, AServerWithoutAnAgentCannotBeFenced) {
  ClusterState state = founded("besides");
  const auto refusal = apply_command(state, RecordFence{ServerId(3), 0, FenceOutcome::kWanted, "", "root"}, 5).refusal;
  EXPECT_NE(refusal.find("has no fence agent"), std::string::npos) << refusal;
}

TEST(CommandFencing, TheConfigurationIsRead) {
  const auto configuration = parse_configuration(text_with("required"));
  ASSERT_TRUE(configuration.has_value()) << configuration.error().message;
  EXPECT_TRUE(configuration->fencing_required);
  const FenceConfiguration& fence = configuration->server(kOne)->fence;
  EXPECT_EQ(fence.agent, "fence_x");
  EXPECT_EQ(fence.options.at("ip"), "10.0.9.1");
  EXPECT_EQ(fence.timeout, 20s);
  EXPECT_TRUE(fence.restart);
}

TEST(CommandFencing, WhatCannotWorkIsRefused) {
  std::string text = text_with("required");
  text.replace(text.find("[server.two.fence]\nagent = \"fence_x\"\n"), 37, "");
  auto configuration = parse_configuration(text);
  ASSERT_FALSE(configuration.has_value());
  EXPECT_NE(configuration.error().message.find("two cannot be fenced"), std::string::npos) << configuration.error().message;
  configuration = parse_configuration(text_with("sometimes"));
  ASSERT_FALSE(configuration.has_value());
  text = text_with("besides");
  text.replace(text.find("ip = "), 2, "action");
  configuration = parse_configuration(text);
  ASSERT_FALSE(configuration.has_value());
  EXPECT_NE(configuration.error().message.find("Baton chooses the action"), std::string::npos);
}

}  // namespace
}  // namespace baton
