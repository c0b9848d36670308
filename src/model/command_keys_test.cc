// The steps by which the cluster's key is replaced, judged as docs/protocol.md says ("Keys").
#include <gtest/gtest.h>

#include "src/model/command.h"

namespace baton {
namespace {

using Step = RotateKeys::Step;
constexpr ServerId kOne{1}, kTwo{2}, kWitness{3};

std::string text(const std::string& extra = "", const std::string& second = "10.0.1.2") {
  return "[cluster]\nname = \"keyed\"\n[server.server1]\nid = 1\ninterconnects = [\"10.0.1.1\", \"10.0.2.1\"]\n"
         "[server.server2]\nid = 2\ninterconnects = [\"" + second + "\", \"10.0.2.2\"]\n"
         "[server.witness]\nid = 3\nrole = \"witness\"\ninterconnects = [\"10.0.1.3\", \"10.0.2.3\"]\n" + extra;
}
const std::string kFourth = "[server.server4]\nid = 4\ninterconnects = [\"10.0.1.4\", \"10.0.2.4\"]\n";

struct Keyed {
  ClusterState state;
  uint64_t index = 0;

  Keyed() { EXPECT_EQ(apply(ApplyConfiguration{0, text(), "test", kFormatLevel}), ""); }
  std::string apply(const Command& command) { return apply_command(state, command, ++index).refusal; }
  std::string configure(const std::string& wanted) { return apply(ApplyConfiguration{state.configuration_version, wanted, "test"}); }
  std::string begin(const std::string& after = "b", const std::string& before = "a") {
    return apply(RotateKeys{state.keys.number, Step::kBegin, kOne, before, after, "root", "", 100, 5000});
  }
  std::string step(Step step, ServerId server = {}, const std::string& after = "b") {
    return apply(RotateKeys{state.keys.number, step, server, "", after, "", "why", 200, 0});
  }
};

bool says(const std::string& refusal, const std::string& part) { return refusal.find(part) != std::string::npos; }

TEST(CommandKeys, AllHaveToHaveItBeforeItIsInForce) {
  Keyed keyed;
  ASSERT_EQ(keyed.begin(), "");
  EXPECT_EQ(keyed.state.keys.phase, KeyRotation::Phase::kStaging);
  EXPECT_EQ(keyed.state.keys.number, 1U);
  EXPECT_EQ(keyed.step(Step::kStaged, kOne), "");
  EXPECT_EQ(keyed.step(Step::kStaged, kTwo), "");
  EXPECT_TRUE(says(keyed.step(Step::kInForce), "witness has not got"));
  EXPECT_EQ(keyed.step(Step::kStaged, kWitness), "");
  EXPECT_TRUE(says(keyed.step(Step::kDone), "not in force"));
  EXPECT_EQ(keyed.step(Step::kInForce), "");
  EXPECT_TRUE(says(keyed.step(Step::kCancel), "in force already"));
  EXPECT_EQ(keyed.step(Step::kDone), "");
  EXPECT_FALSE(keyed.state.keys.under_way());
  EXPECT_FALSE(keyed.state.keys.called_off);
  EXPECT_TRUE(says(keyed.begin("c", "a"), "does not have the key that is in force"));
  EXPECT_EQ(keyed.begin("c", "b"), "");
}

std::string refusal_with(const std::string& np) {
  const std::string two = "[cluster]\nname = \"demo\"\n" + np + "public_lan = \"10.0.0.0/24\"\n"
                          "[server.server1]\nid = 1\ninterconnects = [\"10.0.1.1\"]\n[server.server2]\nid = 2\ninterconnects = [\"10.0.1.2\"]\n";
  ClusterState state;
  EXPECT_EQ(apply_command(state, ApplyConfiguration{0, two, "test", kFormatLevel}, 1).refusal, "");
  return apply_command(state, RotateKeys{0, Step::kBegin, kOne, "a", "b", "root", "", 100, 5000}, 2).refusal;
}

/// The disk knows its cluster by the key; by targets both would go on, if one missed the change. T9.
TEST(CommandKeys, NotWhereADiskOrTargetsDecide) {
  EXPECT_TRUE(says(refusal_with("np = \"disk\"\nnp_disk = \"/dev/sdc\"\n"), "/dev/sdc"));
  EXPECT_TRUE(says(refusal_with("np = \"ping\"\nping_targets = [\"192.0.2.1\"]\n"), "both go on"));
  EXPECT_EQ(refusal_with("np = \"operator\"\n"), "");
}

TEST(CommandKeys, ItIsCalledOffUntilItIsInForce) {
  Keyed keyed;
  ASSERT_EQ(keyed.begin(), "");
  EXPECT_TRUE(says(keyed.begin("c"), "being replaced already"));
  EXPECT_EQ(keyed.step(Step::kStaged, kOne), "");
  EXPECT_EQ(keyed.step(Step::kCancel), "");
  EXPECT_TRUE(keyed.state.keys.called_off);
  EXPECT_EQ(keyed.state.keys.reason, "why");
  EXPECT_TRUE(says(keyed.step(Step::kCancel), "not being replaced"));
  EXPECT_TRUE(says(keyed.step(Step::kStaged, kTwo), "no key is being handed out"));
  EXPECT_TRUE(says(keyed.begin("c", "b"), "does not have the key that is in force"));
  EXPECT_EQ(keyed.begin("c", "a"), "");
  EXPECT_TRUE(keyed.state.keys.staged.empty()) << "of the former rotation";
}

TEST(CommandKeys, WordsOfAnotherRotationOrKeyAreRefused) {
  Keyed keyed;
  ASSERT_EQ(keyed.begin(), "");
  EXPECT_TRUE(says(keyed.step(Step::kStaged, kOne, "x"), "another key"));
  EXPECT_TRUE(says(keyed.step(Step::kStaged, ServerId{9}), "not configured"));
  EXPECT_TRUE(says(keyed.apply(RotateKeys{0, Step::kStaged, kOne, "", "b"}), "belongs to rotation 0"));
  Keyed fresh;
  EXPECT_TRUE(says(fresh.apply(RotateKeys{3, Step::kBegin, kOne, "a", "b"}), "another rotation"));
  EXPECT_TRUE(says(fresh.begin("a", "a"), "not another one"));
  EXPECT_TRUE(says(fresh.apply(RotateKeys{0, Step::kBegin, ServerId{9}, "a", "b"}), "not configured"));
}

TEST(CommandKeys, ServersAndLinksStayMeanwhile) {
  Keyed keyed;
  ASSERT_EQ(keyed.begin(), "");
  EXPECT_TRUE(says(keyed.configure(text(kFourth)), "keys are being replaced"));
  EXPECT_TRUE(says(keyed.configure(text("", "10.0.1.99")), "keys are being replaced"));
  EXPECT_EQ(keyed.configure(text("[group.db]\nservers = [\"server1\", \"server2\"]\n")), "") << "no matter of corosync's";
  for (const ServerId server : {kOne, kTwo, kWitness}) EXPECT_EQ(keyed.step(Step::kStaged, server), "");
  EXPECT_EQ(keyed.step(Step::kInForce), "");
  EXPECT_TRUE(says(keyed.configure(text()), "try again in some seconds"));
  EXPECT_EQ(keyed.step(Step::kDone), "");
  EXPECT_EQ(keyed.configure(text(kFourth)), "");
  EXPECT_TRUE(says(keyed.begin("c", "b"), "change of the servers is under way")) << "the fourth does not vote yet";
}

TEST(CommandKeys, CertificatesAreCounted) {
  Keyed keyed;
  EXPECT_EQ(keyed.apply(RotateKeys{0, Step::kCertificates}), "");
  EXPECT_TRUE(says(keyed.apply(RotateKeys{0, Step::kCertificates}), "meanwhile"));
  EXPECT_EQ(keyed.begin(), "");
  EXPECT_EQ(keyed.state.keys.certificates, 1U);
}

TEST(CommandKeys, NobodyIsAskedWhoDoesNotKnowTheCommand) {
  EXPECT_EQ(required_level(RotateKeys{}), 3U);
  EXPECT_TRUE(says(describe(RotateKeys{2, Step::kCancel, {}, "", "", "root", "the witness is off"}), "rotation 2: called off by root: the witness is off"));
}

}  // namespace
}  // namespace baton
