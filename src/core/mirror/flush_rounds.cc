// See flush_rounds.h.
#include "src/core/mirror/flush_rounds.h"

#include "src/base/planted.h"
#include "src/core/mirror/copy_core.h"

namespace baton::mirror {

namespace {
constexpr size_t kTransferLogLimit = 8192;
}

void FlushRounds::join(uint64_t slot) { waiting_.push_back(slot); }

uint64_t FlushRounds::request() {
  if (!wanted_) core_.again = true;
  wanted_ = true;
  return round_ + 1;
}

uint64_t FlushRounds::completed(BlockRange range, bool on_both) {
  ++completions_;
  if (on_both) transfer_log_.push_back({completions_, range});
  if (transfer_log_.size() > kTransferLogLimit) wanted_ = true;
  return completions_;
}

void FlushRounds::begin() {
  running_ = true;
  wanted_ = false;
  ++round_;
  covers_ = completions_;
  if (core_.primary.may_begin() && !core_.primary.answers_when_local()) members_.swap(waiting_);
  local_pending_ = !core_.primary.detached();
  // SAFETY: S1 a flush is one of every in-sync copy, and of the one being readmitted.
  peer_pending_ = core_.primary.linked() && !planted(Plant::kFlushLocalOnly);
  peer_took_part_ = core_.primary.linked();
  if (local_pending_) core_.operations.emit(LocalFlush{core_.operations.begin(Purpose::kFlushRound, round_)});
  if (!peer_pending_) return finish_if_done();
  core_.writes.lag().flush_begun();
  sequence_ = core_.link.ask();
  core_.link.send(FlushPeer{sequence_});
}

void FlushRounds::operation_done(uint64_t round, bool ok) {
  if (!running_ || round != round_) return;
  local_pending_ = false;
  if (!ok && !core_.primary.detached()) return core_.disk_failed("flush");
  finish_if_done();
}

/// SAFETY: A1 the in-sync set is this copy alone: its disk is all that a flush promises.
void FlushRounds::begin_local() {
  local_running_ = true;
  ++local_round_;
  local_members_.swap(waiting_);
  core_.operations.emit(LocalFlush{core_.operations.begin(Purpose::kClientFlush, local_round_)});
}

void FlushRounds::local_done(uint64_t round, bool ok) {
  if (!local_running_ || round != local_round_) return;
  local_running_ = false;
  if (!ok) return core_.disk_failed("flush");
  std::vector<uint64_t> members;
  members.swap(local_members_);
  for (const uint64_t slot : members) core_.writes.flushed(slot);
  core_.again = true;
}

void FlushRounds::detach() {
  transfer_log_.clear();  // the next primary's generation says that everything differs here
  finish_if_done();
}

void FlushRounds::peer_done(uint64_t sequence, bool ok) {
  if (!running_ || !peer_pending_ || sequence != sequence_) return;
  if (!ok) {
    core_.primary.pause_link("the other copy's disk failed to flush: look at that server's disk");
    return;
  }
  peer_pending_ = false;
  finish_if_done();
}

void FlushRounds::finish_if_done() {
  if (!running_ || local_pending_ || peer_pending_) return;
  running_ = false;
  ended_ = round_;
  if (peer_took_part_) {
    core_.writes.lag().flush_ended();
    covered_ = covers_;
    while (!transfer_log_.empty() && transfer_log_.front().completion <= covers_) transfer_log_.pop_front();
  }
  std::vector<uint64_t> members;
  members.swap(members_);
  for (const uint64_t slot : members) core_.writes.flushed(slot);
  core_.journal.flush_round_ended();
  core_.again = true;
}

void FlushRounds::link_lost() {
  // SAFETY: C4 acknowledged is not durable: the peer may lose everything that no flush of both covers.
  for (const Entry& entry : transfer_log_) core_.journal.dirty().mark(entry.range);
  transfer_log_.clear();
  peer_took_part_ = false;
  peer_pending_ = false;
  finish_if_done();
}

void FlushRounds::become_secondary() {
  running_ = false;  // an operation under way ends without anybody waiting for it
  local_pending_ = peer_pending_ = false;
  wanted_ = false;
  ended_ = round_;
  members_.clear();
  waiting_.clear();
  local_running_ = false;
  local_members_.clear();
}

void FlushRounds::advance() {
  const bool local = core_.primary.answers_when_local();
  if (local && !local_running_ && !waiting_.empty()) begin_local();
  if (running_) return;
  const bool clients = !local && !waiting_.empty() && core_.primary.may_begin();
  if (clients || wanted_) begin();
}

}  // namespace baton::mirror
