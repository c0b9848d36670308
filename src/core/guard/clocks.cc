// The rule of the clocks. Pure. docs/protocol.md, F5.
#include "src/core/guard/clocks.h"

#include <algorithm>

namespace baton::guard {

namespace {
constexpr Duration kUnseenGap = 20ms;  // of CLOCK_BOOTTIME: it differs only by suspended time
constexpr Duration kWallJump = 500ms;  // of CLOCK_REALTIME: an ordinary step of the clock costs one exchange of beats
}  // namespace

std::optional<Duration> unseen_time(const ClocksAhead& before, const ClocksAhead& now) {
  const Duration suspended = now.boottime - before.boottime;
  const Duration set = now.realtime - before.realtime;
  if (suspended <= kUnseenGap && set <= kWallJump) return std::nullopt;
  return std::max(suspended, set);
}

}  // namespace baton::guard
