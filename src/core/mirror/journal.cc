// See journal.h.
#include "src/core/mirror/journal.h"

#include <algorithm>

#include "src/base/assert.h"
#include "src/base/planted.h"
#include "src/core/mirror/copy_core.h"

namespace baton::mirror {

namespace {
constexpr size_t kLookAhead = 64;  // extents considered for leaving at a time
constexpr size_t kSuspectsTaken = 64;

uint64_t page_of(uint64_t extent) { return extent * kExtentBlocks / kBitmapPageBlocks; }

const char* name_of(Purpose purpose) {
  switch (purpose) {
    case Purpose::kSuperblock:
      return "superblock";
    case Purpose::kActivity:
      return "activity log";
    default:
      return "dirty bitmap";
  }
}
}  // namespace

Journal::Journal(CopyCore& core, const StoredCopy& stored)
    : core_(core),
      superblock_(stored.superblock),
      durable_superblock_(stored.superblock),
      activity_(core.settings.activity_capacity, stored.activity),
      dirty_(stored.superblock.size_blocks, stored.dirty) {}

// ---- Admission ----

bool Journal::try_admit(uint64_t slot, BlockRange range) {
  const auto batch = activity_.use(range, core_.now());
  if (!batch) return false;
  // SAFETY: C1 no disk sees the write before its extents are in the on-disk log; while alone the log is also
  // the coverage of the acknowledgement (C2).
  const bool bug = planted(Plant::kBitmapAfterAcknowledgement) && core_.primary.standing() == Standing::kAlone;
  if (activity_.durable(*batch) || bug) {
    core_.writes.admitted(slot);
  } else {
    waiting_for_disk_[*batch].push_back(slot);
  }
  return true;
}

void Journal::admit(uint64_t slot, BlockRange range) {
  // A write that needs room does not overtake another one that does.
  if (!waiting_for_room_.empty() && activity_.shortage(range) > 0) {
    waiting_for_room_.push_back({slot, range});
  } else if (!try_admit(slot, range)) {
    waiting_for_room_.push_back({slot, range});
  }
}

void Journal::admit_waiting() {
  while (!waiting_for_room_.empty()) {
    const Candidate candidate = waiting_for_room_.front();
    const uint64_t shortage = activity_.shortage(candidate.range);
    if (shortage > 0) make_room(shortage);
    if (!try_admit(candidate.slot, candidate.range)) return;
    waiting_for_room_.pop_front();
  }
}

void Journal::release_durable() {
  while (!waiting_for_disk_.empty() && activity_.durable(waiting_for_disk_.begin()->first)) {
    const std::vector<uint64_t> slots = std::move(waiting_for_disk_.begin()->second);
    waiting_for_disk_.erase(waiting_for_disk_.begin());
    for (const uint64_t slot : slots) core_.writes.admitted(slot);
  }
}

void Journal::leave(BlockRange range, uint64_t completion) { activity_.unuse(range, completion, core_.now()); }

// ---- Leaving the log ----

bool Journal::may_leave(uint64_t number, const ActivityLog::Extent& extent) const {
  if (extent.users > 0) return false;
  // SAFETY: C2 bitmap first: the extent's dirty bits are on disk before the log goes without it.
  if (!dirty_.extent_durable(number)) return false;
  // SAFETY: C3 while linked, only when both copies have completed and flushed every write in it.
  if (!core_.primary.linked() || planted(Plant::kActivityReleasedEarly)) return true;
  return extent.last_completion <= core_.writes.flushes().covered();
}

/// Begins what the extent waits for before it may leave.
void Journal::unblock(uint64_t number, const ActivityLog::Extent& extent, bool& flush_wanted) {
  dirty_.want_page(page_of(number));
  if (core_.primary.linked() && extent.last_completion > core_.writes.flushes().covered()) flush_wanted = true;
}

void Journal::make_room(uint64_t count) {
  bool flush_wanted = false;
  size_t blocked = 0;
  const size_t before = activity_.size();
  const auto& recency = activity_.recency();
  for (auto place = recency.begin();
       place != recency.end() && before - activity_.size() < count && blocked < kLookAhead;) {
    const uint64_t number = *place++;
    const auto& extent = activity_.extent(number);
    if (may_leave(number, extent)) {
      activity_.cool(number);
    } else if (extent.users == 0) {
      unblock(number, extent, flush_wanted);
      ++blocked;
    }
  }
  if (before - activity_.size() >= count) return;
  if (flush_wanted) core_.writes.flushes().request();
  if (blocked == 0 && activity_.suspects() > 0) turn_suspects_dirty();
}

/// The log is full of suspects that no copy has settled yet: the bitmap takes them over, so that writes can go
/// on.
void Journal::turn_suspects_dirty() {
  for (const uint64_t number : activity_.take_suspects(kSuspectsTaken)) {
    const uint64_t first = number * kExtentBlocks;
    if (first >= superblock_.size_blocks) continue;
    dirty_.mark({first, std::min(kExtentBlocks, superblock_.size_blocks - first)});
    dirty_.want_page(page_of(number));
  }
  core_.again = true;
}

void Journal::cool_down() {
  recheck_cold_ = false;
  cold_blocked_ = false;
  bool flush_wanted = false;
  const auto& recency = activity_.recency();
  for (auto place = recency.begin(); place != recency.end();) {
    const uint64_t number = *place++;
    const auto& extent = activity_.extent(number);
    if (extent.last_use + core_.settings.cold_extent > core_.now()) break;
    if (may_leave(number, extent)) {
      activity_.cool(number);
    } else if (extent.users == 0) {
      cold_blocked_ = true;
      unblock(number, extent, flush_wanted);
    }
  }
  if (flush_wanted && core_.now() >= next_cold_flush_) {
    next_cold_flush_ = core_.now() + core_.settings.cold_extent;
    core_.writes.flushes().request();
  }
}

void Journal::empty_log() {
  bool flush_wanted = false;
  const auto& recency = activity_.recency();
  for (auto place = recency.begin(); place != recency.end();) {
    const uint64_t number = *place++;
    const auto& extent = activity_.extent(number);
    if (may_leave(number, extent)) {
      activity_.cool(number);
    } else {
      unblock(number, extent, flush_wanted);
    }
  }
  if (flush_wanted && core_.writes.flushes().idle()) core_.writes.flushes().request();
  dirty_.want_all();
}

// ---- Roles and copies ----

void Journal::become_suspects() {
  waiting_for_room_.clear();
  waiting_for_disk_.clear();
  activity_.become_suspects();
}

std::vector<uint64_t> Journal::give_up_waiting() {
  std::vector<uint64_t> slots;
  for (const Candidate& candidate : waiting_for_room_) slots.push_back(candidate.slot);
  for (const auto& [batch, waiting] : waiting_for_disk_) slots.insert(slots.end(), waiting.begin(), waiting.end());
  become_suspects();
  return slots;
}

void Journal::grow(uint64_t size_blocks) {
  superblock_.size_blocks = size_blocks;
  dirty_.grow(size_blocks);
}

bool Journal::all_suspects(size_t limit, std::vector<uint64_t>& extents) const {
  extents = activity_.suspect_list();
  if (dirty_.blocks().count() > limit * kExtentBlocks) return false;
  for (const BlockRange& run : dirty_.blocks().runs({0, superblock_.size_blocks})) {
    for (uint64_t number = first_extent(run); number <= last_extent(run); ++number) {
      if (extents.size() > 2 * limit) return false;
      extents.push_back(number);
    }
  }
  std::sort(extents.begin(), extents.end());
  extents.erase(std::unique(extents.begin(), extents.end()), extents.end());
  return extents.size() <= limit;
}

void Journal::clear_all() {
  activity_.clear();
  dirty_.unmark_all();
  dirty_.want_all();
}

// ---- Writing ----

bool Journal::may_write() const { return retry_ == kNever; }

void Journal::begin_writes() {
  if (!may_write()) return;
  auto& operations = core_.operations;
  if (version_in_flight_ == 0 && superblock_version_ > durable_version_) {
    version_in_flight_ = superblock_version_;
    superblock_in_flight_ = superblock_;
    operations.emit(PersistSuperblock{operations.begin(Purpose::kSuperblock, 0), superblock_});
  }
  if (dirty_.batch_wanted()) {
    operations.emit(PersistBitmap{operations.begin(Purpose::kBitmap, 0), dirty_.begin_batch()});
  }
  if (activity_.batch_wanted()) {
    operations.emit(PersistActivity{operations.begin(Purpose::kActivity, 0), activity_.begin_batch()});
  }
}

void Journal::operation_done(Purpose purpose, bool ok) {
  switch (purpose) {
    case Purpose::kSuperblock:
      if (ok) {
        durable_version_ = version_in_flight_;
        durable_superblock_ = superblock_in_flight_;
      }
      version_in_flight_ = 0;
      break;
    case Purpose::kActivity:
      activity_.end_batch(ok);
      break;
    case Purpose::kBitmap:
      dirty_.end_batch(ok);
      recheck_cold_ = recheck_cold_ || cold_blocked_;
      break;
    default:
      BATON_ASSERT(false);
  }
  if (ok) {
    failing_.erase(purpose);
    if (failing_.empty()) problem_.clear();
    return;
  }
  failing_.insert(purpose);
  retry_ = core_.now() + kRetry;
  problem_ =
      std::string("the mirror's ") + name_of(purpose) +
      " could not be written (disk full or failing?): requests wait, it is tried again 4 times a second. Make "
      "room on, or replace, the disk that holds the mirror's metadata";
}

void Journal::tick() {
  if (core_.now() >= retry_) retry_ = kNever;
  if (core_.now() < cold_check_) return;
  cold_check_ = kNever;
  cool_down();
}

void Journal::advance() {
  release_durable();
  if (recheck_cold_) cool_down();
  admit_waiting();
  begin_writes();
  const auto& recency = activity_.recency();
  if (recency.empty()) {
    cold_check_ = kNever;
  } else if (cold_check_ == kNever) {
    const Instant cold = activity_.extent(recency.front()).last_use + core_.settings.cold_extent;
    cold_check_ = std::max(cold, core_.now() + core_.settings.cold_extent / 4);
  }
}

Instant Journal::next_tick() const { return std::min(retry_, cold_check_); }

}  // namespace baton::mirror
