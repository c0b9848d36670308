// Data generations: taking a new one (G1) and what a connection of two copies needs (the table G2). Pure
// functions. docs/protocol.md, "Data generations".
#pragma once

#include <string>
#include <vector>

#include "src/core/mirror/mirror_types.h"

namespace baton::mirror {

constexpr size_t kMaxAncestors = 32;
/// What a copy holds whose store is new and known to read as zeroes: all such copies are equal.
constexpr Generation kZeroGeneration{0, 1};

/// What a connected pair has to do so that the secondary becomes the primary's equal.
enum class Resync {
  kFast,             // dirty blocks are sent, suspect extents compared
  kFull,             // every block is sent
  kRefusedOlder,     // the primary's data is an ancestor of the secondary's
  kRefusedDiverged,  // both went on alone from a common past
};
const char* to_string(Resync resync);

struct ResyncDecision {
  Resync resync = Resync::kRefusedDiverged;
  std::string reason;  // for people
};

/// REQUIRES: the primary's generation is not blank.
ResyncDecision decide_resync(const Generation& primary, const std::vector<Generation>& primary_ancestors,
                             const Generation& primary_base, const Generation& secondary,
                             const std::vector<Generation>& secondary_ancestors);

/// G1: the present generation joins the ancestors. `random` makes it unlike any other.
void take_new_generation(Superblock& superblock, uint64_t random);

}  // namespace baton::mirror
