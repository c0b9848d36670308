// Memory comes from the system in pieces of at least 1 MiB per size class and is kept for ever: on the write path
// nothing waits for the kernel's memory management once the pool has grown to what the load needs.
#include "src/mirror/buffer_pool.h"

#include <sys/mman.h>

#include <bit>

#include "src/base/assert.h"

namespace baton::mirror {

BufferPool::~BufferPool() {
  for (const auto& [address, size] : mappings_) munmap(address, size);
}

BufferId BufferPool::allocate(uint32_t bytes) {
  // The core's own names (LocalRead::new_buffer) start high: see mirror_copy.
  const BufferId name = ++last_name_;
  allocate_as(name, bytes);
  return name;
}

void BufferPool::allocate_as(BufferId name, uint32_t bytes) {
  BATON_ASSERT(name != 0 && bytes > 0 && bytes <= kMaxTransferBytes);
  const unsigned shift = std::max<unsigned>(kSmallestShift, std::bit_width(bytes - 1));
  const unsigned size_class = shift - kSmallestShift;
  const auto [place, fresh] = buffers_.try_emplace(name);
  BATON_ASSERT(fresh);
  place->second = Buffer{take_memory(size_class), 1, static_cast<uint8_t>(size_class)};
}

uint8_t* BufferPool::take_memory(unsigned size_class) {
  auto& free = free_[size_class];
  if (free.empty()) {
    const size_t piece = kMaxTransferBytes;
    void* memory = mmap(nullptr, piece, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    BATON_ASSERT(memory != MAP_FAILED);
    mappings_.emplace_back(memory, piece);
    reserved_bytes_ += piece;
    const size_t step = size_t{1} << (kSmallestShift + size_class);
    free.reserve(free.size() + piece / step);
    for (size_t offset = piece; offset >= step; offset -= step) free.push_back(static_cast<uint8_t*>(memory) + offset - step);
  }
  uint8_t* memory = free.back();
  free.pop_back();
  return memory;
}

void BufferPool::retain(BufferId name) { ++find(name).references; }

void BufferPool::release(BufferId name) {
  Buffer& buffer = find(name);
  if (--buffer.references > 0) return;
  free_[buffer.size_class].push_back(buffer.memory);
  buffers_.erase(name);
}

uint32_t BufferPool::capacity(BufferId name) const {
  const auto found = buffers_.find(name);
  BATON_ASSERT(found != buffers_.end());
  return 1u << (kSmallestShift + found->second.size_class);
}

BufferPool::Buffer& BufferPool::find(BufferId name) {
  auto found = buffers_.find(name);
  BATON_ASSERT(found != buffers_.end());
  return found->second;
}

}  // namespace baton::mirror
