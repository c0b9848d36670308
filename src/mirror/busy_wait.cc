// A load shows by many short waits in a row. One wake-up at rest is a few of them.
#include "src/mirror/busy_wait.h"

#include <algorithm>

namespace baton::mirror {
namespace {

constexpr int kShort = 1;
constexpr int kLong = -4;
constexpr int kEnough = 8;
constexpr int kMost = 16;
constexpr Duration kRest = 10ms;

}  // namespace

Duration BusyWait::budget(Instant now) const {
  return score_ >= kEnough && now >= paused_until_ ? kLook : Duration::zero();
}

void BusyWait::ended(Duration length) {
  score_ = length >= kRest ? 0 : std::clamp(score_ + (length <= kLook ? kShort : kLong), 0, kMost);
}

void BusyWait::stolen(Instant now) {
  // Undisturbed for as long as the last pause took: the processor is free again.
  if (now - paused_until_ > pause_) pause_ = kFirstPause;
  paused_until_ = now + pause_;
  pause_ = std::min(pause_ * 2, kLongestPause);
}

}  // namespace baton::mirror
