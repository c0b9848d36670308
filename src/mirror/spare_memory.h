// SpareMemory: memory that is truly present and that nobody uses yet, for BufferPool to take pieces from. It grows ahead
// of need and away from the loop's thread: under memory pressure a first touch of a page may wait for writes to the very
// disk that we serve (docs/traps.md, trap 16). The loop's thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <utility>
#include <vector>

#include "src/base/time.h"

namespace baton::mirror {

class SpareMemory {
 public:
  /// Present from the start, and what trim() leaves.
  static constexpr size_t kLeast = 1u << 20;
  static constexpr size_t kMost = 4u << 20;
  /// Not for those who bring new data in, while more is being made present.
  static constexpr size_t kReserve = 512u << 10;
  static constexpr Duration kRest = 5s;

  /// To make that memory present (MADV_POPULATE_WRITE) in another thread, and to call grown() afterwards.
  using Grow = std::function<void(uint8_t* memory, size_t bytes)>;

  SpareMemory();
  ~SpareMemory();
  SpareMemory(const SpareMemory&) = delete;
  SpareMemory& operator=(const SpareMemory&) = delete;

  /// Without it nothing grows ahead of need.
  void set_grow(Grow grow) { grow_ = std::move(grow); }
  /// What was asked for is present, or (`present` false) this kernel cannot do that in another thread.
  void grown(bool present);
  bool growing() const { return is_growing_; }

  /// Memory that is present; null: there is not so much in one place. `bytes`: whole pages.
  uint8_t* take(size_t bytes);
  /// The last resort: makes it present in this thread.
  uint8_t* take_at_once(size_t bytes);
  /// Asks for more when little is left; `used` is what was taken in all.
  void replenish(size_t used);

  size_t bytes() const { return bytes_; }
  /// With what is being made present.
  size_t reserved_bytes() const { return bytes_ + growing_.bytes; }

  /// Gives back what has rested. REQUIRES: not growing.
  void trim(Instant now);

 private:
  struct Region {
    uint8_t* memory = nullptr;
    size_t bytes = 0;
  };

  std::vector<Region> regions_;
  Region growing_;  // what is left of it
  bool is_growing_ = false;
  Grow grow_;
  size_t bytes_ = 0;
  size_t largest_ = 0;  // piece that was taken since a rest
  bool used_ = true;  // since the last trim()
  Instant resting_since_ = kNever;
};

}  // namespace baton::mirror
