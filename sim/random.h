// The simulation's own random numbers (xoshiro256**, seeded by splitmix64): the same on every machine and
// library.
#pragma once

#include <array>
#include <cstdint>

#include "src/base/assert.h"
#include "src/base/time.h"

namespace baton::sim {

class Random {
 public:
  explicit Random(uint64_t seed) {
    for (auto& word : state_) {
      seed += 0x9e3779b97f4a7c15;
      uint64_t mixed = seed;
      mixed = (mixed ^ (mixed >> 30)) * 0xbf58476d1ce4e5b9;
      mixed = (mixed ^ (mixed >> 27)) * 0x94d049bb133111eb;
      word = mixed ^ (mixed >> 31);
    }
  }

  uint64_t next() {
    const uint64_t result = rotate(state_[1] * 5, 7) * 9;
    const uint64_t shifted = state_[1] << 17;
    state_[2] ^= state_[0];
    state_[3] ^= state_[1];
    state_[1] ^= state_[2];
    state_[0] ^= state_[3];
    state_[2] ^= shifted;
    state_[3] = rotate(state_[3], 45);
    return result;
  }
  /// 0 to `bound` - 1.
  uint64_t below(uint64_t bound) {
    BATON_ASSERT(bound > 0);
    return next() % bound;
  }
  int64_t between(int64_t low, int64_t high) {
    return low + static_cast<int64_t>(below(uint64_t(high - low) + 1));
  }
  Duration between(Duration low, Duration high) { return Duration{between(low.count(), high.count())}; }
  bool chance(double probability) {
    return static_cast<double>(next() >> 11) < probability * 9007199254740992.0;
  }
  /// A stream of its own, so that one part's use of numbers does not shift another's.
  Random fork() { return Random{next()}; }

 private:
  static uint64_t rotate(uint64_t word, int by) { return (word << by) | (word >> (64 - by)); }
  std::array<uint64_t, 4> state_;
};

}  // namespace baton::sim
