// Each planted bug of the mirror core must be caught by the pair simulation within a number of seeds.
#include <gtest/gtest.h>

#include <cstdio>

#include "sim/mirror_pair.h"
#include "src/base/planted.h"

namespace baton {
Plant g_plant = Plant::kNone;
}

namespace baton::sim {
namespace {

void expect_caught(Plant plant, uint64_t most_seeds) {
  g_plant = plant;
  for (uint64_t seed = 1; seed <= most_seeds; ++seed) {
    const PairOutcome outcome = run_mirror_pair(seed);
    if (outcome.ok) continue;
    std::printf("caught: %s\n", outcome.violation.c_str());
    g_plant = Plant::kNone;
    return;
  }
  g_plant = Plant::kNone;
  ADD_FAILURE() << "not caught within " << most_seeds << " seeds";
}

TEST(MirrorPlanted, ReadmissionAcknowledgedAlone) { expect_caught(Plant::kReadmissionAcknowledgedAlone, 300); }
TEST(MirrorPlanted, PermitNotPersisted) { expect_caught(Plant::kPermitNotPersisted, 20); }
TEST(MirrorPlanted, BitmapAfterAcknowledgement) { expect_caught(Plant::kBitmapAfterAcknowledgement, 300); }
TEST(MirrorPlanted, UncleanCopyPromoted) { expect_caught(Plant::kUncleanCopyPromoted, 300); }
TEST(MirrorPlanted, FlushLocalOnly) { expect_caught(Plant::kFlushLocalOnly, 100); }
TEST(MirrorPlanted, GenerationNotBumped) { expect_caught(Plant::kGenerationNotBumped, 100); }
TEST(MirrorPlanted, ActivityReleasedEarly) { expect_caught(Plant::kActivityReleasedEarly, 300); }
TEST(MirrorPlanted, LeaseIgnored) { expect_caught(Plant::kLeaseIgnored, 100); }

}  // namespace
}  // namespace baton::sim
