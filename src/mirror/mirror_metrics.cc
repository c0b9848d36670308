// See mirror_metrics.h.
#include "src/mirror/mirror_metrics.h"

namespace baton::mirror {
namespace {

double mean_us(Duration total, uint64_t count) {
  return count == 0 ? 0 : static_cast<double>(total.count()) / 1000.0 / static_cast<double>(count);
}

}  // namespace

bool MetricsClock::turn(Instant now, const Counters& counters, DeviceMeter& disk, uint64_t sent_bytes) {
  const MirrorMetrics before = metrics_;
  const double seconds = static_cast<double>((now - last_time_).count()) / 1e9;
  if (seconds <= 0) return false;
  const auto rate = [&](uint64_t value, uint64_t old) { return static_cast<double>(value - old) / seconds; };
  metrics_.reads = counters.reads;
  metrics_.writes = counters.writes;
  metrics_.flushes = counters.flushes;
  metrics_.zeroes = counters.zeroes;
  metrics_.read_bytes = counters.read_bytes;
  metrics_.written_bytes = counters.written_bytes;
  metrics_.sent_bytes = sent_bytes;
  metrics_.read_iops = rate(counters.reads, last_.reads);
  metrics_.write_iops = rate(counters.writes, last_.writes);
  metrics_.read_bytes_per_second = rate(counters.read_bytes, last_.read_bytes);
  metrics_.write_bytes_per_second = rate(counters.written_bytes, last_.written_bytes);
  metrics_.local_us = disk.figures(DeviceMeter::Kind::kWrite).mean_us;
  metrics_.peer_us = mean_us(counters.peer_time - last_.peer_time, counters.peer_answers - last_.peer_answers);
  metrics_.total_us = mean_us(counters.write_time - last_.write_time, counters.writes - last_.writes);
  last_ = counters;
  last_time_ = now;
  return !(metrics_ == before);
}

}  // namespace baton::mirror
