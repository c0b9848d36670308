// MetricsClock: turns what is counted since the start into figures of the last second. The loop's thread.
#pragma once

#include "src/core/mirror/mirror_copy.h"
#include "src/mirror/device_meter.h"
#include "src/model/mirror_report.h"

namespace baton::mirror {

class MetricsClock {
 public:
  /// Called about once a second. True: something has happened since the last time, or the figures came to rest.
  bool turn(Instant now, const Counters& counters, DeviceMeter& disk, uint64_t sent_bytes);
  const MirrorMetrics& metrics() const { return metrics_; }

 private:
  Counters last_;
  Instant last_time_{};
  MirrorMetrics metrics_;
};

}  // namespace baton::mirror
