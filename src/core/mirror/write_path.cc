// See write_path.h. A request's way: request -> locked -> admitted -> begin_write -> write_done_on_all ->
// (flushed) -> finish -> answer.
#include "src/core/mirror/write_path.h"

#include "src/base/assert.h"
#include "src/base/planted.h"
#include "src/core/mirror/copy_core.h"

namespace baton::mirror {

namespace {
constexpr Duration kLeasePoll = 20ms;
}

uint64_t WritePath::take_slot(const ClientRequest& request) {
  uint64_t number = slots_.size();
  if (free_.empty()) {
    slots_.emplace_back();
  } else {
    number = free_.back();
    free_.pop_back();
    slots_[number] = Slot{};
  }
  Slot& slot = slots_[number];
  slot.id = request.id;
  slot.kind = request.kind;
  slot.range = request.range;
  slot.buffer = request.buffer;
  slot.force_unit_access = request.force_unit_access;
  slot.used = true;
  ++open_;
  return number;
}

void WritePath::free_slot(uint64_t number) {
  slots_[number].used = false;
  free_.push_back(number);
}

void WritePath::request(const ClientRequest& request) {
  const uint64_t number = take_slot(request);
  const uint64_t size = core_.journal.superblock().size_blocks;
  const BlockRange range = request.range;
  const bool fits = range.count > 0 && range.count <= size && range.first <= size - range.count &&
                    last_extent(range) - first_extent(range) < core_.settings.activity_capacity;
  if (!core_.exported || (request.kind != RequestKind::kFlush && !fits)) return answer(number, false);
  if (request.kind == RequestKind::kFlush) return flushes_.join(number);
  // SAFETY: O1 overlapping requests take turns.
  bool granted = false;
  const LockMode mode = request.kind == RequestKind::kRead ? LockMode::kRead : LockMode::kWrite;
  slots_[number].lock = locks_.acquire(range, mode, number, granted);
  if (granted) locked(number);
}

void WritePath::locked(uint64_t number) {
  Slot& slot = slots_[number];
  if (slot.kind == RequestKind::kWrite) {
    slot.in_log = true;
    return core_.journal.admit(number, slot.range);
  }
  slot.local_pending = true;
  ++disk_operations_;
  core_.operations.emit(
      LocalRead{core_.operations.begin(Purpose::kClientRead, number), slot.range, slot.buffer, 0, false});
}

void WritePath::admitted(uint64_t number) {
  // SAFETY: S2 what would be written now could not be acknowledged, and would make the copies differ.
  if (core_.primary.may_begin() && blocked_.empty()) return begin_write(number);
  blocked_.push_back(number);
}

void WritePath::begin_write(uint64_t number) {
  Slot& slot = slots_[number];
  slot.begun = true;
  slot.local_pending = true;
  slot.went_to_peer = slot.peer_pending = core_.primary.linked();
  // SAFETY: C2 what the peer does not get is dirty before it can be acknowledged.
  if (!slot.went_to_peer) core_.journal.dirty().mark(slot.range);
  ++disk_operations_;
  core_.operations.emit(
      LocalWrite{core_.operations.begin(Purpose::kClientWrite, number), slot.range, slot.buffer});
  if (!slot.went_to_peer) return;
  slot.sequence = core_.next_sequence++;
  sent_.emplace(slot.sequence, number);
  core_.link.send(WriteData{slot.sequence, slot.range}, slot.buffer);
}

void WritePath::operation_done(Purpose purpose, uint64_t number, bool ok) {
  BATON_ASSERT(disk_operations_ > 0);
  --disk_operations_;
  Slot& slot = slots_[number];
  slot.local_pending = false;
  if (slot.failed) {
    core_.operations.release(slot.buffer);
    free_slot(number);
    core_.again = true;
    return;
  }
  if (purpose == Purpose::kClientRead) return finish(number, ok);
  if (!ok) {
    core_.disk_failed("write");
  } else if (!slot.peer_pending) {
    write_done_on_all(number);
  }
}

bool WritePath::peer_done(uint64_t sequence, bool ok) {
  const auto found = sent_.find(sequence);
  if (found == sent_.end()) return false;
  if (!ok) {
    core_.primary.pause_link("the other copy's disk failed to write: look at that server's disk");
    return true;
  }
  const uint64_t number = found->second;
  sent_.erase(found);
  slots_[number].peer_pending = false;
  if (!slots_[number].local_pending) write_done_on_all(number);
  return true;
}

void WritePath::write_done_on_all(uint64_t number) {
  Slot& slot = slots_[number];
  slot.in_log = false;
  core_.journal.leave(slot.range, flushes_.completed(slot.range, slot.went_to_peer));
  if (slot.force_unit_access) return flushes_.join(number);
  finish(number, true);
}

void WritePath::flushed(uint64_t number) { finish(number, true); }

// ---- Answering ----

bool WritePath::may_answer(const Slot& slot, bool& lease_missing) {
  lease_missing = false;
  if (slot.kind != RequestKind::kRead && !core_.primary.may_acknowledge(slot.kind, slot.went_to_peer))
    return false;
  // SAFETY: I1 nothing is completed without the lease: another server may hold the right to.
  lease_missing = !core_.lease_good() && !planted(Plant::kLeaseIgnored);
  return !lease_missing;
}

void WritePath::finish(uint64_t number, bool ok) {
  bool lease_missing = false;
  if (!ok || may_answer(slots_[number], lease_missing)) return answer(number, ok);
  held_.push_back(number);
}

void WritePath::answer(uint64_t number, bool ok) {
  Slot& slot = slots_[number];
  core_.operations.emit(CompleteRequest{slot.id, ok});
  core_.operations.release(slot.buffer);
  if (slot.lock.order != 0) release_lock(slot.lock);
  --open_;
  free_slot(number);
}

void WritePath::release_held() {
  bool any_lease = false;
  held_for_set_ = false;
  for (size_t left = held_.size(); left > 0; --left) {
    const uint64_t number = held_.front();
    held_.pop_front();
    bool lease_missing = false;
    if (may_answer(slots_[number], lease_missing)) {
      answer(number, true);
      continue;
    }
    held_.push_back(number);
    any_lease |= lease_missing;
    held_for_set_ |= !lease_missing;
  }
  if (!any_lease) {
    lease_held_since_ = lease_poll_ = kNever;
    return;
  }
  if (lease_held_since_ == kNever) lease_held_since_ = core_.now();
  lease_poll_ = core_.now() + kLeasePoll;
}

void WritePath::release_lock(LockHandle handle) {
  locks_.release(handle, granted_);
  core_.again = core_.again || !granted_.empty();
}

// ---- The end of a link, the end of the export ----

void WritePath::link_lost() {
  std::vector<uint64_t> done;
  for (uint64_t number = 0; number < slots_.size(); ++number) {
    Slot& slot = slots_[number];
    if (!slot.used || slot.failed || !slot.in_log || !slot.begun || !slot.went_to_peer) continue;
    // SAFETY: C4 the peer may have it or not.
    core_.journal.dirty().mark(slot.range);
    slot.went_to_peer = slot.peer_pending = false;
    if (!slot.local_pending) done.push_back(number);
  }
  sent_.clear();
  flushes_.link_lost();
  for (const uint64_t number : done) write_done_on_all(number);
}

void WritePath::fail_all() {
  for (uint64_t number = 0; number < slots_.size(); ++number) {
    Slot& slot = slots_[number];
    if (!slot.used || slot.failed) continue;
    core_.operations.emit(CompleteRequest{slot.id, false});
    --open_;
    slot.failed = true;
    if (slot.local_pending) continue;  // its buffer is in the disk's hands
    core_.operations.release(slot.buffer);
    free_slot(number);
  }
  locks_.clear();
  granted_.clear();
  sent_.clear();
  blocked_.clear();
  held_.clear();
  held_for_set_ = false;
  lease_held_since_ = lease_poll_ = kNever;
  flushes_.become_secondary();
}

void WritePath::advance() {
  std::vector<uint64_t> granted;
  granted.swap(granted_);
  for (const uint64_t owner : granted) {
    if ((owner & kCopyStepOwner) != 0) {
      core_.copy.locked(owner);
    } else {
      locked(owner);
    }
  }
  while (!blocked_.empty() && core_.primary.may_begin()) {
    const uint64_t number = blocked_.front();
    blocked_.pop_front();
    begin_write(number);
  }
  flushes_.advance();
  if (!held_.empty()) release_held();
  const bool frozen = lease_held_since_ != kNever;
  if (frozen && core_.now() >= lease_held_since_ + core_.settings.freeze_limit) {
    core_.step_down(
        "this server has had no lease for too long while requests waited: the cluster has no majority here, "
        "or has given the group to another server. Requests fail now");
  }
}

Instant WritePath::next_tick() const { return lease_poll_; }

}  // namespace baton::mirror
