// What a server's other clocks say of time that its monotonic one did not see. Pure: the guard's and the simulation's rule.
// docs/protocol.md, F5.
#pragma once

#include <optional>

#include "src/base/time.h"

namespace baton::guard {

/// By how much they are ahead of CLOCK_MONOTONIC.
struct ClocksAhead {
  Duration boottime{};  // CLOCK_BOOTTIME: it counts a suspension, too
  Duration realtime{};  // CLOCK_REALTIME: people and NTP set it
  bool operator==(const ClocksAhead&) const = default;
};

/// How much time has passed unseen between two looks, if it was a gap; a wall clock that is set back says nothing.
std::optional<Duration> unseen_time(const ClocksAhead& before, const ClocksAhead& now);

}  // namespace baton::guard
