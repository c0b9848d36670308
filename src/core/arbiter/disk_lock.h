// One server's side of the lock on a disk: when its block is written and the other one's read, what that says, and since when the
// disk cannot be asked. Pure. docs/protocol.md, "The arbiter on a disk".
#pragma once

#include <optional>
#include <utility>

#include "src/base/ids.h"
#include "src/base/time.h"
#include "src/core/arbiter/disk_claim.h"

namespace baton::arbiter {

/// A lock that was looked at longer ago is looked at again before anything is decided by it.
inline constexpr Duration kFresh = 1s;

/// Write `own` (none: read this server's block, too), and once that is durable read the other server's. Answered by one RoundDone.
struct Round {
  uint64_t number = 0;
  std::string disk;
  ServerId self;
  ServerId other;
  std::optional<DiskBlock> own;
};
struct RoundDone {
  uint64_t number = 0;
  bool ok = false;
  DiskBlock own;    // as it is on the disk now
  DiskBlock other;
  std::string problem;  // not ok: what could not be done, for people
};

class DiskLock {
 public:
  /// `life` is unique per start of this batond.
  DiskLock(ServerId self, uint64_t life, Instant now) : self_(self), life_(life), since_(now) {}

  /// Which disk, and whose block is the other one's. Another one than before: everything is looked at anew.
  void use(Instant now, const std::string& disk, ServerId other);
  void wish(const DiskWish& wish) { wish_ = wish; }
  /// The round that is due; `mark` comes back with its outcome (marked()).
  std::optional<Round> next(Instant now, uint64_t mark);
  void done(Instant now, const RoundDone& done);
  Instant next_tick(Instant now) const;

  bool in_use() const { return !disk_.empty(); }
  /// The last round went well, and it is not long ago.
  bool answers(Instant now) const;
  /// The lock is this server's, by a round of this life that wrote its block and then read the other one's, a moment ago.
  bool has(Instant now) const { return has_ && now < marked_at_ + kFresh; }
  /// The mark of the round that has() goes by.
  uint64_t marked() const { return marked_; }
  /// The other server's claim stands.
  bool others() const { return known_ && claims(other_, own_); }
  /// A claim of this server that was held has been made void since: read once.
  bool take_voided() { return std::exchange(voided_, false); }
  /// The other server writes to the disk: its batond lives.
  bool other_lives(Instant now) const;
  /// Since when it has not been seen to write, in this life; kNever: it has never been.
  Instant other_wrote() const { return other_moved_; }
  const DiskBlock& own() const { return own_; }
  const DiskBlock& other() const { return other_; }
  const std::string& disk() const { return disk_; }
  /// Why the disk cannot be asked, for people; empty: it can.
  std::string why_not(Instant now) const;

 private:
  ServerId self_;
  uint64_t life_;
  Instant since_;  // the last round that went well was answered, or it was to be used
  ServerId other_id_{};
  std::string disk_;
  DiskWish wish_;
  DiskBlock own_;
  DiskBlock other_;
  bool known_ = false;    // both are what was on the disk after the last round
  bool written_ = false;  // own_ was written in this life
  bool has_ = false;
  bool voided_ = false;
  bool flies_ = false;    // a round is under way
  bool stale_ = false;    // ... to a disk that is not used any more
  uint64_t number_ = 0;
  uint64_t mark_ = 0;     // of the round that is under way
  uint64_t marked_ = 0;
  Instant marked_at_{};   // the begin of that round
  Instant begun_{};
  Instant due_{};
  Instant other_moved_ = kNever;
  std::string problem_;
};

}  // namespace baton::arbiter
