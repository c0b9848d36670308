// RateControl: how fast a copy may go: as fast as a person said, or as the foreground's latency allows, and never slower
// than a least rate. Pure. docs/protocol.md, "Rate of copies".
#pragma once

#include <cstdint>

#include "src/core/mirror/mirror_types.h"

namespace baton::mirror {

class RateControl {
 public:
  explicit RateControl(uint64_t least_bytes) : least_(least_bytes), rate_(kStart) {}

  /// 0: by the foreground's latency.
  void set_fixed(uint64_t bytes_per_second) { fixed_ = bytes_per_second; }
  uint64_t fixed() const { return fixed_; }

  /// A copy begins.
  void start(Instant now);
  /// What the foreground's requests were like since the last call. Called every kInterval, also while nothing is copied.
  void sample(Instant now, bool copying, uint64_t requests, Duration total);

  /// Bytes that may be moved now; may have been overdrawn.
  int64_t allowance(Instant now);
  void take(uint64_t bytes) { allowance_ -= static_cast<int64_t>(bytes); }
  /// When there will be an allowance again.
  Instant ready_at(Instant now) const;
  /// A quiet moment in which the foreground is measured alone.
  bool probing() const { return probing_; }
  /// Copy steps at once: few while somebody is served, so that none waits behind many.
  uint32_t window(uint32_t most, uint64_t step_bytes) const;
  uint64_t rate() const { return fixed_ != 0 ? fixed_ : rate_; }

  static constexpr Duration kInterval = 50ms;

 private:
  static constexpr uint64_t kStart = 64 << 20;

  void judge(Duration latency, bool few);
  void settle(Instant now);

  const uint64_t least_;
  uint64_t fixed_ = 0;
  uint64_t rate_;
  int64_t allowance_ = 0;
  Instant settled_at_{Duration::zero()};
  double alone_us_ = 0;  // the foreground's latency without a copy beside it; 0: not known
  bool busy_ = false;    // somebody was served in the last interval
  bool probing_ = false;
  Instant next_probe_{Duration::zero()};
};

}  // namespace baton::mirror
