// Hashes of blocks for comparing copies: XXH3, 128 bits. Any thread.
#include "src/mirror/mirror_hash.h"

#include <xxhash.h>

namespace baton::mirror {

std::vector<BlockHash> hash_blocks(const uint8_t* data, uint64_t count) {
  std::vector<BlockHash> hashes;
  hashes.reserve(count);
  for (uint64_t i = 0; i < count; ++i) {
    const XXH128_hash_t hash = XXH3_128bits(data + i * kBlockBytes, kBlockBytes);
    hashes.push_back({hash.low64, hash.high64});
  }
  return hashes;
}

}  // namespace baton::mirror
