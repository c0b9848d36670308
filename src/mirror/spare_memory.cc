// While a region is made present its maker holds the address space's lock for reading, perhaps for long: until it has
// ended nothing is mapped or unmapped here, which would wait for that lock.
#include "src/mirror/spare_memory.h"

#include <sys/mman.h>

#include <algorithm>
#include <bit>
#include <utility>

#include "src/base/assert.h"

namespace baton::mirror {
namespace {

constexpr size_t kPage = 4096;

uint8_t* map(size_t bytes) {
  void* memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  BATON_ASSERT(memory != MAP_FAILED);
  // Shared with a child, every page would be copied at its next write.
  madvise(memory, bytes, MADV_DONTFORK);
  return static_cast<uint8_t*>(memory);
}

/// MAP_POPULATE would not do: it passes over memory that is locked on its first fault (process_setup.cc).
void make_present(uint8_t* memory, size_t bytes) {
#ifdef MADV_POPULATE_WRITE
  if (madvise(memory, bytes, MADV_POPULATE_WRITE) == 0) return;
#endif
  // A kernel before 5.14, or one that is short of memory: touching waits for it.
  for (size_t at = 0; at < bytes; at += kPage) static_cast<volatile uint8_t*>(memory)[at] = 0;
}

}  // namespace

SpareMemory::SpareMemory() {
  regions_.push_back({map(kLeast), kLeast});
  make_present(regions_.back().memory, kLeast);
  bytes_ = kLeast;
}

SpareMemory::~SpareMemory() {
  for (const Region& region : regions_) munmap(region.memory, region.bytes);
  // Somebody may be at work on it; it goes with the process.
}

uint8_t* SpareMemory::take(size_t bytes) {
  used_ = true;
  largest_ = std::max(largest_, bytes);
  for (Region& region : regions_) {
    if (region.bytes < bytes) continue;
    uint8_t* memory = region.memory;
    region.memory += bytes;
    region.bytes -= bytes;
    bytes_ -= bytes;
    if (region.bytes == 0) regions_.erase(regions_.begin() + (&region - regions_.data()));
    return memory;
  }
  return nullptr;
}

uint8_t* SpareMemory::take_at_once(size_t bytes) {
  uint8_t* memory = nullptr;
  if (growing_.bytes >= bytes) {
    // Of what is being made present: two may do that to one page, and nothing needs to be mapped. A page fault only
    // reads the address space, so it waits for memory, not for the other one.
    growing_.bytes -= bytes;
    memory = growing_.memory + growing_.bytes;
  } else {
    memory = map(bytes);
  }
  make_present(memory, bytes);
  return memory;
}

void SpareMemory::replenish(size_t used) {
  const size_t wanted = std::bit_ceil(std::clamp(used / 8, kLeast, kMost));
  // One more of the largest that have been taken must fit: they do not come from what is in pieces.
  const bool fits = std::any_of(regions_.begin(), regions_.end(), [this](const Region& region) { return region.bytes >= largest_; });
  if (!grow_ || growing() || (bytes_ >= wanted / 2 && fits)) return;
  growing_ = {map(wanted), wanted};
  is_growing_ = true;
  grow_(growing_.memory, growing_.bytes);
}

void SpareMemory::grown(bool present) {
  BATON_ASSERT(growing());
  is_growing_ = false;
  used_ = true;
  const Region region = std::exchange(growing_, {});
  if (region.bytes == 0) return;  // all of it was taken at once
  if (!present) make_present(region.memory, region.bytes);
  regions_.push_back(region);
  bytes_ += region.bytes;
}

void SpareMemory::trim(Instant now) {
  BATON_ASSERT(!growing());
  if (std::exchange(used_, false)) resting_since_ = now;
  if (now - resting_since_ < kRest) return;
  largest_ = 0;
  while (bytes_ > kLeast) {
    Region& last = regions_.back();
    const size_t excess = std::min(last.bytes, bytes_ - kLeast);
    last.bytes -= excess;
    bytes_ -= excess;
    munmap(last.memory + last.bytes, excess);
    if (last.bytes == 0) regions_.pop_back();
  }
}

}  // namespace baton::mirror
