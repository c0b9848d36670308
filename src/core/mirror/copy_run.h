// CopyRun: brings the peer up to date: sends dirty blocks, compares suspect extents by hash and sends what
// differs, a window of range-locked steps at a time. Also the comparison of a verify. docs/protocol.md, C5, C6,
// G3, O1.
#pragma once

#include <cstdint>
#include <deque>
#include <string>
#include <vector>

#include "src/core/mirror/block_set.h"
#include "src/core/mirror/range_locks.h"
#include "src/core/mirror/rate_control.h"

namespace baton::mirror {

struct CopyCore;

class CopyRun {
 public:
  explicit CopyRun(CopyCore& core);

  /// Sends the dirty blocks and compares `suspects`. core.primary.copy_finished() follows, or stop().
  void start(BlockSet suspects);
  /// Compares everything; with `repair` sends what differs. Verified follows.
  void start_verify(bool repair);
  /// The link is gone, or this copy is no longer primary: forgets everything. Nothing unflushed counts.
  void stop(const std::string& reason);

  bool running() const { return running_; }
  /// No read of a run that has ended is under way (O2).
  bool drained() const;
  bool verifying() const { return running_ && verify_; }
  /// The figures are a verify's, which may have ended.
  bool verified() const { return verify_; }

  void locked(uint64_t owner);
  void read_done(uint64_t step, bool ok, bool zero, const std::vector<BlockHash>& hashes);
  void write_done(uint64_t sequence, bool ok);
  void hashes_arrived(const HashReply& reply);
  void set_rate(uint64_t bytes_per_second);
  void advance();
  Instant next_tick() const;

  uint64_t zero_blocks() const { return zero_; }
  uint64_t rate_limit() const { return rate_.fixed(); }
  uint64_t bytes_per_second() const;
  uint64_t total_blocks() const { return total_; }
  uint64_t done_blocks() const { return done_; }
  uint64_t sent_blocks() const { return sent_; }
  uint64_t read_blocks() const { return read_; }
  uint64_t left_to_compare() const { return compare_.count(); }

 private:
  struct Step {
    bool used = false;
    bool abandoned = false;  // a local read is under way that nobody waits for any more
    bool compare = false;    // hashes are awaited
    bool dirty = false;      // its blocks are dirty: cleared after the flush
    bool hashes_here = false;
    bool hashes_there = false;
    bool reading = false;
    bool zero = false;       // the piece is zeroes: nothing but that is sent
    BlockRange range;
    BlockRange piece;    // being read or sent
    uint64_t owner = 0;  // of the lock
    LockHandle lock;
    BufferId buffer = 0;
    uint64_t sequence = 0;  // of the HashRequest or WriteData that is awaited
    std::vector<BlockHash> here;
    std::vector<BlockHash> there;
    std::deque<BlockRange> to_send;
  };

  void reset();
  bool begin_next();
  bool choose(BlockRange& range, bool& compare);
  void begin_step(BlockRange range, bool compare);
  void read(uint64_t number, BlockRange range, bool want_hashes);
  void send(Step& step, bool zero);
  void sample();
  void verify_ended(const std::string& failure);
  void compare_if_ready(uint64_t number);
  void next_piece(uint64_t number);
  void finish(uint64_t number);
  void release(Step& step);
  void begin_flush();
  void flush_ended();
  void end_if_done();
  Step* find(uint64_t sequence);

  CopyCore& core_;
  bool running_ = false;
  bool verify_ = false;
  std::vector<Step> steps_;
  uint64_t next_owner_ = 1;
  uint32_t active_ = 0;  // steps in use that are not abandoned
  uint64_t send_cursor_ = 0;
  BlockSet compare_;                   // still to be compared
  std::vector<BlockRange> unflushed_;  // sent, the flush not yet asked for
  std::vector<BlockRange> flushing_;   // waits for `flush_round_`
  uint64_t unflushed_blocks_ = 0;
  uint64_t flush_round_ = 0;     // 0: none awaited
  bool flushed_at_end_ = false;  // nothing was done since the last flush
  uint64_t different_ = 0;
  uint64_t repaired_ = 0;
  bool repair_ = false;
  std::string verify_failure_;
  uint64_t total_ = 0, done_ = 0, sent_ = 0, read_ = 0, zero_ = 0;
  RateControl rate_;
  Instant next_sample_{Duration::zero()};
  bool nothing_left_ = false;    // to begin, when it was looked for last
  Instant next_begin_ = kNever;  // the rate allows no step before
  std::deque<std::pair<Instant, uint64_t>> progress_;  // done blocks of the last seconds
};

}  // namespace baton::mirror
