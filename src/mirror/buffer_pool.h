// BufferPool: the memory that holds data between export, disk and mirror connect: page-aligned, counted, reused.
// Whoever begins an operation on a buffer retains it, so the core may let go of one that is still being sent.
// What memory there is is present, and more of it is asked for before it is needed: spare_memory.h.
// The loop's thread.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <unordered_map>
#include <vector>

#include "src/base/time.h"
#include "src/core/mirror/mirror_types.h"
#include "src/mirror/spare_memory.h"

namespace baton::mirror {

constexpr uint32_t kMaxTransferBytes = 1u << 20;

class BufferPool {
 public:
  /// Above this much in use full() asks everybody who brings new data in to wait.
  static constexpr uint64_t kFullBytes = 64u << 20;
  /// What trim() leaves, so that a first burst after a rest waits for no memory.
  static constexpr uint64_t kKeptBytes = 2u << 20;
  /// A piece that has not been used for so long is given back.
  static constexpr Duration kRest = SpareMemory::kRest;

  /// REQUIRES: memory is locked already, where it is to be.
  BufferPool() = default;
  ~BufferPool();
  BufferPool(const BufferPool&) = delete;
  BufferPool& operator=(const BufferPool&) = delete;

  /// See SpareMemory.
  void set_grow(SpareMemory::Grow grow) { spare_.set_grow(std::move(grow)); }
  void grown(bool present);

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

  /// The buffer whose memory that is part of; 0: none. Slow: for what happens once.
  BufferId name_of(const uint8_t* memory) const;
  /// Something goes on writing into the memory of `name`: that memory stays under the name returned, which has one
  /// reference, and `name` has other memory from now on, of undefined content.
  BufferId part_with_memory(BufferId name);

  size_t in_use() const { return buffers_.size(); }
  uint64_t bytes_in_use() const { return bytes_in_use_; }
  /// Exports and connections take no new data in while it is; operations that have begun may still allocate.
  bool full() const { return bytes_in_use_ >= kFullBytes; }
  /// The same for new data of that size: memory for it is on its way, and what there is is for what has begun.
  bool short_of(uint32_t bytes) const;
  /// Memory taken from the system now.
  uint64_t reserved_bytes() const { return reserved_bytes_ + spare_.reserved_bytes(); }

  /// Gives back what has rested for kRest. Call it about once a second, and not while requests wait.
  void trim(Instant now);

 private:
  static constexpr unsigned kSmallestShift = 12;  // 4 KiB
  static constexpr unsigned kClasses = 9;         // 4 KiB to 1 MiB

  /// Memory of one mapping, cut into buffers of one class.
  struct Piece {
    uint8_t* memory = nullptr;
    size_t size = 0;
    uint32_t buffers_in_use = 0;
    bool used = true;    // since the last trim()
    Instant resting_since = kNever;
  };
  struct Free {
    uint8_t* memory = nullptr;
    Piece* piece = nullptr;
  };
  struct Buffer {
    uint8_t* memory = nullptr;
    Piece* piece = nullptr;
    uint32_t references = 0;
    uint8_t size_class = 0;
  };
  struct SizeClass {
    std::vector<Free> free;
    std::vector<std::unique_ptr<Piece>> pieces;
  };

  static unsigned class_of(uint32_t bytes);
  Buffer& find(BufferId name);
  bool find_free(unsigned* size_class) const;
  Free take_memory(unsigned* size_class);
  void add_memory(unsigned* size_class);
  size_t piece_size(unsigned size_class) const;
  void add_piece(unsigned size_class, uint8_t* memory, size_t size);
  void give_back(SizeClass& size_class, Instant now);

  std::unordered_map<BufferId, Buffer> buffers_;
  std::array<SizeClass, kClasses> classes_;
  BufferId last_name_ = 0;
  uint64_t bytes_in_use_ = 0;
  uint64_t reserved_bytes_ = 0;  // of the pieces
  SpareMemory spare_;
};

}  // namespace baton::mirror
