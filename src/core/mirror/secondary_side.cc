// See secondary_side.h.
#include "src/core/mirror/secondary_side.h"

#include <algorithm>

#include "src/base/assert.h"
#include "src/base/planted.h"
#include "src/core/mirror/copy_core.h"
#include "src/core/mirror/generations.h"

namespace baton::mirror {

namespace {
constexpr size_t kSuspectsInReply = 65536;  // more than that: everything is compared
constexpr Duration kDiskPause = 9s;         // after a failed write, until the disk is trusted with another try
}

// ---- Hello ----

std::string SecondarySide::refusal(const Hello& hello, Permit& newer) const {
  const Superblock& superblock = core_.journal.superblock();
  // SAFETY: P2 an older primary is not served.
  if (hello.permit < core_.known_permit()) {
    newer = core_.known_permit();
    return "a newer permit is known here";
  }
  if (hello.permit == superblock.permit && superblock.was_primary) {
    return "this copy was primary itself under that permit";
  }
  if (hello.size_blocks > superblock.size_blocks) {
    return "this copy is smaller; make both stores the size that the configuration says";
  }
  if (superblock.detached) return "its disk failed while it was primary. Replace the disk, then `baton mirror replace`";
  if (!disk_failure().empty()) return disk_failure_;
  if (core_.maintenance.backup()) return "it is exported for a backup (`baton mirror unexport` ends that)";
  return {};
}

void SecondarySide::hello(const Hello& hello) {
  if (accepted_ || hello_) return;
  HelloRefused refused;
  refused.reason = refusal(hello, refused.newer_permit);
  if (!refused.reason.empty()) return core_.link.send(std::move(refused));
  core_.roles.permit_seen(hello.permit);
  Superblock& superblock = core_.journal.superblock();
  if (hello.permit > superblock.permit || superblock.was_primary) {
    superblock.permit = hello.permit;
    superblock.was_primary = false;
    hello_saved_ = core_.journal.save();
  }
  hello_ = hello;
  core_.again = true;
}

void SecondarySide::answer_hello() {
  // SAFETY: P1 the permit is on disk before any I/O under it; O2 nothing of an older connection is under way.
  if (!hello_ || !core_.journal.saved(hello_saved_) || !core_.disk_drained()) return;
  protocol_ = hello_->protocol;
  hello_.reset();
  order_ = OrderedWork();
  accepted_ = true;
  order_lost_ = false;  // the handshake settles what was left out
  forget_disk_failure();
  const Superblock& superblock = core_.journal.superblock();
  copying_ = !superblock.consistent;
  HelloReply reply{superblock.permit,
                   superblock.incarnation,
                   superblock.size_blocks,
                   superblock.consistent,
                   superblock.generation,
                   superblock.ancestors,
                   {},
                   false};
  // SAFETY: C5 what this copy wrote as a primary, and the peer may lack.
  if (!core_.journal.all_suspects(kSuspectsInReply, reply.suspects)) {
    reply.suspects.clear();
    reply.all_suspect = true;
  }
  core_.link.send(std::move(reply));
}

// ---- Tasks ----

uint64_t SecondarySide::take_task(Purpose purpose, uint64_t sequence, BlockRange range, BufferId buffer) {
  uint64_t number = tasks_.size();
  if (free_.empty()) {
    tasks_.emplace_back();
  } else {
    number = free_.back();
    free_.pop_back();
  }
  tasks_[number] = Task{true, purpose, core_.link.connection(), sequence, buffer, range, false, false};
  return number;
}

/// Protocol C: the primary's locks keep everything in order. A and B: their requests were answered already (A2, A3).
void SecondarySide::enqueue(uint64_t task, OrderedWork::Kind kind, uint64_t epoch) {
  if (protocol_ == MirrorProtocol::kC) return begin_task(task);
  if (order_lost_) return refuse_task(task);
  order_.add(kind, task, tasks_[task].range, epoch);
  begin_what_may();
}

void SecondarySide::begin_what_may() {
  may_begin_.clear();
  const bool flush = order_.take(may_begin_);
  for (const uint64_t task : may_begin_) begin_task(task);
  if (flush) core_.operations.emit(LocalFlush{core_.operations.begin(Purpose::kPeerOrderFlush, 0)});
}

/// Answered as failed, without a try.
void SecondarySide::refuse_task(uint64_t number) {
  Task task = tasks_[number];
  tasks_[number].used = false;
  free_.push_back(number);
  if (accepted_ && core_.link.is(task.connection)) answer_task(task, false, {});
  core_.operations.release(task.buffer);
}

/// SAFETY: A2 after a hole nothing later is written: else this disk would be none that a loss of power could have left.
void SecondarySide::lose_order() {
  if (protocol_ == MirrorProtocol::kC) return;
  order_lost_ = true;
  std::vector<uint64_t> given_up;
  order_.give_up_waiting(given_up);
  for (const uint64_t number : given_up) refuse_task(number);
}

void SecondarySide::begin_task(uint64_t number) {
  Task& task = tasks_[number];
  const OperationId operation = core_.operations.begin(task.purpose, number);
  switch (task.purpose) {
    case Purpose::kPeerWrite:
      ++under_way_;
      snapshot_fits_ = false;
      if (task.zero) return core_.operations.emit(LocalZero{operation, task.range, task.unmap});
      return core_.operations.emit(LocalWrite{operation, task.range, task.buffer});
    case Purpose::kPeerFlush:
      return core_.operations.emit(LocalFlush{operation});
    default:
      ++under_way_;
      task.buffer = core_.operations.new_buffer();
      return core_.operations.emit(
          LocalRead{operation, task.range, 0, task.buffer, task.purpose == Purpose::kPeerHash, false});
  }
}

bool SecondarySide::range_ok(BlockRange range) {
  const uint64_t size = core_.journal.superblock().size_blocks;
  if (accepted_ && range.count > 0 && range.count <= size && range.first <= size - range.count) return true;
  if (accepted_) core_.drop_link("the primary named blocks beyond the end of the copy");
  return false;
}

void SecondarySide::take_data(uint64_t sequence, uint64_t task, uint64_t epoch) {
  // SAFETY: A1 from here on nothing but the end of this process keeps it from the disk: link_lost() does not.
  if (protocol_ == MirrorProtocol::kB && !order_lost_) core_.link.send(WriteReceived{sequence});
  enqueue(task, OrderedWork::Kind::kWrite, epoch);
}

void SecondarySide::write(const WriteData& write, BufferId buffer) {
  if (!range_ok(write.range)) return core_.operations.release(buffer);
  take_data(write.sequence, take_task(Purpose::kPeerWrite, write.sequence, write.range, buffer), write.epoch);
}

void SecondarySide::zero(const ZeroData& zero) {
  if (!range_ok(zero.range)) return;
  const uint64_t task = take_task(Purpose::kPeerWrite, zero.sequence, zero.range, 0);
  tasks_[task].zero = true;
  tasks_[task].unmap = zero.unmap;
  take_data(zero.sequence, task, zero.epoch);
}

void SecondarySide::flush(const FlushPeer& flush) {
  if (!accepted_) return;
  enqueue(take_task(Purpose::kPeerFlush, flush.sequence, {}, 0), OrderedWork::Kind::kFlush, 0);
}

void SecondarySide::hash(const HashRequest& request) {
  if (!range_ok(request.range)) return;
  enqueue(take_task(Purpose::kPeerHash, request.sequence, request.range, 0), OrderedWork::Kind::kRead, 0);
}

void SecondarySide::read(const ReadPeer& request) {
  if (!range_ok(request.range)) return;
  enqueue(take_task(Purpose::kPeerRead, request.sequence, request.range, 0), OrderedWork::Kind::kRead, 0);
}

void SecondarySide::operation_done(Purpose purpose, uint64_t subject, bool ok, std::vector<BlockHash> hashes) {
  if (purpose == Purpose::kPeerCopyEnd) {
    if (subject == end_token_) copy_end_flushed(ok);
    return;
  }
  if (purpose == Purpose::kSnapshot) return snapshot_taken(subject, ok);
  if (purpose == Purpose::kPeerOrderFlush) {
    order_.barrier_done();
    if (!ok) disk_failed(purpose);
    return begin_what_may();
  }
  Task task = tasks_[subject];
  tasks_[subject].used = false;
  free_.push_back(subject);
  if (!ok) disk_failed(purpose);
  if (purpose != Purpose::kPeerFlush) {
    --under_way_;
    core_.again = true;
    order_.done(subject);
  }
  if (accepted_ && core_.link.is(task.connection)) answer_task(task, ok, std::move(hashes));
  core_.operations.release(task.buffer);
  begin_what_may();
}

void SecondarySide::answer_task(const Task& task, bool ok, std::vector<BlockHash> hashes) {
  switch (task.purpose) {
    case Purpose::kPeerWrite:
      return core_.link.send(WriteDone{task.sequence, ok});
    case Purpose::kPeerFlush:
      return core_.link.send(FlushPeerDone{task.sequence, ok});
    case Purpose::kPeerHash:
      if (!ok) hashes.clear();
      return core_.link.send(HashReply{task.sequence, std::move(hashes)});
    case Purpose::kPeerRead:
      return core_.link.send(PeerData{task.sequence, task.range.count, ok}, ok ? task.buffer : 0);
    default:
      BATON_ASSERT(false);
  }
}

/// Empty also once it is time to see whether the disk (a full filesystem, say) is well again.
std::string SecondarySide::disk_failure() const {
  return disk_failure_.empty() || core_.now() >= disk_failed_at_ + kDiskPause ? std::string() : disk_failure_;
}

void SecondarySide::forget_disk_failure() {
  if (disk_failure_.empty()) return;
  disk_failure_.clear();
  // SAFETY: D3, C4 the incarnation is another one since, and the primary writes again what no flush has covered.
  core_.operations.emit(DiskRetried{});
}

void SecondarySide::disk_failed(Purpose purpose) {
  problem_ = "this copy's disk reports errors: the mirror cannot stay in sync. Replace the disk";
  if (purpose == Purpose::kPeerHash || purpose == Purpose::kPeerRead) return core_.alert(problem_);
  lose_order();
  if (!disk_failure().empty()) return;
  // SAFETY: D3 what it holds is not certain: the primary goes on alone, and a later copy settles what may differ.
  disk_failed_at_ = core_.now();
  disk_failure_ =
      "this copy's disk reports errors: it failed to write. It is tried again every 10 s; if it is not well, replace it, then "
      "`baton mirror replace`";
  core_.alert(disk_failure_);
  // SAFETY: S4, D3 under protocol B its receipt was enough for an answer: out of the set by its incarnation.
  if (!planted(Plant::kFailedDiskKeepsIncarnation)) ++core_.journal.superblock().incarnation.value;
  core_.journal.save();
}

// ---- Copies ----

void SecondarySide::copy_begin(const CopyBegin& begin) {
  if (!accepted_ || snapshot_pending_) return;
  copying_ = true;
  copy_kind_ = begin.kind;
  Superblock& superblock = core_.journal.superblock();
  if (begin.generation != Generation{}) superblock.generation = superblock.base = begin.generation;
  const bool worth_keeping = superblock.consistent && superblock.generation.counter > 0;
  if (!worth_keeping || superblock.snapshot || no_snapshots_ || !core_.settings.snapshot) return mark_inconsistent();
  // One that took longer than the primary's patience is waited for, or used, by the next copy.
  const bool fits = snapshot_fits_ && snapshot_permit_ == superblock.permit;
  if (fits && !snapshot_running_) {
    superblock.snapshot = true;
    return mark_inconsistent();
  }
  // One of older data is still being taken: a second beside it could be the one that is dropped.
  if (snapshot_running_ && !fits) return mark_inconsistent();
  snapshot_pending_ = true;
  if (fits) return;
  snapshot_running_ = snapshot_fits_ = true;
  snapshot_permit_ = superblock.permit;
  snapshot_token_ = next_token_++;
  core_.operations.emit(TakeSnapshot{core_.operations.begin(Purpose::kSnapshot, snapshot_token_)});
}

void SecondarySide::snapshot_taken(uint64_t token, bool ok) {
  no_snapshots_ = no_snapshots_ || !ok;
  if (token != snapshot_token_) return;
  snapshot_running_ = false;
  snapshot_fits_ = snapshot_fits_ && ok;
  if (!snapshot_pending_) return;
  snapshot_pending_ = false;
  core_.journal.superblock().snapshot = snapshot_fits_;
  mark_inconsistent();
}

void SecondarySide::mark_inconsistent() {
  // SAFETY: O4 "inconsistent" is on disk before the first block of the copy.
  core_.journal.superblock().consistent = false;
  begin_saved_ = core_.journal.save();
  begin_pending_ = true;
  core_.again = true;
}

void SecondarySide::copy_end(const CopyEnd& end) {
  if (!accepted_ || end_) return;
  end_ = end;
  end_wait_ = Wait::kFlush;
  end_token_ = next_token_++;
  core_.operations.emit(LocalFlush{core_.operations.begin(Purpose::kPeerCopyEnd, end_token_)});
}

void SecondarySide::copy_end_flushed(bool ok) {
  if (!end_ || end_wait_ != Wait::kFlush) return;
  if (!ok) {
    disk_failed(Purpose::kPeerCopyEnd);
    return core_.drop_link(disk_failure_);
  }
  // SAFETY: G3 everything is durable here: now, and not earlier, the generation says so.
  Superblock& superblock = core_.journal.superblock();
  superblock.generation = superblock.base = end_->generation;
  superblock.ancestors = end_->ancestors;
  superblock.consistent = true;
  superblock.snapshot = false;
  end_saved_ = core_.journal.save();
  end_wait_ = Wait::kSuperblock;
}

void SecondarySide::advance_copy_end() {
  Journal& journal = core_.journal;
  if (end_wait_ == Wait::kSuperblock && journal.saved(end_saved_)) {
    // Only now may the journal forget: until here it said what to compare.
    journal.clear_all();
    core_.operations.emit(DropSnapshot{});
    snapshot_fits_ = false;
    end_wait_ = Wait::kCleared;
    copying_ = false;
    core_.again = true;
  } else if (end_wait_ == Wait::kCleared && journal.log_and_bitmap_durable()) {
    end_wait_ = Wait::kNone;
    end_.reset();
    core_.link.send(CopyEnded{journal.superblock().incarnation});
  }
}

// ---- The primary's disk has failed ----

void SecondarySide::detach() {
  if (!accepted_ || detach_pending_) return;
  Superblock& superblock = core_.journal.superblock();
  if (!superblock.consistent || superblock.generation.counter == 0) {
    return core_.drop_link("the primary's disk failed, but this copy is not complete");
  }
  // SAFETY: D1 what is written from here on, the primary's disk lacks, and no bitmap remembers: only a full copy brings
  // it back. So another generation, from which alone this copy's bitmap counts.
  if (!planted(Plant::kDetachWithoutGeneration)) take_new_generation(superblock, core_.random());
  superblock.base = superblock.generation;
  detach_saved_ = core_.journal.save();
  detach_pending_ = true;
  core_.alert("the primary's disk has failed: this copy alone has the data now");
  core_.again = true;
}

void SecondarySide::advance_detach() {
  if (!detach_pending_ || !core_.journal.saved(detach_saved_)) return;
  detach_pending_ = false;
  const Superblock& superblock = core_.journal.superblock();
  core_.link.send(Detached{superblock.generation, superblock.ancestors});
}

void SecondarySide::advance() {
  answer_hello();
  if (begin_pending_ && core_.journal.saved(begin_saved_)) {
    begin_pending_ = false;
    core_.link.send(CopyBegun{});
  }
  if (end_) advance_copy_end();
  advance_detach();
}

void SecondarySide::link_lost() {
  accepted_ = false;
  hello_.reset();
  begin_pending_ = detach_pending_ = snapshot_pending_ = false;
  end_.reset();
  end_wait_ = Wait::kNone;
  copying_ = false;
}

}  // namespace baton::mirror
