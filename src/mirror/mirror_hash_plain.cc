// XXH3 as the library has it.
#include <xxhash.h>

#include "src/mirror/mirror_hash_wide.h"

namespace baton::mirror {

void hash_blocks_plain(const uint8_t* data, uint64_t count, BlockHash* out) {
  for (uint64_t i = 0; i < count; ++i) {
    const XXH128_hash_t hash = XXH3_128bits(data + i * kBlockBytes, kBlockBytes);
    out[i] = {hash.low64, hash.high64};
  }
}

}  // namespace baton::mirror
