// The two-block lock. Pure. docs/protocol.md, "The arbiter on a disk".
#include "src/core/arbiter/disk_claim.h"

#include <algorithm>

#include "src/base/planted.h"

namespace baton::arbiter {

bool claims(const DiskBlock& block, const DiskBlock& other) {
  if (planted(Plant::kOtherClaimIgnored) && other.claim != 0) return other.claim < block.claim;
  return block.claim != 0 && block.claim > other.voids;
}

bool has_lock(const DiskBlock& own, const DiskBlock& other) {
  // SAFETY: Q2. Of two that have each written and then read, at least one sees the other's claim.
  return claims(own, other) && !claims(other, own);
}

DiskBlock prepare(const DiskBlock& own, const DiskBlock& other, const DiskWish& wish, bool gives_way) {
  DiskBlock next = own;
  ++next.sequence;
  const bool mine = has_lock(own, other);
  if (wish.kind == DiskWish::Kind::kFree || (own.claim != 0 && !claims(own, other))) {
    next.claim = 0;
  } else if (own.claim != 0 && !own.held && !mine && (other.held || gives_way)) {
    // SAFETY: Q3. A claim that was never held has been used for nothing; one that was held stays.
    next.claim = 0;
  } else if (own.claim != 0 && mine) {
    next.held = true;
  }
  if (wish.kind == DiskWish::Kind::kHold) {
    next.voids = std::max(next.voids, std::min(wish.voids, other.number));  // Q6
    // SAFETY: Q3. The number is a new one: the other server may have seen, or made void, any before.
    if (own.claim == 0 && !claims(other, next)) next.claim = next.number = std::max(next.number, other.voids) + 1;
  }
  if (next.claim != own.claim) next.held = false;
  return next;
}

}  // namespace baton::arbiter
