// The library's XXH3 is built for the oldest processors; ours takes the wider instructions where there are any. The
// result is the same: it is on the wire between servers with different processors.
#include "src/mirror/mirror_hash.h"

#include <cstring>

#include "src/mirror/mirror_hash_wide.h"

namespace baton::mirror {

std::vector<BlockHash> hash_blocks(const uint8_t* data, uint64_t count) {
#ifdef __x86_64__
  static const bool wide = __builtin_cpu_supports("avx2");
#else
  constexpr bool wide = false;
#endif
  std::vector<BlockHash> hashes(count);
  (wide ? hash_blocks_wide : hash_blocks_plain)(data, count, hashes.data());
  return hashes;
}

bool is_zero(const uint8_t* data, size_t size) {
  // Each byte equals the next one: the C library compares as fast as memory is read.
  return size == 0 || (data[0] == 0 && std::memcmp(data, data + 1, size - 1) == 0);
}

}  // namespace baton::mirror
