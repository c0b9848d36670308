// What `baton tune` watches on the real machine, and what it makes of it: how late timers fire, how long packets and flushes
// take, and which timing profile bears that. The watching blocks for as long as asked; the judging is pure.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "src/base/result.h"
#include "src/base/time.h"
#include "src/model/configuration.h"

namespace baton::survey {

/// Times in microseconds, kept in buckets a quarter of a power of two wide.
class Distribution {
 public:
  void add(int64_t microseconds);
  void merge(const Distribution& other);
  uint64_t count() const { return count_; }
  int64_t worst_us() const { return worst_; }
  /// What `share` (0.99) of them do not exceed, to a bucket's width; 0 without any.
  int64_t quantile_us(double share) const;
  /// How many fell into each power of two: (upper end in microseconds, number), from the first to the last that has any.
  std::vector<std::pair<int64_t, uint64_t>> powers() const;

 private:
  static constexpr size_t kBuckets = 128;
  uint64_t buckets_[kBuckets] = {};
  uint64_t count_ = 0;
  int64_t worst_ = 0;
};

struct NetworkFigures {
  std::string peer;
  uint32_t link = 0;
  uint64_t sent = 0;
  uint64_t lost = 0;
  Distribution round_trip;
};

struct TuneFigures {
  seconds watched{0};
  Distribution normal;     // lateness of a timer at ordinary priority
  Distribution real_time;  // at the priority that corosync has
  bool has_real_time = true;
  std::string why_no_real_time;
  std::vector<NetworkFigures> network;
  Distribution flush;
  std::string flush_directory;
  std::string why_no_flush;
};

struct TuneOptions {
  const Configuration* configuration = nullptr;
  ServerId self;
  std::string state_directory = "/var/lib/baton";
  seconds duration{10};
};

TuneFigures watch(const TuneOptions& options);

struct Recommendation {
  std::string profile;         // "fast", "lan", "wan"; "custom" when even wan does not bear it
  milliseconds token{0};       // of the profile, or the one needed
  milliseconds needed{0};      // the shortest token that bears what was seen
  std::vector<std::string> reasons;
  std::vector<std::string> warnings;
};

Recommendation recommend(const TuneFigures& figures);

}  // namespace baton::survey
