// See write_path.h. A write's way: request -> locked -> admitted -> begin_write -> advance_write (at each end of a
// disk) -> write_done_on_all -> (flushed) -> finish -> answer. Under protocols A and B the answer may come first.
#include "src/core/mirror/write_path.h"

#include "src/base/assert.h"
#include "src/base/planted.h"
#include "src/core/mirror/copy_core.h"

namespace baton::mirror {

namespace {
constexpr Duration kLeasePoll = 20ms;

bool is_write(RequestKind kind) { return kind == RequestKind::kWrite || kind == RequestKind::kZero; }
}  // namespace

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
  slot.unmap = request.unmap;
  slot.arrived = core_.now();
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
  if (slot.mending) return read_from_peer(number);
  if (!is_write(slot.kind)) return begin_read(number);
  // D1: without a disk here nothing can differ here.
  if (core_.primary.detached()) return admitted(number);
  slot.in_log = true;
  core_.journal.admit(number, slot.range);
}

void WritePath::admitted(uint64_t number) {
  if (slots_[number].repairing) return begin_repair(number);
  // SAFETY: S2 what would be written now could not be acknowledged, and would make the copies differ.
  if (core_.primary.may_begin() && blocked_.empty()) return begin_write(number);
  blocked_.push_back(number);
}

// ---- Reads ----

void WritePath::begin_read(uint64_t number) {
  Slot& slot = slots_[number];
  if (core_.primary.detached()) {
    // SAFETY: D1 the set must name the peer alone before its data is the data.
    if (core_.primary.may_begin()) return read_from_peer(number);
    blocked_.push_back(number);
    return;
  }
  slot.local_pending = true;
  ++disk_operations_;
  core_.operations.emit(
      LocalRead{core_.operations.begin(Purpose::kClientRead, number), slot.range, slot.buffer, 0, false, false});
}

void WritePath::read_from_peer(uint64_t number) {
  Slot& slot = slots_[number];
  if (!core_.primary.detached() && !core_.primary.peer_has_everything()) return finish(number, false);
  slot.peer_pending = true;
  slot.sequence = core_.link.ask();
  sent_.emplace(slot.sequence, number);
  core_.link.send(ReadPeer{slot.sequence, slot.range});
}

void WritePath::read_done(uint64_t number, bool ok) {
  if (ok) return finish(number, true);
  ++read_errors_;
  if (core_.primary.detached()) return begin_read(number);
  if (!core_.primary.peer_has_everything()) {
    core_.alert("this copy's disk cannot read everywhere, and there is no other copy to read from: look at the disk");
    return finish(number, false);
  }
  core_.alert("this copy's disk could not read: the other copy's data is used, and written here again");
  // SAFETY: O1 the blocks will be written: nobody else may read them meanwhile.
  Slot& slot = slots_[number];
  slot.mending = true;
  release_lock(slot.lock);
  bool granted = false;
  slot.lock = locks_.acquire(slot.range, LockMode::kWrite, number, granted);
  if (granted) read_from_peer(number);
}

void WritePath::peer_data(uint64_t sequence, bool ok, BufferId buffer) {
  const auto found = sent_.find(sequence);
  if (found == sent_.end() || slots_[found->second].kind != RequestKind::kRead) {
    return core_.operations.release(buffer);
  }
  const uint64_t number = found->second;
  sent_.erase(found);
  Slot& slot = slots_[number];
  slot.peer_pending = false;
  if (ok && buffer != 0) core_.operations.emit(CopyBuffer{buffer, slot.buffer, slot.range.count});
  core_.operations.release(buffer);
  if (!ok || core_.primary.detached()) return finish(number, ok);
  // SAFETY: D2, C1 writing it here again could tear these blocks at a power loss: they are in the log first.
  slot.repairing = true;
  if (planted(Plant::kRepairWithoutLog)) return begin_repair(number);
  slot.in_log = true;
  core_.journal.admit(number, slot.range);
}

void WritePath::begin_repair(uint64_t number) {
  Slot& slot = slots_[number];
  slot.local_pending = true;
  ++disk_operations_;
  core_.operations.emit(
      LocalWrite{core_.operations.begin(Purpose::kRepair, number), slot.range, slot.buffer});
}

// ---- Writes ----

