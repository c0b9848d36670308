// The shared beats of timers.
#include "src/base/beat.h"

#include <gtest/gtest.h>

namespace baton {
namespace {

TEST(Beat, IsLaterAndWithinOneAndAHalfIntervals) {
  const Duration intervals[] = {1ms, 120ms, Duration(1s) / 3, 500ms, 700ms, 1s, 7s};
  for (const Duration interval : intervals) {
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
