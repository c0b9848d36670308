// The same hash in two builds; mirror_hash chooses. Any thread.
#pragma once

#include "src/core/mirror/mirror_types.h"

namespace baton::mirror {

void hash_blocks_plain(const uint8_t* data, uint64_t count, BlockHash* out);
/// REQUIRES: a processor with AVX2.
void hash_blocks_wide(const uint8_t* data, uint64_t count, BlockHash* out);

}  // namespace baton::mirror
