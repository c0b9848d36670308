// See copy_run.h. A step's way: begin_step -> locked -> (hashes of both sides) -> pieces read and sent ->
// finish.
#include "src/core/mirror/copy_run.h"

#include <algorithm>

#include "src/base/assert.h"
#include "src/core/mirror/copy_core.h"

namespace baton::mirror {

namespace {
constexpr uint64_t kFlushBlocks = 8192;  // 32 MiB
}

CopyRun::CopyRun(CopyCore& core) : core_(core), rate_(core.settings.copy_least_bytes) {}

void CopyRun::reset() {
  BATON_ASSERT(!running_ && active_ == 0);
  running_ = true;
  verify_ = false;
  if (steps_.size() < core_.settings.copy_window) steps_.resize(core_.settings.copy_window);
  send_cursor_ = 0;
  compare_.clear();
  unflushed_.clear();
  flushing_.clear();
  unflushed_blocks_ = flush_round_ = 0;
  flushed_at_end_ = false;
  repair_ = false;
  different_ = repaired_ = total_ = done_ = sent_ = read_ = zero_ = 0;
  rate_.start(core_.now());
  next_sample_ = core_.now() + RateControl::kInterval;
  next_begin_ = kNever;
  progress_.clear();
  verify_failure_.clear();
}

void CopyRun::start(BlockSet suspects) {
  reset();
  compare_ = std::move(suspects);
  for (const BlockRange& run :
       core_.journal.dirty().blocks().runs({0, core_.journal.superblock().size_blocks})) {
    compare_.remove(run);  // sent anyway
  }
  total_ = core_.journal.dirty().blocks().count() + compare_.count();
}

void CopyRun::start_verify(bool repair) {
  reset();
  verify_ = true;
  repair_ = repair;
  compare_.add({0, core_.journal.superblock().size_blocks});
  total_ = compare_.count();
}

void CopyRun::stop(const std::string& reason) {
  if (!running_) return;
  running_ = false;
  if (verify_) verify_ended(reason);
  for (Step& step : steps_) {
    if (!step.used || step.abandoned) continue;
    step.abandoned = true;
    if (step.reading) continue;  // the lock stays as long as the disk reads (O1)
    core_.writes.release_lock(step.lock);
    release(step);
  }
  active_ = 0;
  compare_.clear();
  unflushed_.clear();
  flushing_.clear();
  flush_round_ = 0;
}

bool CopyRun::drained() const {
  return std::none_of(steps_.begin(), steps_.end(), [](const Step& step) { return step.reading; });
}

void CopyRun::release(Step& step) {
  core_.operations.release(step.buffer);
  step = Step{};
}

// ---- Beginning steps ----

bool CopyRun::choose(BlockRange& range, bool& compare) {
  const uint64_t limit = core_.settings.copy_step_blocks;
  if (!verify_) {
    if (const auto run = core_.journal.dirty().blocks().next(send_cursor_, limit)) {
      range = *run;
      compare = false;
      send_cursor_ = range.end();
      return true;
    }
  }
  const auto run = compare_.next(0, limit);
  if (!run) return false;
  range = *run;
  compare = true;
  compare_.remove(range);
  return true;
}

bool CopyRun::begin_next() {
  next_begin_ = kNever;
  nothing_left_ = false;
  const uint64_t step_bytes = core_.settings.copy_step_blocks * kBlockBytes;
  if (active_ >= rate_.window(core_.settings.copy_window, step_bytes)) return false;
  if (rate_.allowance(core_.now()) <= 0) {
    next_begin_ = rate_.ready_at(core_.now());
    return false;
  }
  const bool room = std::any_of(steps_.begin(), steps_.end(), [](const Step& step) { return !step.used; });
  BlockRange range;
  bool compare = false;
  if (!room) return false;
  nothing_left_ = !choose(range, compare);
  if (nothing_left_) return false;
  begin_step(range, compare);
  return true;
}

void CopyRun::begin_step(BlockRange range, bool compare) {
  const auto place = std::find_if(steps_.begin(), steps_.end(), [](const Step& step) { return !step.used; });
  Step& step = *place;
  step.used = true;
  step.compare = compare;
  step.dirty = !compare;
  step.range = range;
  step.owner = kCopyStepOwner | next_owner_++;
  rate_.take(range.count * kBlockBytes);
  if (!compare) step.to_send.push_back(range);
  ++active_;
  flushed_at_end_ = false;
  // SAFETY: O1 no client write to these blocks runs while they are read here and written there.
  bool granted = false;
  step.lock = core_.writes.locks().acquire(range, LockMode::kCopy, step.owner, granted);
  if (granted) locked(step.owner);
}

void CopyRun::locked(uint64_t owner) {
  const auto place = std::find_if(steps_.begin(), steps_.end(),
                                  [&](const Step& step) { return step.used && step.owner == owner; });
  if (place == steps_.end() || place->abandoned) return;
  const uint64_t number = static_cast<uint64_t>(place - steps_.begin());
  if (!place->compare) return next_piece(number);
  place->sequence = core_.link.ask();
  core_.link.send(HashRequest{place->sequence, place->range});
  read(number, place->range, true);
  read_ += 2 * place->range.count;
}

void CopyRun::read(uint64_t number, BlockRange range, bool want_hashes) {
  Step& step = steps_[number];
  step.piece = range;
  step.reading = true;
  step.buffer = core_.operations.new_buffer();
  core_.operations.emit(LocalRead{
      core_.operations.begin(Purpose::kCopyRead, number), range, 0, step.buffer, want_hashes, !want_hashes});
}

// ---- What comes back ----

void CopyRun::read_done(uint64_t number, bool ok, bool zero, const std::vector<BlockHash>& hashes) {
  Step& step = steps_[number];
  step.reading = false;
  if (step.abandoned) {
    core_.writes.release_lock(step.lock);
    core_.again = true;
    return release(step);
  }
  if (!ok && !verify_) {
    core_.primary.pause_link(
        "this copy's disk cannot be read everywhere: the other copy cannot be brought up to date "
        "from it. Look at this server's disk");
    return;
  }
  if (!step.compare) return send(step, zero);
  step.here = hashes;
  step.hashes_here = true;
  compare_if_ready(number);
}

void CopyRun::hashes_arrived(const HashReply& reply) {
  Step* step = find(reply.sequence);
  if (step == nullptr || !step->compare) return;
  step->there = reply.hashes;
  step->hashes_there = true;
  compare_if_ready(static_cast<uint64_t>(step - steps_.data()));
}

void CopyRun::compare_if_ready(uint64_t number) {
  Step& step = steps_[number];
  if (!step.hashes_here || !step.hashes_there) return;
  step.compare = false;
  const bool comparable = step.here.size() == step.range.count && step.there.size() == step.range.count;
  uint64_t different = 0;
  for (uint64_t index = 0; index < step.range.count; ++index) {
    if (comparable && step.here[index] == step.there[index]) continue;
    ++different;
    const uint64_t block = step.range.first + index;
    if (!step.to_send.empty() && step.to_send.back().end() == block) {
      ++step.to_send.back().count;
    } else {
      step.to_send.push_back({block, 1});
    }
  }
  if (comparable) different_ += different;
  if (verify_) {
    if (!repair_) step.to_send.clear();
    if (!comparable) {
      step.to_send.clear();  // what is under way ends, nothing more begins
      verify_failure_ = step.here.empty()
                            ? "this copy could not read all of its blocks: look at this server's disk"
                            : "the other copy could not read all of its blocks: look at that server's disk";
      compare_.clear();
    }
  }
  if (!verify_ && different == step.range.count) {  // the data at hand is what is to be sent
    step.to_send.clear();
    return send(step, false);
  }
  core_.operations.release(step.buffer);
  next_piece(number);
}

void CopyRun::next_piece(uint64_t number) {
  Step& step = steps_[number];
  if (step.to_send.empty()) return finish(number);
  const BlockRange piece = step.to_send.front();
  step.to_send.pop_front();
  read_ += piece.count;
  read(number, piece, false);
}

void CopyRun::send(Step& step, bool zero) {
  step.sequence = core_.link.ask();
  step.zero = zero;
  if (zero) {
    core_.link.send(ZeroData{step.sequence, step.piece, core_.writes.epoch(), true});
  } else {
    core_.link.send(WriteData{step.sequence, step.piece, core_.writes.epoch()}, step.buffer);
  }
}

void CopyRun::write_done(uint64_t sequence, bool ok) {
  Step* step = find(sequence);
  if (step == nullptr) return;
  if (!ok) {
    core_.primary.pause_link("the other copy's disk failed to write: look at that server's disk");
    return;
  }
  core_.operations.release(step->buffer);
  step->sequence = 0;
  (step->zero ? zero_ : sent_) += step->piece.count;
  if (verify_) repaired_ += step->piece.count;
  unflushed_blocks_ += step->piece.count;
  next_piece(static_cast<uint64_t>(step - steps_.data()));
}

CopyRun::Step* CopyRun::find(uint64_t sequence) {
  for (Step& step : steps_) {
    if (step.used && !step.abandoned && step.sequence == sequence) return &step;
  }
  return nullptr;
}

void CopyRun::finish(uint64_t number) {
  Step& step = steps_[number];
  core_.writes.release_lock(step.lock);
  done_ += step.range.count;
  if (step.dirty) unflushed_.push_back(step.range);
  --active_;
  release(step);
  core_.again = true;
}

// ---- Flushes and the end ----

void CopyRun::begin_flush() {
  flush_round_ = core_.writes.flushes().request();
  flushing_.swap(unflushed_);
  unflushed_blocks_ = 0;
}

void CopyRun::flush_ended() {
  // SAFETY: C6 both copies are equal there and both have flushed: if either lost what it has in its cache, the
  // bit would be missing.
  for (const BlockRange& range : flushing_) core_.journal.dirty().unmark(range);
  flushing_.clear();
  flush_round_ = 0;
  core_.again = true;
}

void CopyRun::end_if_done() {
  if (active_ > 0 || flush_round_ != 0 || !nothing_left_ || !drained()) return;
  const bool wrote = !verify_ || repaired_ > 0;
  if (wrote && !flushed_at_end_) {
    flushed_at_end_ = true;
    return begin_flush();
  }
  if (verify_) {
    running_ = false;
    return verify_ended(verify_failure_);
  }
  const uint64_t late = core_.journal.dirty().blocks().count();
  if (late > 0) {  // marked behind the cursor (suspects that the full activity log gave up)
    send_cursor_ = 0;
    total_ += late;
    core_.again = true;
    return;
  }
  running_ = false;
  core_.primary.copy_finished();
}

void CopyRun::verify_ended(const std::string& failure) {
  if (different_ > 0) {
    core_.alert(std::to_string(different_) + " blocks of the copies differ" +
                (repair_ ? "; they were sent again" : ": `baton mirror verify --repair` makes them equal"));
  }
  core_.operations.emit(Verified{done_, different_, repaired_, failure});
}

// ---- Rate ----

void CopyRun::set_rate(uint64_t bytes_per_second) {
  rate_.set_fixed(bytes_per_second);
  core_.again = true;
}

void CopyRun::sample() {
  const Instant now = core_.now();
  if (core_.role != MirrorRole::kPrimary || now < next_sample_) return;
  next_sample_ = now + RateControl::kInterval;
  const ForegroundSample sample = core_.writes.take_sample();
  rate_.sample(now, running_, sample.requests, sample.total);
  if (!running_) return;
  progress_.emplace_back(now, done_);
  while (progress_.front().first + 3s < now) progress_.pop_front();
}

uint64_t CopyRun::bytes_per_second() const {
  if (!running_ || progress_.size() < 2) return 0;
  const Duration span = progress_.back().first - progress_.front().first;
  if (span <= Duration::zero()) return 0;
  const uint64_t blocks = progress_.back().second - progress_.front().second;
  return static_cast<uint64_t>(static_cast<double>(blocks * kBlockBytes) * 1e9 / static_cast<double>(span.count()));
}

Instant CopyRun::next_tick() const { return running_ ? std::min(next_sample_, next_begin_) : kNever; }

void CopyRun::advance() {
  sample();
  if (!running_) return;
  if (flush_round_ != 0 && core_.writes.flushes().ended(flush_round_)) flush_ended();
  while (running_ && begin_next()) {
  }
  if (!running_) return;
  if (flush_round_ == 0 && unflushed_blocks_ >= kFlushBlocks) begin_flush();
  end_if_done();
}

}  // namespace baton::mirror
