// Distribution of tune.h: a histogram of fixed size whose buckets grow with the value.
#include <algorithm>
#include <bit>

#include "src/survey/tune.h"

namespace baton::survey {
namespace {

constexpr unsigned kParts = 4;  // of each power of two

size_t bucket_of(int64_t microseconds) {
  const auto value = static_cast<uint64_t>(std::max<int64_t>(microseconds, 1));
  const auto power = static_cast<unsigned>(std::bit_width(value)) - 1;
  const uint64_t above = value - (uint64_t{1} << power);
  return power * kParts + static_cast<size_t>((above * kParts) >> power);
}

/// What no value of the bucket exceeds.
int64_t upper_end(size_t bucket) {
  const uint64_t base = uint64_t{1} << (bucket / kParts);
  return static_cast<int64_t>(base + (base * (bucket % kParts + 1) + kParts - 1) / kParts);
}

}  // namespace

void Distribution::add(int64_t microseconds) {
  ++buckets_[std::min(bucket_of(microseconds), kBuckets - 1)];
  ++count_;
  worst_ = std::max(worst_, microseconds);
}

void Distribution::merge(const Distribution& other) {
  for (size_t bucket = 0; bucket < kBuckets; ++bucket) buckets_[bucket] += other.buckets_[bucket];
  count_ += other.count_;
  worst_ = std::max(worst_, other.worst_);
}

int64_t Distribution::quantile_us(double share) const {
  uint64_t seen = 0;
  for (size_t bucket = 0; bucket < kBuckets; ++bucket) {
    seen += buckets_[bucket];
    if (seen > 0 && static_cast<double>(seen) >= share * static_cast<double>(count_)) return std::min(upper_end(bucket), worst_);
  }
  return worst_;
}

std::vector<std::pair<int64_t, uint64_t>> Distribution::powers() const {
  std::vector<std::pair<int64_t, uint64_t>> found;
  for (size_t bucket = 0; bucket < kBuckets; bucket += kParts) {
    uint64_t number = 0;
    for (size_t part = 0; part < kParts; ++part) number += buckets_[bucket + part];
    if (number > 0 || !found.empty()) found.emplace_back(int64_t{2} << (bucket / kParts), number);
  }
  while (!found.empty() && found.back().second == 0) found.pop_back();
  return found;
}

}  // namespace baton::survey
