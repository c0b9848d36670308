// Journal: what a copy must remember beside its data: superblock, activity log and dirty bitmap, with at most
// one write of each under way and retries when the disk refuses. Decides when an extent may leave the log.
// docs/protocol.md, "Coverage" (C1-C3) and P1.
#pragma once

#include <deque>
#include <map>
#include <set>
#include <string>

#include "src/core/mirror/activity_log.h"
#include "src/core/mirror/dirty_map.h"
#include "src/core/mirror/operations.h"

namespace baton::mirror {

struct CopyCore;

class Journal {
 public:
  Journal(CopyCore& core, const StoredCopy& stored);

  // ---- Superblock: change it, then save(); the number that save() returns is durable once saved() says so.
  // ----
  Superblock& superblock() { return superblock_; }
  const Superblock& superblock() const { return superblock_; }
  const Superblock& durable_superblock() const { return durable_superblock_; }
  uint64_t save() { return ++superblock_version_; }
  bool saved(uint64_t version) const { return version <= durable_version_; }

  // ---- Activity log: a write is admitted (core.writes.admitted) when its extents are on disk (C1). ----
  void admit(uint64_t slot, BlockRange range);
  void leave(BlockRange range, uint64_t completion);
  /// No longer primary: nobody waits for admission, everything in the log is suspect.
  void become_suspects();
  /// D1: the same, and the slots that waited for admission.
  std::vector<uint64_t> give_up_waiting();
  ActivityLog& activity() { return activity_; }
  const ActivityLog& activity() const { return activity_; }

  // ---- Dirty bitmap. ----
  /// The mirror has grown; the bits of what is new are clear.
  void grow(uint64_t size_blocks);
  DirtyMap& dirty() { return dirty_; }
  const DirtyMap& dirty() const { return dirty_; }

  /// What this copy, as a secondary, may hold differently: its suspects and the extents with dirty blocks.
  /// Ascending; false if there are more than `limit`.
  bool all_suspects(size_t limit, std::vector<uint64_t>& extents) const;
  /// After a copy in which this copy was the target (G3): nothing differs any more.
  void clear_all();

  // ---- Hand-over: every extent that may leave does so at once. ----
  void empty_log();
  bool log_and_bitmap_durable() const { return activity_.settled() && dirty_.all_durable(); }

  void operation_done(Purpose purpose, bool ok);
  void flush_round_ended() { recheck_cold_ = recheck_cold_ || cold_blocked_; }
  void tick();
  void advance();
  Instant next_tick() const;
  const std::string& problem() const { return problem_; }

 private:
  struct Candidate {
    uint64_t slot;
    BlockRange range;
  };

  bool may_leave(uint64_t number, const ActivityLog::Extent& extent) const;
  void unblock(uint64_t number, const ActivityLog::Extent& extent, bool& flush_wanted);
  void make_room(uint64_t count);
  void turn_suspects_dirty();
  bool try_admit(uint64_t slot, BlockRange range);
  void admit_waiting();
  void release_durable();
  void cool_down();
  void begin_writes();
  bool may_write() const;

  CopyCore& core_;
  Superblock superblock_;
  Superblock durable_superblock_;
  Superblock superblock_in_flight_;
  uint64_t superblock_version_ = 0;
  uint64_t version_in_flight_ = 0;
  uint64_t durable_version_ = 0;

  ActivityLog activity_;
  std::deque<Candidate> waiting_for_room_;
  std::map<uint64_t, std::vector<uint64_t>> waiting_for_disk_;  // batch -> slots
  DirtyMap dirty_;

  Instant cold_check_ = kNever;
  Instant next_cold_flush_{Duration::zero()};
  bool cold_blocked_ = false;  // something cold could not leave yet
  bool recheck_cold_ = false;
  Instant retry_ = kNever;  // after a failed write
  std::string problem_;
  std::set<Purpose> failing_;
};

}  // namespace baton::mirror
