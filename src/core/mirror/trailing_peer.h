// TrailingPeer: under protocol A with `max_lag`, whether the committed record may name the peer as a copy that takes over
// although it is a little behind, and what the primary may answer while it does. Pure. docs/protocol.md, A5.
#pragma once

#include "src/core/mirror/operations.h"

namespace baton::mirror {

struct CopyCore;

class TrailingPeer {
 public:
  explicit TrailingPeer(CopyCore& core) : core_(core) {}

  enum class Wish { kNone, kName, kRelease };

  /// A new primary: nothing is named or proposed yet.
  void begin();
  /// What the record is to say of the peer now, when it says something else. `peer`: its incarnation, if it is there
  /// and has everything but what is on its way. `copy_waits`: a copy to it is to begin.
  Wish wish(Incarnation peer, bool copy_waits) const;
  /// The peer may be named in a proposal that is made anyway.
  bool may_name() const;
  /// It was, with this version: from now on the record may say so.
  void proposed(uint64_t version) { name_version_ = version; }
  void state_changed();
  /// No write may be answered: the peer may take over, and would lack too much.
  bool too_far_behind() const;
  /// Sees to it that the peer flushes often enough.
  void advance();
  Instant next_tick() const;
  /// The record names the peer, or may do so.
  bool named() const;

 private:
  bool wanted() const;
  Duration lag() const;

  CopyCore& core_;
  uint64_t name_version_ = 0;  // the outcome of a proposal that names it is unknown
  bool was_named_ = false;
  Instant name_again_{Duration::zero()};
  Instant flush_again_{Duration::zero()};
};

}  // namespace baton::mirror
