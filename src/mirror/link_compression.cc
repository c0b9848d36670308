// lz4 gives up early on what cannot be made small enough, so random data costs little.
#include "src/mirror/link_compression.h"

#include <lz4.h>

namespace baton::mirror {

LinkCompressor::LinkCompressor(BufferPool& pool)
    : pool_(pool), state_((static_cast<size_t>(LZ4_sizeofState()) + sizeof(uint64_t) - 1) / sizeof(uint64_t)) {}

std::optional<LinkCompressor::Compressed> LinkCompressor::compress(std::span<const uint8_t> data) {
  const size_t limit = data.size() - data.size() / 8;
  const BufferId buffer = pool_.allocate(static_cast<uint32_t>(limit));
  const int size = LZ4_compress_fast_extState(state_.data(), reinterpret_cast<const char*>(data.data()),
                                              reinterpret_cast<char*>(pool_.data(buffer)), static_cast<int>(data.size()),
                                              static_cast<int>(limit), 1);
  if (size > 0) return Compressed{buffer, static_cast<uint32_t>(size)};
  pool_.release(buffer);
  return std::nullopt;
}

bool decompress(std::span<const uint8_t> from, std::span<uint8_t> to) {
  const int size = LZ4_decompress_safe(reinterpret_cast<const char*>(from.data()), reinterpret_cast<char*>(to.data()),
                                       static_cast<int>(from.size()), static_cast<int>(to.size()));
  return size >= 0 && static_cast<size_t>(size) == to.size();
}

}  // namespace baton::mirror
