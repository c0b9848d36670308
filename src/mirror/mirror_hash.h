// The hash by which copies compare blocks: XXH3 of 128 bits. Pure, any thread.
#pragma once

#include <vector>

#include "src/core/mirror/mirror_types.h"

namespace baton::mirror {

/// One hash for each block of `count` blocks at `data`.
std::vector<BlockHash> hash_blocks(const uint8_t* data, uint64_t count);

}  // namespace baton::mirror
