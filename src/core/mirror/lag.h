// Lag: how far the peer is behind what was answered here: the blocks that are on their way (protocols A and B), and
// since when something answered may be missing on its disk. Pure. docs/protocol.md, A1, A5.
#pragma once

#include <cstdint>
#include <deque>

#include "src/base/time.h"

namespace baton::mirror {

class Lag {
 public:
  /// A write is answered; `at_peer`: it was sent, and is there or on its way. Otherwise it is missing until settled().
  void answered(Instant now, bool at_peer);
  /// ... before the peer has written it. Returns what arrived() wants.
  uint64_t on_its_way(Instant now, uint64_t blocks);
  void arrived(uint64_t number, uint64_t blocks);
  /// A flush that the peer takes part in begins, and has ended well: it covers what had arrived when it began.
  void flush_begun();
  void flush_ended();
  /// What was on its way is not any more; what is not flushed stays so.
  void link_lost();
  /// The peer has been brought up to date and has flushed: only what was sent since then counts.
  void settled() { missing_since_ = kNever; }

  uint64_t blocks() const { return blocks_; }
  /// When the oldest answer was given whose data may be missing on the peer's disk; kNever: nothing is.
  Instant since() const;

 private:
  struct Answer {
    Instant answered;
    bool arrived = false;
  };
  std::deque<Answer> on_its_way_;  // the last one has next_number_ - 1; the first has not arrived
  uint64_t next_number_ = 1;
  uint64_t blocks_ = 0;
  Instant unflushed_since_ = kNever;
  Instant after_flush_ = kNever;  // the same once the flush under way has ended
  Instant missing_since_ = kNever;
};

}  // namespace baton::mirror
