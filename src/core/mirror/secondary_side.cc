// See secondary_side.h.
#include "src/core/mirror/secondary_side.h"

#include <algorithm>

#include "src/base/assert.h"
#include "src/core/mirror/copy_core.h"

namespace baton::mirror {

namespace {
constexpr size_t kSuspectsInReply = 65536;  // more than that: everything is compared
}

uint64_t SecondarySide::take_task(uint64_t sequence, BlockRange range, BufferId buffer) {
  uint64_t number = tasks_.size();
  if (free_.empty()) {
    tasks_.emplace_back();
  } else {
    number = free_.back();
    free_.pop_back();
  }
  tasks_[number] = Task{true, core_.link.connection(), sequence, buffer, range};
  return number;
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
  if (hello.size_blocks != superblock.size_blocks) {
    return "the copies have different sizes; make both stores the size that the configuration says";
  }
  return {};
}

void SecondarySide::hello(const Hello& hello) {
  if (accepted_ || hello_) return;
  HelloRefused refused;
  refused.reason = refusal(hello, refused.newer_permit);
  if (!refused.reason.empty()) return core_.link.send(std::move(refused));
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
  hello_.reset();
  accepted_ = true;
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

// ---- Serving ----

bool SecondarySide::range_ok(BlockRange range) {
  const uint64_t size = core_.journal.superblock().size_blocks;
  if (accepted_ && range.count > 0 && range.count <= size && range.first <= size - range.count) return true;
  if (accepted_) core_.drop_link("the primary named blocks beyond the end of the copy");
  return false;
}

void SecondarySide::write(const WriteData& write, BufferId buffer) {
  if (!range_ok(write.range)) return core_.operations.release(buffer);
  const uint64_t task = take_task(write.sequence, write.range, buffer);
  ++under_way_;
  core_.operations.emit(LocalWrite{core_.operations.begin(Purpose::kPeerWrite, task), write.range, buffer});
}

void SecondarySide::flush(const FlushPeer& flush) {
  if (!accepted_) return;
  const uint64_t task = take_task(flush.sequence, {}, 0);
  core_.operations.emit(LocalFlush{core_.operations.begin(Purpose::kPeerFlush, task)});
}

void SecondarySide::hash(const HashRequest& request) {
  if (!range_ok(request.range)) return;
  const uint64_t task = take_task(request.sequence, request.range, core_.operations.new_buffer());
  ++under_way_;
  core_.operations.emit(
      LocalRead{core_.operations.begin(Purpose::kPeerHash, task), request.range, 0, tasks_[task].buffer, true});
}

void SecondarySide::copy_begin(const CopyBegin& begin) {
  if (!accepted_) return;
  // SAFETY: O4 "inconsistent" is on disk before the first block of the copy.
  core_.journal.superblock().consistent = false;
  begin_saved_ = core_.journal.save();
  begin_pending_ = true;
  copying_ = true;
  copy_kind_ = begin.kind;
}

void SecondarySide::copy_end(const CopyEnd& end) {
  if (!accepted_ || end_) return;
  end_ = end;
  end_wait_ = Wait::kFlush;
  end_token_ = core_.next_sequence++;
  core_.operations.emit(LocalFlush{core_.operations.begin(Purpose::kPeerCopyEnd, end_token_)});
}

void SecondarySide::operation_done(Purpose purpose, uint64_t subject, bool ok, std::vector<BlockHash> hashes) {
  if (purpose == Purpose::kPeerCopyEnd) {
    if (!end_ || end_wait_ != Wait::kFlush || subject != end_token_) return;
    if (!ok) {
      problem_ = "this copy's disk failed to flush; replace it";
      return core_.drop_link(problem_);
    }
    // SAFETY: G3 everything is durable here: now, and not earlier, the generation says so.
    Superblock& superblock = core_.journal.superblock();
    superblock.generation = superblock.base = end_->generation;
    superblock.ancestors = end_->ancestors;
    superblock.consistent = true;
    end_saved_ = core_.journal.save();
    end_wait_ = Wait::kSuperblock;
    return;
  }
  Task task = tasks_[subject];
  tasks_[subject].used = false;
  free_.push_back(subject);
  core_.operations.release(task.buffer);
  if (!ok) problem_ = "this copy's disk reports errors: the mirror cannot stay in sync. Replace the disk";
  if (purpose != Purpose::kPeerFlush) {
    --under_way_;
    core_.again = true;
  }
  if (!accepted_ || !core_.link.is(task.connection)) return;
  switch (purpose) {
    case Purpose::kPeerWrite:
      return core_.link.send(WriteDone{task.sequence, ok});
    case Purpose::kPeerFlush:
      return core_.link.send(FlushPeerDone{task.sequence, ok});
    case Purpose::kPeerHash:
      if (!ok) hashes.clear();
      return core_.link.send(HashReply{task.sequence, std::move(hashes)});
    default:
      BATON_ASSERT(false);
  }
}

void SecondarySide::advance_copy_end() {
  Journal& journal = core_.journal;
  if (end_wait_ == Wait::kSuperblock && journal.saved(end_saved_)) {
    // Only now may the journal forget: until here it said what to compare.
    journal.clear_all();
    end_wait_ = Wait::kCleared;
    copying_ = false;
    core_.again = true;
  } else if (end_wait_ == Wait::kCleared && journal.log_and_bitmap_durable()) {
    end_wait_ = Wait::kNone;
    end_.reset();
    core_.link.send(CopyEnded{journal.superblock().incarnation});
  }
}

void SecondarySide::advance() {
  answer_hello();
  if (begin_pending_ && core_.journal.saved(begin_saved_)) {
    begin_pending_ = false;
    core_.link.send(CopyBegun{});
  }
  if (end_) advance_copy_end();
}

void SecondarySide::link_lost() {
  accepted_ = false;
  hello_.reset();
  begin_pending_ = false;
  end_.reset();
  end_wait_ = Wait::kNone;
  copying_ = false;
}

}  // namespace baton::mirror
