// The wall clock, for people and event logs only: nothing is decided by it. Any thread.
#pragma once

#include <chrono>
#include <cstdint>

namespace baton {

/// Milliseconds since 1970.
inline int64_t wall_now_ms() {
  return std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::system_clock::now().time_since_epoch())
      .count();
}

}  // namespace baton
