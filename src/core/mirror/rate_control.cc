// See rate_control.h. More by steps while the foreground is hardly slower than alone, less by a share when it is.
#include "src/core/mirror/rate_control.h"

#include <algorithm>

namespace baton::mirror {

namespace {
constexpr uint64_t kMost = uint64_t{20} << 30;
constexpr double kTolerance = 1.06;      // how much slower than alone the foreground may be
constexpr double kFarTooSlow = 1.25;     // above that the rate is halved
// A foreground of few requests is noisy in itself, and has room: it may be slowed more before the copy gives way.
constexpr uint64_t kFew = 100;           // in an interval
constexpr double kToleranceOfFew = 1.6;
constexpr double kFarTooSlowForFew = 3;
constexpr Duration kProbeEvery = 2s;
constexpr Duration kBurst = 20ms;        // of allowance that may gather
constexpr int64_t kFirst = 1 << 20;      // may go at once
constexpr double kNewest = 0.3;          // weight of the newest measurement

double to_us(Duration duration) { return static_cast<double>(duration.count()) / 1000.0; }
}  // namespace

void RateControl::start(Instant now) {
  rate_ = std::max(rate_, least_);
  allowance_ = kFirst;
  settled_at_ = now;
  // Measured alone just now, or never: then the first moments are for that.
  probing_ = busy_ && alone_us_ == 0;
  next_probe_ = now + kProbeEvery;
}

void RateControl::judge(Duration latency, bool few) {
  if (alone_us_ == 0) return;
  if (to_us(latency) > alone_us_ * (few ? kFarTooSlowForFew : kFarTooSlow)) {
    rate_ = std::max<uint64_t>(least_, rate_ / 2);
  } else if (to_us(latency) > alone_us_ * (few ? kToleranceOfFew : kTolerance)) {
    rate_ = std::max<uint64_t>(least_, rate_ - rate_ / 8);
  } else {
    rate_ = std::min(kMost, rate_ + rate_ / 32 + (1 << 18));
  }
}

void RateControl::sample(Instant now, bool copying, uint64_t requests, Duration total) {
  settle(now);
  busy_ = requests > 0;
  if (!busy_) {
    probing_ = false;
    if (copying) rate_ = std::min(kMost, rate_ * 2);
    return;
  }
  const Duration latency = total / static_cast<int64_t>(requests);
  if (!copying || probing_) {
    alone_us_ = alone_us_ == 0 ? to_us(latency) : (1 - kNewest) * alone_us_ + kNewest * to_us(latency);
  } else {
    judge(latency, requests < kFew);
  }
  if (probing_) {
    probing_ = false;
    next_probe_ = now + kProbeEvery;
  } else if (copying && (alone_us_ == 0 || now >= next_probe_)) {
    probing_ = true;
  }
}

void RateControl::settle(Instant now) {
  const double seconds = to_us(now - settled_at_) / 1e6;
  settled_at_ = now;
  const double burst = static_cast<double>(rate()) * to_us(kBurst) / 1e6;
  const double gained = static_cast<double>(rate()) * seconds;
  const double most = std::max(burst, 1048576.0);
  allowance_ = static_cast<int64_t>(std::min(most, static_cast<double>(allowance_) + gained));
}

int64_t RateControl::allowance(Instant now) {
  settle(now);
  return probing_ && fixed_ == 0 ? 0 : allowance_;
}

Instant RateControl::ready_at(Instant now) const {
  if (probing_ && fixed_ == 0) return now + kInterval;
  if (allowance_ > 0) return now;
  const double seconds = static_cast<double>(1 - allowance_) / static_cast<double>(std::max<uint64_t>(rate(), 1));
  return now + std::max<Duration>(1ms, Duration(static_cast<int64_t>(seconds * 1e9)));
}

uint32_t RateControl::window(uint32_t most, uint64_t step_bytes) const {
  if (fixed_ != 0 || !busy_) return most;
  // What moves in 10 ms, at least one.
  return static_cast<uint32_t>(std::clamp<uint64_t>(rate() / 100 / step_bytes, 1, most));
}

}  // namespace baton::mirror
