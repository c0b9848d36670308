// Rounds on the disk, one after the other. Pure. docs/protocol.md, "The arbiter on a disk".
#include "src/core/arbiter/disk_lock.h"

#include <algorithm>

#include <fmt/format.h>

namespace baton::arbiter {

namespace {
constexpr Duration kInterval = 250ms;   // each server's sign of life
constexpr Duration kPatience = 1s;      // for one round; a disk that takes longer cannot be asked
constexpr Duration kQuiet = 700ms;      // who has not written for so long does not live, as far as the disk shows
constexpr Duration kTryAgain = 20ms;    // both have claimed
constexpr Duration kAfterProblem = 1s;
}  // namespace

void DiskLock::use(Instant now, const std::string& disk, ServerId other) {
  if (disk == disk_ && other == other_id_) return;
  disk_ = disk;
  other_id_ = other;
  own_ = other_ = DiskBlock{};
  known_ = written_ = voided_ = has_ = false;
  stale_ = flies_;
  since_ = due_ = now;
  other_moved_ = kNever;
  problem_.clear();
}

std::optional<Round> DiskLock::next(Instant now, uint64_t mark) {
  if (!in_use() || flies_) return std::nullopt;
  std::optional<DiskBlock> wanted;
  if (known_) {
    // SAFETY: Q3. One of the two gives way, when both have claimed and neither has held.
    wanted = prepare(own_, other_, wish_, other_id_ < self_);
    wanted->life = life_;
  }
  const bool changes = wanted && (wanted->claim != own_.claim || wanted->held != own_.held || wanted->voids != own_.voids || !written_);
  if (now < due_ && !changes) return std::nullopt;
  // SAFETY: Q5. From here on the claim may be gone.
  if (wanted && wanted->claim != own_.claim) has_ = false;
  flies_ = true;
  begun_ = now;
  mark_ = mark;
  return Round{++number_, disk_, self_, other_id_, wanted};
}

void DiskLock::done(Instant now, const RoundDone& done) {
  if (!flies_ || done.number != number_) return;
  flies_ = false;
  if (std::exchange(stale_, false)) return;
  if (!done.ok) {
    // SAFETY: Q4. What of the write has reached the disk is not known: this server reads its own block again.
    known_ = written_ = has_ = false;
    problem_ = done.problem;
    due_ = now + kAfterProblem;
    return;
  }
  const bool held = own_.held && own_.claim == done.own.claim && claims(own_, other_);
  if (known_ && done.other.sequence != other_.sequence) other_moved_ = now;
  written_ = known_;  // a round without a write comes first
  own_ = done.own;
  other_ = done.other;
  known_ = true;
  voided_ = voided_ || (held && own_.claim != 0 && !claims(own_, other_));
  has_ = written_ && own_.held && has_lock(own_, other_);
  marked_ = mark_;
  marked_at_ = begun_;
  since_ = now;
  problem_.clear();
  const bool contested = own_.claim != 0 && !own_.held && others();
  due_ = written_ ? now + (contested ? kTryAgain : kInterval) : now;
}

Instant DiskLock::next_tick(Instant now) const {
  if (!in_use()) return kNever;
  if (!flies_) return due_;
  return now < begun_ + kPatience ? begun_ + kPatience : kNever;  // then for the answer, however late
}

bool DiskLock::answers(Instant now) const {
  return in_use() && known_ && written_ && problem_.empty() && !(flies_ && now >= begun_ + kPatience);
}

bool DiskLock::other_lives(Instant now) const { return other_moved_ != kNever && now < other_moved_ + kQuiet; }

std::string DiskLock::why_not(Instant now) const {
  if (!in_use() || answers(now)) return {};
  const std::string since = fmt::format("for {} s", (now - since_) / 1s);
  if (flies_ && now >= begun_ + kPatience)
    return fmt::format("the disk {} does not answer ({})", disk_, since);
  if (!problem_.empty()) return fmt::format("the disk {} cannot be used ({}): {}", disk_, since, problem_);
  return fmt::format("the disk {} has not been read yet", disk_);
}

}  // namespace baton::arbiter
