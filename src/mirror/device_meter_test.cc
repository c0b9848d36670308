// Counts, means and the slowest hundredth.
#include "src/mirror/device_meter.h"

#include <gtest/gtest.h>

#include <thread>

#include "src/mirror/device_fake.h"
#include "src/mirror/ring.h"

namespace baton::mirror {
namespace {

void sleep_until(Instant when) {
  while (Ring::now() < when) std::this_thread::sleep_for(when - Ring::now());
}

TEST(DeviceMeter, CountsAndTimes) {
  auto fake = std::make_unique<DeviceFake>(64);
  DeviceFake& disk = *fake;
  DeviceMeter meter(std::move(fake));
  alignas(4096) static uint8_t memory[4096];
  int ended = 0;
  const auto done = [&](int) { ++ended; };
  const Instant start = Ring::now();
  // Ninety-nine quick writes and one that takes 20 ms.
  meter.write({0, 1}, memory, done);
  for (int i = 0; i < 99; ++i) {
    meter.write({1, 1}, memory, done);
    disk.end(1);
  }
  meter.read({0, 1}, memory, done);
  disk.end(1, EIO);
  meter.flush(done);
  disk.end(1);
  EXPECT_EQ(meter.under_way(), 1u);
  sleep_until(start + 20ms);
  disk.end();
  EXPECT_EQ(ended, 102);
  EXPECT_EQ(meter.under_way(), 0u);

  const auto now = meter.figures(DeviceMeter::Kind::kWrite);
  EXPECT_EQ(now.count, 100u);
  EXPECT_EQ(now.bytes, 100u * 4096);
  EXPECT_EQ(now.errors, 0u);
  EXPECT_EQ(meter.figures(DeviceMeter::Kind::kRead).errors, 1u);
  EXPECT_EQ(meter.figures(DeviceMeter::Kind::kFlush).count, 1u);
  EXPECT_EQ(meter.figures(DeviceMeter::Kind::kZero).count, 0u);

  sleep_until(start + 1020ms);
  const auto second = meter.figures(DeviceMeter::Kind::kWrite);
  EXPECT_EQ(second.count_last_second, 100u);
  EXPECT_EQ(second.bytes_last_second, 100u * 4096);
  EXPECT_GE(second.mean_us, 200);
  EXPECT_GE(second.p99_us, 15000);  // the slowest hundredth is that one
  EXPECT_EQ(second.count, 100u);
}

TEST(DeviceMeter, ARestIsNotAverageOfOldTimes) {
  auto fake = std::make_unique<DeviceFake>(64);
  DeviceFake& disk = *fake;
  DeviceMeter meter(std::move(fake));
  meter.flush([](int) {});
  disk.end();
  sleep_until(Ring::now() + 2100ms);
  EXPECT_EQ(meter.figures(DeviceMeter::Kind::kFlush).count_last_second, 0u);
  EXPECT_EQ(meter.figures(DeviceMeter::Kind::kFlush).mean_us, 0);
}

}  // namespace
}  // namespace baton::mirror
