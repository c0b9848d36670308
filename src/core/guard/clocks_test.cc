// Which differences of the clocks are gaps. docs/protocol.md, F5.
#include "src/core/guard/clocks.h"

#include <gtest/gtest.h>

namespace baton::guard {
namespace {

TEST(Clocks, ASuspensionShowsInTheBootClock) {
  EXPECT_EQ(unseen_time({5s, 0s}, {5s + 20ms, 20ms}), std::nullopt) << "read one after the other";
  EXPECT_EQ(unseen_time({5s, 0s}, {8s, 3s}), 3s);
  EXPECT_EQ(unseen_time({5s, 0s}, {8s, -4s}), 3s) << "and the wall clock was wrong besides";
}

TEST(Clocks, AWallClockThatIsSetForwardMayBeASuspensionThatNothingElseShows) {
  EXPECT_EQ(unseen_time({0s, 100s}, {0s, 100s + 500ms}), std::nullopt);
  EXPECT_EQ(unseen_time({0s, 100s}, {0s, 3700s}), 3600s);
}

TEST(Clocks, AWallClockThatIsSetBackSaysNothing) { EXPECT_EQ(unseen_time({0s, 3700s}, {0s, 100s}), std::nullopt); }

}  // namespace
}  // namespace baton::guard
