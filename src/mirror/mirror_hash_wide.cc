// XXH3 compiled here for AVX2. Everything that other files share is included before the instruction set is changed, so
// that none of it is compiled for a processor that may not be there.
#include "src/mirror/mirror_hash_wide.h"

#include <limits.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#ifdef __x86_64__
#include <immintrin.h>
#pragma GCC push_options
#pragma GCC target("avx2")
#define XXH_VECTOR 2  // AVX2
#endif
#define XXH_INLINE_ALL
#include <xxhash.h>

namespace baton::mirror {

void hash_blocks_wide(const uint8_t* data, uint64_t count, BlockHash* out) {
  for (uint64_t i = 0; i < count; ++i) {
    const XXH128_hash_t hash = XXH3_128bits(data + i * kBlockBytes, kBlockBytes);
    out[i].low = hash.low64;
    out[i].high = hash.high64;
  }
}

}  // namespace baton::mirror
#ifdef __x86_64__
#pragma GCC pop_options
#endif
