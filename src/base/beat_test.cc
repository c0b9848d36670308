// The shared beats of timers.
#include "src/base/beat.h"

#include <gtest/gtest.h>

namespace baton {
namespace {

TEST(Beat, IsLaterAndWithinOneAndAHalfIntervals) {
  for (const Duration interval : {Duration(1ms), Duration(120ms), Duration(1s) / 3, Duration(500ms), Duration(700ms), Duration(1s), Duration(7s)}) {
    Instant now(5s + 1ns);
    for (int i = 0; i < 1000; ++i) {
      const Instant next = next_beat(now, interval);
      EXPECT_GT(next, now);
      EXPECT_LE(next - now, interval * 3 / 2);
      now = i % 3 == 0 ? next : now + interval / 7;
    }
  }
}

TEST(Beat, ThirdsAndSecondsMeet) {
  Instant now(123456789s + 300ms);
  int meetings = 0;
  for (int i = 0; i < 30; ++i) {
    const Instant next = next_beat(now, Duration(1s) / 3);
    if (next == next_beat(now, 1s)) ++meetings;
    now = next;
  }
  EXPECT_EQ(meetings, 10);
}

}  // namespace
}  // namespace baton
