// BusyWait: whether the ring should look for the next completion a moment before it goes to sleep. Waking up costs more
// than today's disks need for a small write, so under load the daemon looks; at rest, and where somebody else wants the
// processor, it sleeps. Pure: times come from the caller.
#pragma once

#include "src/base/time.h"

namespace baton::mirror {

class BusyWait {
 public:
  /// How long it looks. Waits that end sooner are worth it.
  static constexpr Duration kLook = 400us;
  /// Giving way took so long: somebody else has work for this processor.
  static constexpr Duration kStolen = 1ms;
  static constexpr Duration kFirstPause = 10ms;
  static constexpr Duration kLongestPause = 1s;

  /// How long a wait that begins now may look; zero: it sleeps at once.
  Duration budget(Instant now) const;
  /// A wait has ended: by looking, or by sleeping after that.
  void ended(Duration length);
  /// While looking, the processor was given to somebody who kept it: looking is stopped for a while, for longer each time.
  void stolen(Instant now);

 private:
  int score_ = 0;
  Instant paused_until_{};
  Duration pause_ = kFirstPause;
};

}  // namespace baton::mirror
