// What a run of many seeds comes to: how much was checked how fast, which faults how often, which weathers. One thread.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "sim/cluster.h"

namespace baton::sim {

struct SeedResult {
  uint64_t seed = 0;
  Outcome outcome;
  int64_t cpu_us = 0;
};

/// One line, from a worker to the parent process, and back.
std::string encode(const SeedResult& result);
SeedResult decode(const std::string& line);

class Report {
 public:
  void add(const SeedResult& result);
  uint64_t seeds() const { return seeds_; }
  uint64_t violations() const { return failed_.size(); }
  std::string text() const;
  std::string json() const;

 private:
  double per_second() const;
  double per_minute(uint64_t count) const;

  uint64_t seeds_ = 0;
  uint64_t events_ = 0;
  uint64_t committed_ = 0;
  int64_t cpu_us_ = 0;
  Duration simulated_{};
  std::map<std::string, uint64_t> weathers_;
  std::map<std::string, uint64_t> counts_;
  std::map<uint64_t, std::string> failed_;
};

}  // namespace baton::sim
