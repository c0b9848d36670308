// What is made of the facts that were found; the looking itself is tested by tests/system/cli_preflight_test.py.
#include "src/survey/preflight.h"

#include <gtest/gtest.h>

namespace baton::survey {
namespace {

DiskFacts disk(double flush_ms) {
  DiskFacts facts{.path = "/srv", .device = "sda", .filesystem = "ext4"};
  facts.flush_ms = flush_ms;
  return facts;
}

TEST(JudgeDisk, HonestDisksAreWellAndSaidToBeUnproven) {
  EXPECT_EQ(judge_disk(disk(0.4)).verdict, Verdict::kOk);
  EXPECT_NE(judge_disk(disk(0.4)).text.find("cannot be told"), std::string::npos);
  auto rotating = disk(8);
  rotating.rotational = true;
  EXPECT_EQ(judge_disk(rotating).verdict, Verdict::kOk);
}

TEST(JudgeDisk, TooFastToBeTrue) {
  auto rotating = disk(0.4);
  rotating.rotational = true;
  EXPECT_EQ(judge_disk(rotating).verdict, Verdict::kWarning);
  rotating.virtual_disk = true;  // what the hypervisor calls rotating seldom is
  EXPECT_EQ(judge_disk(rotating).verdict, Verdict::kOk);
  EXPECT_EQ(judge_disk(disk(0.005)).verdict, Verdict::kWarning);
}

TEST(JudgeDisk, VirtualDisksWithoutFlushes) {
  auto facts = disk(0.4);
  facts.virtual_disk = facts.write_through = true;
  const auto finding = judge_disk(facts);
  EXPECT_EQ(finding.verdict, Verdict::kWarning);
  EXPECT_NE(finding.text.find("hypervisor"), std::string::npos);
}

TEST(JudgeDisk, PlacesThatKeepNothing) {
  auto facts = disk(0.01);
  facts.filesystem = "tmpfs";
  EXPECT_EQ(judge_disk(facts).verdict, Verdict::kProblem);
  facts.filesystem = "nfs";
  EXPECT_EQ(judge_disk(facts).verdict, Verdict::kWarning);
  EXPECT_EQ(judge_disk(disk(0)).verdict, Verdict::kUnknown);
  EXPECT_EQ(judge_disk(disk(80)).verdict, Verdict::kWarning);
}

TEST(JudgeClock, WarnsBeyondASecondAndTheUncertainty) {
  EXPECT_EQ(judge_clock("server2", 900, 1).verdict, Verdict::kOk);
  EXPECT_EQ(judge_clock("server2", -1100, 1).verdict, Verdict::kWarning);
  EXPECT_EQ(judge_clock("server2", 1100, 400).verdict, Verdict::kOk);
  EXPECT_NE(judge_clock("server2", -1100, 1).text.find("1100 ms behind"), std::string::npos);
}

}  // namespace
}  // namespace baton::survey
