// Two mirror cores through a few hundred random histories of faults. BATON_MIRROR_SEED=n runs one seed with its
// trace; BATON_MIRROR_SEEDS=first-last another range.
#include "sim/mirror_pair.h"

#include <gtest/gtest.h>

#include <cstdio>
#include <cstdlib>

namespace baton::sim {
namespace {

TEST(MirrorPair, KeepsItsPromisesUnderFaults) {
  uint64_t first = 1;
  uint64_t last = 300;
  bool trace = false;
  if (const char* one = std::getenv("BATON_MIRROR_SEED")) {
    first = last = std::strtoull(one, nullptr, 10);
    trace = true;
  } else if (const char* range = std::getenv("BATON_MIRROR_SEEDS")) {
    char* rest = nullptr;
    first = std::strtoull(range, &rest, 10);
    last = *rest == '-' ? std::strtoull(rest + 1, nullptr, 10) : first;
  }
  PairOutcome sum;
  uint64_t failures = 0;
  for (uint64_t seed = first; seed <= last && failures < 5; ++seed) {
    const PairOutcome outcome = run_mirror_pair(seed, trace);
    if (!outcome.ok) {
      ++failures;
      ADD_FAILURE() << outcome.violation;
    }
    sum.steps += outcome.steps;
    sum.acknowledged_writes += outcome.acknowledged_writes;
    sum.promotions += outcome.promotions;
    sum.set_crashes += outcome.set_crashes;
    sum.full_copies += outcome.full_copies;
    sum.fast_copies += outcome.fast_copies;
    sum.power_losses += outcome.power_losses;
    sum.takeovers_behind += outcome.takeovers_behind;
  }
  std::printf(
      "%llu steps, %llu writes, %llu promotions, %llu set crashes, %llu power losses, %llu takeovers by a copy behind, "
      "reports while copying: %llu full, %llu fast\n",
      static_cast<unsigned long long>(sum.steps), static_cast<unsigned long long>(sum.acknowledged_writes),
      static_cast<unsigned long long>(sum.promotions), static_cast<unsigned long long>(sum.set_crashes),
      static_cast<unsigned long long>(sum.power_losses), static_cast<unsigned long long>(sum.takeovers_behind),
      static_cast<unsigned long long>(sum.full_copies),
      static_cast<unsigned long long>(sum.fast_copies));
  if (last - first >= 100) {
    EXPECT_GT(sum.takeovers_behind, 0u) << "A5 is not met at all";
  }
}

TEST(MirrorPair, ASeedGivesTheSameHistoryAgain) {
  for (uint64_t seed = 1; seed <= 3; ++seed) EXPECT_EQ(run_mirror_pair(seed).hash, run_mirror_pair(seed).hash);
}

}  // namespace
}  // namespace baton::sim
