// Work that comes at intervals and need not be punctual shares its wake-ups: every such timer of a server fires on the
// same grid. Waking up from sleep costs more than what is then done.
#pragma once

#include <algorithm>

#include "src/base/time.h"

namespace baton {

/// The first instant after `now` that is a multiple of `interval`; for intervals below a second, counted anew in each
/// second, so that the beats of all intervals meet there. Later than `now` by at most 1.5 intervals.
inline Instant next_beat(Instant now, Duration interval) {
  const Duration time = now.time_since_epoch();
  if (interval >= seconds(1)) return Instant((time / interval + 1) * interval);
  const Duration second = time - time % seconds(1);
  const Duration next = second + ((time - second) / interval + 1) * interval;
  // What is left of the second is no beat of its own.
  return Instant(next + interval / 2 > second + seconds(1) ? second + seconds(1) : next);
}

}  // namespace baton
