// The wall clock, for people, event logs and failback windows: nothing else is decided by it. Any thread.
#pragma once

#include <chrono>
#include <cstdint>
#include <ctime>

namespace baton {

/// Milliseconds since 1970.
inline int64_t wall_now_ms() {
  return std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::system_clock::now().time_since_epoch())
      .count();
}

/// Since midnight, in this server's time zone.
inline std::chrono::minutes time_of_day() {
  const time_t now = std::time(nullptr);
  struct tm local = {};
  localtime_r(&now, &local);
  return std::chrono::hours(local.tm_hour) + std::chrono::minutes(local.tm_min);
}

}  // namespace baton
