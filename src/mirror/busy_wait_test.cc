// When the ring looks for completions, and when it sleeps.
#include "src/mirror/busy_wait.h"

#include <gtest/gtest.h>

namespace baton::mirror {
namespace {

struct BusyWaitTest : testing::Test {
  BusyWait busy;
  Instant now{100s};

  void wait(Duration length, int times = 1) {
    for (int i = 0; i < times; ++i) {
      now += length;
      busy.ended(length);
    }
  }
  bool looks() const { return busy.budget(now) > Duration::zero(); }
};

TEST_F(BusyWaitTest, AtRestItSleeps) {
  EXPECT_FALSE(looks());
  for (int i = 0; i < 100; ++i) {
    wait(333ms);
    wait(50us, 5);  // what one wake-up brings
    EXPECT_FALSE(looks());
  }
}

TEST_F(BusyWaitTest, UnderLoadItLooks) {
  wait(70us, 10);
  EXPECT_TRUE(looks());
  wait(500us);  // a slow flush now and then changes nothing
  wait(70us, 6);
  EXPECT_TRUE(looks());
  wait(10ms, 3);
  EXPECT_FALSE(looks());
}

TEST_F(BusyWaitTest, ALoadWithLongPausesIsNotWorthIt) {
  for (int i = 0; i < 100; ++i) {
    wait(1ms);
    wait(70us, 3);
    EXPECT_FALSE(looks());
  }
}

TEST_F(BusyWaitTest, WhereSomebodyElseWantsTheProcessorItSleepsForLongerEachTime) {
  wait(70us, 100);
  Duration last = Duration::zero();
  for (int i = 0; i < 10; ++i) {
    ASSERT_TRUE(looks());
    busy.stolen(now);
    const Instant from = now;
    while (!looks()) wait(100us);
    EXPECT_GE(now - from, std::min<Duration>(last * 3 / 2, BusyWait::kLongestPause));
    EXPECT_LE(now - from, BusyWait::kLongestPause + 1ms);
    last = now - from;
  }
  wait(100us, 30'000);  // long free
  busy.stolen(now);
  now += BusyWait::kFirstPause;
  EXPECT_TRUE(looks());
}

}  // namespace
}  // namespace baton::mirror