void WritePath::begin_write(uint64_t number) {
  Slot& slot = slots_[number];
  if (!is_write(slot.kind)) return begin_read(number);
  slot.begun = true;
  slot.went_to_peer = slot.peer_pending = core_.primary.linked();
  if (!core_.primary.detached()) {
    slot.local_pending = true;
    // SAFETY: C2 what the peer does not get is dirty before it can be acknowledged.
    if (!slot.went_to_peer) core_.journal.dirty().mark(slot.range);
    ++disk_operations_;
    const OperationId operation = core_.operations.begin(Purpose::kClientWrite, number);
    if (slot.kind == RequestKind::kZero) {
      core_.operations.emit(LocalZero{operation, slot.range, slot.unmap});
    } else {
      core_.operations.emit(LocalWrite{operation, slot.range, slot.buffer});
    }
  }
  if (slot.went_to_peer) send_to_peer(slot, number);
}

void WritePath::send_to_peer(Slot& slot, uint64_t number) {
  slot.sequence = core_.link.ask();
  sent_.emplace(slot.sequence, number);
  if (slot.kind == RequestKind::kZero) {
    core_.link.send(ZeroData{slot.sequence, slot.range, epoch_, slot.unmap});
  } else {
    core_.link.send(WriteData{slot.sequence, slot.range, epoch_}, slot.buffer);
  }
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
  if (purpose == Purpose::kClientRead) return read_done(number, ok);
  // D1: this request, too, goes on with the peer, or has failed.
  if (!ok && !core_.primary.detached()) return core_.disk_failed("write");
  if (purpose == Purpose::kClientWrite) return advance_write(number);
  if (slot.in_log) core_.journal.leave(slot.range, flushes_.completed(slot.range, true));
  slot.in_log = false;
  finish(number, true);
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
  Slot& slot = slots_[number];
  slot.peer_pending = false;
  if (slot.answered) lag_.arrived(slot.lag, slot.range.count);
  advance_write(number);
  return true;
}

void WritePath::peer_received(uint64_t sequence) {
  const auto found = sent_.find(sequence);
  if (found == sent_.end()) return;
  slots_[found->second].peer_received = true;
  advance_write(found->second);
}

/// SAFETY: S1, A1: when the disks are far enough for an answer by the mirror's protocol.
bool WritePath::done_enough(const Slot& slot) const {
  if (slot.local_pending) return false;
  if (!slot.peer_pending) return true;
  if ((slot.force_unit_access && !slot.flushed) || lag_.blocks() > core_.settings.send_limit_blocks) return false;
  return core_.primary.answers_when_local() || (core_.primary.answers_when_received() && slot.peer_received);
}

void WritePath::advance_write(uint64_t number) {
  Slot& slot = slots_[number];
  if (!slot.local_pending && !slot.peer_pending) return write_done_on_all(number);
  if (slot.local_pending || slot.answered || slot.held || slot.flushing) return;
  if (slot.force_unit_access && !slot.flushed && core_.primary.answers_when_local()) {
    slot.flushing = true;
    return flushes_.join(number);
  }
  if (done_enough(slot)) finish(number, true);
}

void WritePath::write_done_on_all(uint64_t number) {
  Slot& slot = slots_[number];
  if (slot.in_log) core_.journal.leave(slot.range, flushes_.completed(slot.range, slot.went_to_peer));
  slot.in_log = false;
  slot.done = true;
  if (slot.answered) return free_slot(number);
  if (slot.held || slot.flushing) return;
  if (!slot.force_unit_access || slot.flushed) return finish(number, true);
  slot.flushing = true;
  flushes_.join(number);
}

void WritePath::flushed(uint64_t number) {
  // SAFETY: A2 what the client writes from now on comes after what it has flushed, at the peer, too.
  ++epoch_;
  slots_[number].flushing = false;
  slots_[number].flushed = true;
  finish(number, true);
}

// ---- Answering ----

bool WritePath::may_answer(const Slot& slot, bool& lease_missing) {
  lease_missing = false;
  const bool on_both = slot.went_to_peer && !slot.peer_pending;
  if (is_write(slot.kind) && !slot.done && !done_enough(slot)) return false;  // the standing changed meanwhile
  if (slot.kind != RequestKind::kRead && !core_.primary.may_acknowledge(slot.kind, on_both || slot.peer_received))
    return false;
  // SAFETY: I1 nothing is completed without the lease: another server may hold the right to.
  lease_missing = !core_.lease_good() && !planted(Plant::kLeaseIgnored);
  return !lease_missing;
}

