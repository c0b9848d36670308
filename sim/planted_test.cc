// The checkers bite: each planted bug is found within a number of seeds, and without one the same seeds are clean.
#include <gtest/gtest.h>

#include "sim/cluster.h"
#include "sim/plants.h"

namespace baton::sim {
namespace {

/// The first seed that shows a violation; 0: none.
uint64_t find_violation(const std::string& name, uint64_t most_seeds, const std::string& weather = "") {
  EXPECT_TRUE(plant(name));
  uint64_t found = 0;
  for (uint64_t seed = 1; seed <= most_seeds && found == 0; ++seed) {
    const Outcome outcome = run_seed(seed, false, weather);
    if (outcome.ok) continue;
    found = seed;
    std::printf("%s: seed %lu: %s\n", name.c_str(), static_cast<unsigned long>(seed), outcome.violation.c_str());
  }
  plant("none");
  return found;
}

TEST(Planted, LeaseForgottenAtRestart) { EXPECT_NE(find_violation("lease-forgotten-at-restart", 500), 0u); }
TEST(Planted, PromiseNotPersisted) { EXPECT_NE(find_violation("promise-not-persisted", 200, "figure-eight"), 0u); }
TEST(Planted, OldEpochServedBeforeStart) {
  EXPECT_NE(find_violation("old-epoch-served-before-start", 1000, "figure-eight"), 0u);
}

TEST(Planted, NothingIsFoundWithoutABug) { EXPECT_EQ(find_violation("none", 20), 0u); }

TEST(Planted, ASeedGivesTheSameTraceAgain) {
  for (uint64_t seed = 1; seed <= 10; ++seed) EXPECT_EQ(run_seed(seed, false).hash, run_seed(seed, false).hash);
}

}  // namespace
}  // namespace baton::sim
