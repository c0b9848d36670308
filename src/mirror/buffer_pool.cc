// A size class takes the spare memory in pieces of at least 64 KiB. Under steady load nothing waits for the kernel's
// memory management; what a burst has taken goes back when it has rested.
#include "src/mirror/buffer_pool.h"

#include <sys/mman.h>

#include <algorithm>
#include <bit>

#include "src/base/assert.h"

namespace baton::mirror {
namespace {

/// A piece is as large as an eighth of what its class has, within these limits.
constexpr size_t kSmallestPiece = 64u << 10;
constexpr size_t kLargestPiece = 1u << 20;

}  // namespace

BufferPool::~BufferPool() {
  for (SizeClass& size_class : classes_) {
    for (const auto& piece : size_class.pieces) munmap(piece->memory, piece->size);
  }
}

BufferId BufferPool::allocate(uint32_t bytes) {
  // The core's own names (LocalRead::new_buffer) start high: see mirror_copy.
  const BufferId name = ++last_name_;
  allocate_as(name, bytes);
  return name;
}

void BufferPool::allocate_as(BufferId name, uint32_t bytes) {
  BATON_ASSERT(name != 0 && bytes > 0 && bytes <= kMaxTransferBytes);
  unsigned size_class = class_of(bytes);
  const auto [place, fresh] = buffers_.try_emplace(name);
  BATON_ASSERT(fresh);
  const Free taken = take_memory(&size_class);
  place->second = Buffer{taken.memory, taken.piece, 1, static_cast<uint8_t>(size_class)};
  bytes_in_use_ += uint64_t{1} << (kSmallestShift + size_class);
}

unsigned BufferPool::class_of(uint32_t bytes) {
  return std::max<unsigned>(kSmallestShift, std::bit_width(bytes - 1)) - kSmallestShift;
}

/// Of this class or the next larger one that has a free buffer.
bool BufferPool::find_free(unsigned* size_class) const {
  for (unsigned number = *size_class; number < kClasses; ++number) {
    if (classes_[number].free.empty()) continue;
    *size_class = number;
    return true;
  }
  return false;
}

bool BufferPool::short_of(uint32_t bytes) const {
  if (!spare_.growing() || spare_.bytes() >= SpareMemory::kReserve + bytes) return false;
  unsigned size_class = class_of(std::min(bytes, kMaxTransferBytes));
  return !find_free(&size_class);
}

/// A buffer of `size_class`, which becomes a larger one where nothing else is free.
BufferPool::Free BufferPool::take_memory(unsigned* size_class) {
  if (classes_[*size_class].free.empty()) add_memory(size_class);
  auto& free = classes_[*size_class].free;
  // The one that was used last: it is in the processor's cache, and what is not needed gets to rest.
  const Free taken = free.back();
  free.pop_back();
  ++taken.piece->buffers_in_use;
  taken.piece->used = true;
  return taken;
}

void BufferPool::add_memory(unsigned* size_class) {
  const size_t step = size_t{1} << (kSmallestShift + *size_class);
  size_t size = piece_size(*size_class);
  uint8_t* memory = spare_.take(size);
  while (memory == nullptr && size / 2 >= std::max(step, kSmallestPiece)) memory = spare_.take(size /= 2);
  if (memory == nullptr && !find_free(size_class)) {
    // Nothing else is possible: the peer's data and the core's own reads cannot be put off. It is bounded: exports bring
    // nothing new in by now (short_of), except one request each when they have nothing under way.
    size = std::max(step, kSmallestPiece);
    memory = spare_.take_at_once(size);
  }
  if (memory != nullptr) add_piece(*size_class, memory, size);
  spare_.replenish(reserved_bytes_);
}

/// A class that is used much grows faster.
size_t BufferPool::piece_size(unsigned number) const {
  size_t present = 0;
  for (const auto& piece : classes_[number].pieces) present += piece->size;
  const size_t wanted = std::bit_ceil(std::clamp(present / 8, kSmallestPiece, kLargestPiece));
  return std::max(size_t{1} << (kSmallestShift + number), wanted);
}

void BufferPool::add_piece(unsigned number, uint8_t* memory, size_t size) {
  SizeClass& size_class = classes_[number];
  const size_t step = size_t{1} << (kSmallestShift + number);
  reserved_bytes_ += size;
  auto piece = std::make_unique<Piece>();
  piece->memory = memory;
  piece->size = size;
  for (size_t offset = size; offset >= step; offset -= step) {
    size_class.free.push_back({piece->memory + offset - step, piece.get()});
  }
  size_class.pieces.push_back(std::move(piece));
}

void BufferPool::grown(bool present) {
  spare_.grown(present);
  spare_.replenish(reserved_bytes_);
}

void BufferPool::retain(BufferId name) { ++find(name).references; }

void BufferPool::release(BufferId name) {
  const auto found = buffers_.find(name);
  BATON_ASSERT(found != buffers_.end());
  Buffer& buffer = found->second;
  if (--buffer.references > 0) return;
  bytes_in_use_ -= uint64_t{1} << (kSmallestShift + buffer.size_class);
  --buffer.piece->buffers_in_use;
  classes_[buffer.size_class].free.push_back({buffer.memory, buffer.piece});
  buffers_.erase(found);
}

BufferId BufferPool::name_of(const uint8_t* memory) const {
  for (const auto& [name, buffer] : buffers_) {
    if (memory >= buffer.memory && memory < buffer.memory + capacity(name)) return name;
  }
  return 0;
}

BufferId BufferPool::part_with_memory(BufferId name) {
  const BufferId other = allocate(capacity(name));
  Buffer& first = find(name);
  Buffer& second = find(other);
  std::swap(first.memory, second.memory);
  std::swap(first.piece, second.piece);
  std::swap(first.size_class, second.size_class);
  return other;
}

uint32_t BufferPool::capacity(BufferId name) const {
  const auto found = buffers_.find(name);
  BATON_ASSERT(found != buffers_.end());
  return 1u << (kSmallestShift + found->second.size_class);
}

void BufferPool::trim(Instant now) {
  if (spare_.growing()) return;
  spare_.trim(now);
  for (SizeClass& size_class : classes_) give_back(size_class, now);
}

void BufferPool::give_back(SizeClass& size_class, Instant now) {
  std::vector<Piece*> resting;
  for (const auto& piece : size_class.pieces) {
    if (piece->used || piece->buffers_in_use > 0) {
      piece->used = false;
      piece->resting_since = now;
    } else if (now - piece->resting_since >= kRest && reserved_bytes() - piece->size >= kKeptBytes) {
      reserved_bytes_ -= piece->size;
      resting.push_back(piece.get());
    }
  }
  if (resting.empty()) return;
  const auto rests = [&](const Piece* piece) { return std::find(resting.begin(), resting.end(), piece) != resting.end(); };
  std::erase_if(size_class.free, [&](const Free& free) { return rests(free.piece); });
  std::erase_if(size_class.pieces, [&](const auto& piece) {
    if (!rests(piece.get())) return false;
    munmap(piece->memory, piece->size);
    return true;
  });
}

BufferPool::Buffer& BufferPool::find(BufferId name) {
  auto found = buffers_.find(name);
  BATON_ASSERT(found != buffers_.end());
  return found->second;
}

}  // namespace baton::mirror
