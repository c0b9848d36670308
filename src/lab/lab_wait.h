// Waiting with a deadline: every wait of the lab goes through here and says what it waited for. One thread.
#pragma once

#include <functional>
#include <string>

#include "src/base/result.h"
#include "src/base/time.h"

namespace baton::lab {

/// Monotonic time in nanoseconds.
int64_t monotonic_ns();

/// Polls `done` (first at once, then after 0.2 ms growing to 10 ms) until it holds or the time is up.
Status wait_until(const std::string& what, Duration limit, const std::function<bool()>& done);

/// Waits until one byte or more can be read from `descriptor` (or it is closed).
Status wait_readable(const std::string& what, Duration limit, int descriptor);

}  // namespace baton::lab
