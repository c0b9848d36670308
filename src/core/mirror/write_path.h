// WritePath: the export's requests, from arrival through range lock, activity log, both disks and flushes to
// the moment at which they may be answered. docs/protocol.md, S1-S3, G1, C1-C4, O1, O3, A1-A4, D1, D2, "Leases".
#pragma once

#include <cstdint>
#include <deque>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "src/core/mirror/flush_rounds.h"
#include "src/core/mirror/lag.h"
#include "src/core/mirror/operations.h"
#include "src/core/mirror/range_locks.h"

namespace baton::mirror {

struct CopyCore;

/// Lock owners: a request's slot, or a copy step's with this bit.
constexpr uint64_t kCopyStepOwner = uint64_t{1} << 63;

/// What the requests answered since the last look were like: the rate of copies follows it.
struct ForegroundSample {
  uint64_t requests = 0;
  Duration total{Duration::zero()};
};

class WritePath {
 public:
  explicit WritePath(CopyCore& core) : core_(core), flushes_(core) {}

  void request(const ClientRequest& request);
  /// From the range locks: the turn of this request has come.
  void locked(uint64_t slot);
  /// From the journal: its extents are in the on-disk activity log.
  void admitted(uint64_t slot);
  /// From the flush rounds.
  void flushed(uint64_t slot);

  void operation_done(Purpose purpose, uint64_t slot, bool ok);
  /// True if the sequence was a client request's.
  bool peer_done(uint64_t sequence, bool ok);
  /// Protocol B: the peer has it in memory.
  void peer_received(uint64_t sequence);
  /// The answer to a ReadPeer; the buffer is the core's.
  void peer_data(uint64_t sequence, bool ok, BufferId buffer);

  /// C4: writes under way and writes not covered by a flush of both become dirty; they go on alone.
  void link_lost();
  /// D1: this copy's disk is gone: what is under way waits for the peer alone.
  void detach();
  /// The export is gone: every request fails.
  void fail_all();

  void advance();
  Instant next_tick() const;

  RangeLocks& locks() { return locks_; }
  void release_lock(LockHandle handle);
  FlushRounds& flushes() { return flushes_; }
  /// Disk operations of failed requests that are still under way (O2).
  bool drained() const { return disk_operations_ == 0; }
  bool idle() const { return open_ == 0; }
  uint64_t open() const { return open_; }
  bool held_for_lease() const { return lease_held_since_ != kNever; }
  bool held_for_set() const { return held_for_set_ || !blocked_.empty(); }
  Instant lease_held_since() const { return lease_held_since_; }
  Lag& lag() { return lag_; }
  const Lag& lag() const { return lag_; }
  /// Which flush of the client's the next write to the peer comes after (A2).
  uint64_t epoch() const { return epoch_; }
  ForegroundSample take_sample() { return std::exchange(sample_, {}); }
  uint64_t read_errors() const { return read_errors_; }

 private:
  struct Slot {
    RequestId id = 0;
    RequestKind kind = RequestKind::kRead;
    BlockRange range;
    BufferId buffer = 0;
    Instant arrived;
    bool force_unit_access = false;
    bool unmap = false;
    bool used = false;
    bool failed = false;    // answered as failed, yet a disk operation is under way
    bool answered = false;  // protocols A and B: the peer's disk does not have it yet
    bool local_pending = false;
    bool peer_pending = false;
    bool peer_received = false;  // protocol B
    bool went_to_peer = false;
    bool in_log = false;  // uses its extents
    bool begun = false;
    bool done = false;       // on every disk that it goes to
    bool flushing = false;   // waits for its flush (FUA)
    bool flushed = false;
    bool mending = false;    // a read that failed here: waits for its turn to be repaired
    bool repairing = false;  // a read whose blocks the peer had: they are written here again (D2)
    bool held = false;       // is in held_
    uint64_t sequence = 0;
    uint64_t lag = 0;        // of an answered one: its number there
    LockHandle lock;
  };

  uint64_t take_slot(const ClientRequest& request);
  void free_slot(uint64_t number);
  void begin_read(uint64_t number);
  void begin_write(uint64_t number);
  void begin_repair(uint64_t number);
  void send_to_peer(Slot& slot, uint64_t number);
  void read_done(uint64_t number, bool ok);
  void read_from_peer(uint64_t number);
  void advance_write(uint64_t number);
  bool done_enough(const Slot& slot) const;
  void write_done_on_all(uint64_t number);
  void finish(uint64_t number, bool ok);
  bool may_answer(const Slot& slot, bool& lease_missing);
  void answer(uint64_t number, bool ok);
  void hold(uint64_t number);
  void count(const Slot& slot);
  void release_held();

  CopyCore& core_;
  RangeLocks locks_;
  FlushRounds flushes_;
  std::vector<Slot> slots_;
  std::vector<uint64_t> free_;
  std::unordered_map<uint64_t, uint64_t> sent_;  // sequence -> slot; looked up only
  std::deque<uint64_t> blocked_;                 // may not begin: the in-sync set is undecided
  std::deque<uint64_t> held_;                    // done, may not be answered yet
  std::vector<uint64_t> granted_;
  uint64_t open_ = 0;
  uint64_t disk_operations_ = 0;
  Lag lag_;
  uint64_t epoch_ = 1;
  uint64_t read_errors_ = 0;
  ForegroundSample sample_;
  Instant lease_held_since_ = kNever;
  bool held_for_set_ = false;
  Instant lease_poll_ = kNever;
};

}  // namespace baton::mirror
