// See generations.h.
#include "src/core/mirror/generations.h"

#include <algorithm>

#include "src/base/assert.h"

namespace baton::mirror {

namespace {

bool among(const std::vector<Generation>& ancestors, const Generation& generation) {
  return std::find(ancestors.begin(), ancestors.end(), generation) != ancestors.end();
}

/// From the base on (the base included) the dirty bitmap has everything: whoever adopted a generation in
/// between was equal then, and bits are only added while the copies are apart.
bool bitmap_counts_from(const std::vector<Generation>& ancestors, const Generation& base,
                        const Generation& primary, const Generation& secondary) {
  if (secondary == base) return true;
  if (base == primary) return false;
  for (const Generation& ancestor : ancestors) {
    if (ancestor == secondary) return true;
    if (ancestor == base) return false;
  }
  return false;
}

}  // namespace

const char* to_string(Resync resync) {
  switch (resync) {
    case Resync::kFast:
      return "fast";
    case Resync::kFull:
      return "full";
    case Resync::kRefusedOlder:
      return "refused-older";
    case Resync::kRefusedDiverged:
      return "refused-diverged";
  }
  return "?";
}

ResyncDecision decide_resync(const Generation& primary, const std::vector<Generation>& primary_ancestors,
                             const Generation& primary_base, const Generation& secondary,
                             const std::vector<Generation>& secondary_ancestors) {
  BATON_ASSERT(primary.counter != 0);
  const bool of_zeroes = secondary.counter == 0 && secondary != Generation{};
  if (of_zeroes && bitmap_counts_from(primary_ancestors, primary_base, primary, secondary)) {
    return {Resync::kFast, "both stores were new and all zeroes: only what was written since is sent"};
  }
  if (secondary.counter == 0) return {Resync::kFull, "the other copy is new"};
  if (secondary == primary) return {Resync::kFast, "the copies were connected last with this data"};
  if (bitmap_counts_from(primary_ancestors, primary_base, primary, secondary)) {
    return {Resync::kFast, "the other copy was away while this one went on"};
  }
  if (among(secondary_ancestors, primary)) {
    return {Resync::kRefusedOlder,
            "this copy's data is older than the other copy's: it must not overwrite it. Promote the other "
            "server, or "
            "discard the other copy's data if it is really not wanted"};
  }
  if (among(primary_ancestors, secondary)) {
    return {Resync::kFull, "the other copy's data is older than what the bitmap remembers"};
  }
  return {Resync::kRefusedDiverged,
          "both copies were written independently of each other; they are never merged. Decide which one is "
          "right and "
          "discard the other one's data"};
}

void take_new_generation(Superblock& superblock, uint64_t random) {
  const Generation old = superblock.generation;
  const bool blank = old == Generation{};
  if (!blank) superblock.ancestors.insert(superblock.ancestors.begin(), old);
  if (superblock.ancestors.size() > kMaxAncestors) superblock.ancestors.resize(kMaxAncestors);
  superblock.generation = Generation{old.counter + 1, random};
  if (blank) superblock.base = superblock.generation;
}

}  // namespace baton::mirror
