// FlushRounds: flushes of this disk and, while linked, of the peer's, gathered into rounds; and the transfer
// log, the completed writes that no such round covers yet. docs/protocol.md, S1, C3, C4.
#pragma once

#include <cstdint>
#include <deque>
#include <vector>

#include "src/core/mirror/mirror_types.h"

namespace baton::mirror {

struct CopyCore;

class FlushRounds {
 public:
  explicit FlushRounds(CopyCore& core) : core_(core) {}

  /// A client's flush or the flush of a client's write joins the next round; core.writes.flushed(slot) follows.
  void join(uint64_t slot);
  /// A flush of our own. Returns the number of the round that covers everything completed before this call.
  uint64_t request();
  /// True when the round has ended with every copy that takes part flushed.
  bool ended(uint64_t round) const { return round <= ended_; }
  /// The number of the newest completed write that both copies have flushed.
  uint64_t covered() const { return covered_; }

  /// A write to both copies is complete; returns its number.
  uint64_t completed(BlockRange range, bool on_both);
  uint64_t completions() const { return completions_; }

  void operation_done(uint64_t round, bool ok);
  void peer_done(uint64_t sequence, bool ok);
  /// C4: what is not covered by a flush of both is handed out as dirty.
  void link_lost();
  /// D1: from now on only the peer flushes.
  void detach();
  void become_secondary();
  void advance();
  /// A client's flush that only this disk takes part in (protocol A) has ended.
  void local_done(uint64_t round, bool ok);
  bool idle() const { return !running_ && waiting_.empty() && !wanted_; }

 private:
  struct Entry {
    uint64_t completion;
    BlockRange range;
  };
  void begin();
  void begin_local();
  void finish_if_done();

  CopyCore& core_;
  uint64_t completions_ = 0;
  uint64_t covered_ = 0;
  std::deque<Entry> transfer_log_;

  bool running_ = false;
  bool local_pending_ = false;
  bool peer_pending_ = false;
  bool peer_took_part_ = false;
  uint64_t sequence_ = 0;  // of the FlushPeer
  uint64_t covers_ = 0;
  uint64_t round_ = 0;  // of the running or the last one
  uint64_t ended_ = 0;
  std::vector<uint64_t> members_;
  std::vector<uint64_t> waiting_;
  bool wanted_ = false;  // a round of our own

  // Protocol A: rounds of the client's flushes on this disk alone, beside the rounds of both.
  bool local_running_ = false;
  uint64_t local_round_ = 0;
  std::vector<uint64_t> local_members_;
};

}  // namespace baton::mirror
