// WritePath: the export's requests, from arrival through range lock, activity log, both disks and flushes to
// the moment at which they may be answered. docs/protocol.md, S1-S3, G1, C1-C4, O1, O3, "Leases".
#pragma once

#include <cstdint>
#include <deque>
#include <string>
#include <unordered_map>
#include <vector>

#include "src/core/mirror/flush_rounds.h"
#include "src/core/mirror/operations.h"
#include "src/core/mirror/range_locks.h"

namespace baton::mirror {

struct CopyCore;

/// Lock owners: a request's slot, or a copy step's with this bit.
constexpr uint64_t kCopyStepOwner = uint64_t{1} << 63;

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
  /// True if the sequence was a client write's.
  bool peer_done(uint64_t sequence, bool ok);

  /// C4: writes under way and writes not covered by a flush of both become dirty; they go on alone.
  void link_lost();
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

 private:
  struct Slot {
    RequestId id = 0;
    RequestKind kind = RequestKind::kRead;
    BlockRange range;
    BufferId buffer = 0;
    bool force_unit_access = false;
    bool used = false;
    bool failed = false;  // answered as failed, yet a disk operation is under way
    bool local_pending = false;
    bool peer_pending = false;
    bool went_to_peer = false;
    bool in_log = false;  // uses its extents
    bool begun = false;
    bool disk_ok = true;
    uint64_t sequence = 0;
    LockHandle lock;
  };

  uint64_t take_slot(const ClientRequest& request);
  void free_slot(uint64_t number);
  void begin_write(uint64_t number);
  void write_done_on_all(uint64_t number);
  void finish(uint64_t number, bool ok);
  bool may_answer(const Slot& slot, bool& lease_missing);
  void answer(uint64_t number, bool ok);
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
  Instant lease_held_since_ = kNever;
  bool held_for_set_ = false;
  Instant lease_poll_ = kNever;
};

}  // namespace baton::mirror
