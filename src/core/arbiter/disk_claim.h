// A lock for two servers on a disk that both reach, of two blocks: each server writes its own only. Who has written a claim and
// then finds none of the other one's has the lock; it stays his, whatever ends, until he frees it. Pure functions.
// docs/protocol.md, "The arbiter on a disk".
#pragma once

#include <cstdint>
#include <string>

namespace baton::arbiter {

/// A server's block.
struct DiskBlock {
  uint64_t life = 0;      // of the batond that wrote it
  uint64_t sequence = 0;  // rises with every write; 0: never written
  uint64_t claim = 0;     // the number of the claim that stands; 0: none
  uint64_t number = 0;    // the greatest that a claim of this server ever had
  bool held = false;      // the claim has been found to be the only one: Q3
  uint64_t voids = 0;     // claims of the other server up to there are void, by a person's word
  bool operator==(const DiskBlock&) const = default;
};

/// What a server is after.
struct DiskWish {
  enum class Kind { kKeep, kHold, kFree } kind = Kind::kKeep;
  uint64_t voids = 0;  // ... and claims of the other one up to there are to be void
  bool operator==(const DiskWish&) const = default;
};

/// Does the claim in `block` count, beside the other server's block?
bool claims(const DiskBlock& block, const DiskBlock& other);

/// What this server writes next. `own`: as it wrote it last (or read it, after a start); `other`: as it was read last.
DiskBlock prepare(const DiskBlock& own, const DiskBlock& other, const DiskWish& wish, bool gives_way);

/// `own` is on the disk, and `other` was read after that: is the lock this server's?
bool has_lock(const DiskBlock& own, const DiskBlock& other);

}  // namespace baton::arbiter
