// Time as the core sees it: nanoseconds of a monotonic clock that somebody else reads. Plain values, any thread.
#pragma once

#include <chrono>
#include <cstdint>

namespace baton {

using Duration = std::chrono::nanoseconds;
using std::chrono::milliseconds;
using std::chrono::seconds;
using namespace std::chrono_literals;

/// A clock type without now(): the pure core is told the time. On Linux CLOCK_MONOTONIC; in sim/ the world's clock.
struct MonotonicClock {
  using duration = Duration;
  using rep = duration::rep;
  using period = duration::period;
  using time_point = std::chrono::time_point<MonotonicClock>;
  static constexpr bool is_steady = true;
};

/// An instant of this server's monotonic clock. Instants of two servers cannot be compared.
using Instant = MonotonicClock::time_point;

constexpr Instant kNever{Duration::max()};

constexpr int64_t to_ms(Duration duration) { return std::chrono::duration_cast<milliseconds>(duration).count(); }
constexpr int64_t to_ns(Instant instant) { return instant.time_since_epoch().count(); }

}  // namespace baton
