// What copies look at in a block: the hash by which they compare it (XXH3 of 128 bits), and whether it is zeroes.
// Pure, any thread.
#pragma once

#include <vector>

#include "src/core/mirror/mirror_types.h"

namespace baton::mirror {

/// One hash for each block of `count` blocks at `data`.
std::vector<BlockHash> hash_blocks(const uint8_t* data, uint64_t count);

/// All of it is zeroes. Looks no further than the first byte that is not.
bool is_zero(const uint8_t* data, size_t size);

}  // namespace baton::mirror