void WritePath::finish(uint64_t number, bool ok) {
  bool lease_missing = false;
  if (!ok || may_answer(slots_[number], lease_missing)) return answer(number, ok);
  hold(number);
}

void WritePath::hold(uint64_t number) {
  slots_[number].held = true;
  held_.push_back(number);
}

void WritePath::answer(uint64_t number, bool ok) {
  Slot& slot = slots_[number];
  core_.operations.emit(CompleteRequest{slot.id, ok});
  core_.operations.release(slot.buffer);
  if (slot.lock.order != 0) release_lock(slot.lock);
  slot.lock = {};
  slot.held = false;
  --open_;
  count(slot);
  if (ok && is_write(slot.kind)) lag_.answered(core_.now(), slot.went_to_peer);
  if (!slot.peer_pending) return free_slot(number);
  // SAFETY: C3, C4 the peer's disk does not have it yet: it stays in the log, and becomes dirty with the link.
  slot.answered = true;
  slot.lag = lag_.on_its_way(core_.now(), slot.range.count);
}

void WritePath::count(const Slot& slot) {
  const Duration took = core_.now() - slot.arrived;
  ++sample_.requests;
  sample_.total += took;
  Counters& counters = core_.counters;
  switch (slot.kind) {
    case RequestKind::kRead:
      ++counters.reads;
      counters.read_bytes += slot.range.count * kBlockBytes;
      break;
    case RequestKind::kWrite:
      ++counters.writes;
      counters.written_bytes += slot.range.count * kBlockBytes;
      counters.write_time += took;
      break;
    case RequestKind::kFlush:
      ++counters.flushes;
      break;
    case RequestKind::kZero:
      ++counters.zeroes;
      break;
  }
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

// ---- The end of a link, of the disk, of the export ----

void WritePath::link_lost() {
  std::vector<uint64_t> done;
  std::vector<uint64_t> unread;
  for (uint64_t number = 0; number < slots_.size(); ++number) {
    Slot& slot = slots_[number];
    if (!slot.used || slot.failed) continue;
    if (slot.kind == RequestKind::kRead) {
      if (slot.peer_pending) unread.push_back(number);
      continue;
    }
    if (!slot.in_log || !slot.begun || !slot.went_to_peer) continue;
    // SAFETY: C4 the peer may have it or not.
    core_.journal.dirty().mark(slot.range);
    slot.went_to_peer = slot.peer_pending = slot.peer_received = false;
    if (!slot.local_pending) done.push_back(number);
  }
  sent_.clear();
  lag_.link_lost();
  flushes_.link_lost();
  for (const uint64_t number : done) write_done_on_all(number);
  for (const uint64_t number : unread) {
    slots_[number].peer_pending = false;
    finish(number, false);
  }
}

void WritePath::detach() {
  const std::vector<uint64_t> waiting = core_.journal.give_up_waiting();
  std::vector<uint64_t> writes;
  std::vector<uint64_t> reads;
  for (uint64_t number = 0; number < slots_.size(); ++number) {
    Slot& slot = slots_[number];
    if (!slot.used || slot.failed) continue;
    slot.in_log = false;
    if (slot.local_pending || slot.peer_pending || slot.done || slot.held) continue;
    if (slot.repairing) reads.push_back(number);
    if (is_write(slot.kind) && slot.begun) writes.push_back(number);
  }
  for (const uint64_t number : waiting) {
    if (!slots_[number].repairing) admitted(number);
  }
  for (const uint64_t number : writes) write_done_on_all(number);
  for (const uint64_t number : reads) finish(number, true);
  flushes_.detach();
}

void WritePath::fail_all() {
  for (uint64_t number = 0; number < slots_.size(); ++number) {
    Slot& slot = slots_[number];
    if (!slot.used || slot.failed) continue;
    if (!slot.answered) {
      core_.operations.emit(CompleteRequest{slot.id, false});
      --open_;
    }
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
  lag_ = Lag();
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
