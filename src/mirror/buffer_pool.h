// BufferPool: the memory that holds data between export, disk and mirror connect: page-aligned, counted, reused.
// Whoever begins an operation on a buffer retains it, so the core may let go of one that is still being sent.
// The loop's thread.
#pragma once

#include <array>
#include <cstdint>
#include <unordered_map>
#include <vector>

#include "src/core/mirror/mirror_types.h"

namespace baton::mirror {

constexpr uint32_t kMaxTransferBytes = 1u << 20;

class BufferPool {
 public:
  BufferPool() = default;
  ~BufferPool();
  BufferPool(const BufferPool&) = delete;
  BufferPool& operator=(const BufferPool&) = delete;

  /// A buffer of at least `bytes` (1 to kMaxTransferBytes), with one reference, under a name of the pool's own.
  /// Its content is whatever was there before.
  BufferId allocate(uint32_t bytes);
  /// The same under a name that the core chose. REQUIRES: not in use.
  void allocate_as(BufferId name, uint32_t bytes);

  void retain(BufferId name);
  void release(BufferId name);

  bool contains(BufferId name) const { return buffers_.contains(name); }
  uint8_t* data(BufferId name) { return find(name).memory; }
  uint32_t capacity(BufferId name) const;

  size_t in_use() const { return buffers_.size(); }
  /// Memory ever taken from the system.
  uint64_t reserved_bytes() const { return reserved_bytes_; }

 private:
  static constexpr unsigned kSmallestShift = 12;  // 4 KiB
  static constexpr unsigned kClasses = 9;         // 4 KiB to 1 MiB

  struct Buffer {
    uint8_t* memory = nullptr;
    uint32_t references = 0;
    uint8_t size_class = 0;
  };

  Buffer& find(BufferId name);
  uint8_t* take_memory(unsigned size_class);

  std::unordered_map<BufferId, Buffer> buffers_;
  std::array<std::vector<uint8_t*>, kClasses> free_;
  std::vector<std::pair<void*, size_t>> mappings_;
  BufferId last_name_ = 0;
  uint64_t reserved_bytes_ = 0;
};

}  // namespace baton::mirror
