// RateControl: the rate follows the foreground's latency, keeps a least rate, and obeys a person. docs/protocol.md,
// "Rate of copies".
#include "src/core/mirror/rate_control.h"

#include <gtest/gtest.h>

namespace baton::mirror {
namespace {

constexpr uint64_t kLeast = 4 << 20;
constexpr uint64_t kStep = 64 * kBlockBytes;

/// A copy of the greediest kind beside a foreground whose latency the test says.
class RateBench {
 public:
  explicit RateBench(uint64_t fixed = 0) : rate_(kLeast) { rate_.set_fixed(fixed); }

  void foreground(Duration time, Duration latency, bool copying) {
    for (const Instant end = now_ + time; now_ < end;) {
      now_ += RateControl::kInterval;
      rate_.sample(now_, copying, latency == Duration::zero() ? 0 : 50, latency * 50);
      if (copying) take_all();
    }
  }
  void take_all() {
    while (rate_.allowance(now_) > 0) {
      rate_.take(kStep);
      moved_ += kStep;
    }
  }

  Instant now_{10s};
  RateControl rate_;
  uint64_t moved_ = 0;
};

TEST(RateControl, WithoutForegroundItIsAsFastAsItGoes) {
  RateBench bench;
  bench.rate_.start(bench.now_);
  bench.foreground(2s, Duration::zero(), true);
  EXPECT_GT(bench.rate_.rate(), uint64_t{10} << 30);
  EXPECT_EQ(bench.rate_.window(16, kStep), 16u);
}

TEST(RateControl, ASlowedForegroundMakesItSlowerDownToTheLeastRate) {
  RateBench bench;
  bench.foreground(1s, 100us, false);
  bench.rate_.start(bench.now_);
  const uint64_t before = bench.rate_.rate();
  bench.foreground(200ms, 200us, true);
  EXPECT_LT(bench.rate_.rate(), before);
  EXPECT_GT(bench.rate_.rate(), before / 2) << "by an eighth at a time";
  bench.foreground(200ms, 400us, true);
  EXPECT_LT(bench.rate_.rate(), before / 8) << "by half at a time";
  // Slow whatever the copy does, yet measured against what it was alone.
  for (int round = 0; round < 30; ++round) {
    bench.foreground(50ms, bench.rate_.probing() ? 100us : 400us, true);
  }
  EXPECT_EQ(bench.rate_.rate(), kLeast);
  EXPECT_EQ(bench.rate_.window(16, kStep), 1u);
  bench.moved_ = 0;
  bench.foreground(10s, 100ms, true);
  EXPECT_GE(bench.moved_, kLeast * 9) << "guaranteed progress";
}

TEST(RateControl, AForegroundThatDoesNotNoticeLetsItRise) {
  RateBench bench;
  bench.foreground(1s, 100us, false);
  bench.rate_.start(bench.now_);
  const uint64_t before = bench.rate_.rate();
  bench.foreground(1s, 105us, true);
  EXPECT_GT(bench.rate_.rate(), before + before / 2);
}

TEST(RateControl, TheForegroundIsMeasuredAloneNowAndThen) {
  RateBench bench;
  bench.foreground(1s, 100us, false);
  bench.rate_.start(bench.now_);
  int probes = 0;
  for (int interval = 0; interval < 100; ++interval) {  // 5 s
    bench.foreground(50ms, 100us, true);
    if (!bench.rate_.probing()) continue;
    ++probes;
    EXPECT_EQ(bench.rate_.allowance(bench.now_), 0) << "a quiet moment";
    EXPECT_GT(bench.rate_.ready_at(bench.now_), bench.now_);
  }
  EXPECT_GE(probes, 2);
  EXPECT_LE(probes, 3);
}

TEST(RateControl, WhoNeverSawTheForegroundAloneLooksFirst) {
  RateBench bench;
  bench.rate_.start(bench.now_);
  bench.foreground(50ms, 500us, true);
  EXPECT_TRUE(bench.rate_.probing());
}

// The disk became slower by itself: the pauses find out, and the rate recovers.
TEST(RateControl, ANewNormalIsLearnt) {
  RateBench bench;
  bench.foreground(1s, 100us, false);
  bench.rate_.start(bench.now_);
  bench.foreground(60s, 300us, true);
  const uint64_t now = bench.rate_.rate();
  EXPECT_GT(now, kLeast * 4);
}

TEST(RateControl, APersonsRateIsKept) {
  constexpr uint64_t kFixed = 10 << 20;
  RateBench bench(kFixed);
  bench.rate_.start(bench.now_);
  bench.foreground(10s, 10ms, true);
  EXPECT_EQ(bench.rate_.rate(), kFixed);
  EXPECT_NEAR(static_cast<double>(bench.moved_), 10.0 * kFixed, 0.2 * kFixed);
  EXPECT_EQ(bench.rate_.window(16, kStep), 16u);
}

TEST(RateControl, AnOverdrawnAllowanceSaysWhenItIsThereAgain) {
  RateBench bench(uint64_t{1} << 20);
  bench.rate_.start(bench.now_);
  bench.rate_.take(2 << 20);  // what may go at once, and a second's worth
  EXPECT_LE(bench.rate_.allowance(bench.now_), 0);
  const Instant ready = bench.rate_.ready_at(bench.now_);
  EXPECT_GT(ready, bench.now_ + 900ms);
  EXPECT_LT(ready, bench.now_ + 1100ms);
  EXPECT_GT(bench.rate_.allowance(ready + 1us), 0);
}

TEST(RateControl, WhatWasNotUsedDoesNotGather) {
  RateBench bench(uint64_t{100} << 20);
  bench.rate_.start(bench.now_);
  bench.now_ += 60s;
  EXPECT_LE(bench.rate_.allowance(bench.now_), int64_t{4} << 20);
}

}  // namespace
}  // namespace baton::mirror
