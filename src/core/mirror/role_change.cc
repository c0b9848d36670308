// See role_change.h.
#include "src/core/mirror/role_change.h"

#include <utility>

#include "src/base/planted.h"
#include "src/core/mirror/copy_core.h"
#include "src/core/mirror/generations.h"

namespace baton::mirror {

// ---- Promotion ----

std::string RoleChange::refusal(Permit permit) const {
  const Superblock& superblock = core_.journal.superblock();
  if (stopping_ || stop_wanted_) return "the mirror's daemon is ending";
  if (!core_.committed_known || core_.committed.permit != permit ||
      core_.committed.holder != core_.settings.self) {
    return "the committed record does not give this permit to this server (any more)";
  }
  if (permit <= superblock.permit) return "the permit is not newer than one that was used already";
  if (superblock.detached) return "this copy's disk failed while it was primary: it lacks what was written since";
  if (const std::string failure = core_.secondary.disk_failure(); !failure.empty()) return failure;
  if (core_.maintenance.backup()) return "this copy is exported for a backup; `baton mirror unexport` ends that";
  if (core_.committed.restricted.contains(core_.settings.self)) {
    return "an operator has restricted this mirror here; `baton mirror restrict --lift` ends that";
  }
  // SAFETY: I3 an operator has named this copy, and was shown what would be lost.
  const bool forced = core_.committed.forced == core_.settings.self;
  if (!superblock.consistent && !forced) {
    return "this copy is the target of an unfinished copy and not consistent. Start the server that has the "
           "data";
  }
  // SAFETY: S4 a copy that restarted uncleanly may lack acknowledged writes.
  const auto me = core_.committed.in_sync.find(core_.settings.self);
  const bool listed = me != core_.committed.in_sync.end() && me->second == superblock.incarnation;
  if (!listed && !planted(Plant::kUncleanCopyPromoted)) {
    return "this copy is not in the in-sync set with its present incarnation: it may lack acknowledged writes";
  }
  return {};
}

void RoleChange::refuse(const std::string& reason) {
  core_.note("request refused: " + reason);
  core_.operations.emit(RoleRefused{reason});
}

void RoleChange::promote(Permit permit) {
  if (core_.role == MirrorRole::kPrimary) {
    if (permit == core_.permit() && !demoting_) return core_.operations.emit(Promoted{permit});
    return refuse("this copy is primary under another permit, or is just being handed over");
  }
  if (promoting_ && *promoting_ == permit) return;
  const std::string reason = refusal(permit);
  if (!reason.empty()) return refuse(reason);
  promoting_ = permit;
  promotion_saving_ = false;
  core_.secondary.forget_disk_failure();  // D3: its pause is over
  core_.drop_link("this copy becomes primary");
  core_.again = true;
}

void RoleChange::permit_seen(Permit permit) {
  if (!promoting_ || permit <= *promoting_) return;
  give_up_promotion();
  refuse("a newer permit was given meanwhile");
}

/// What must be settled before the permit is written. False: not yet, or refused.
bool RoleChange::begin_promotion() {
  // SAFETY: O2 what an older primary had sent is on its way to the disk no more.
  if (!core_.disk_drained() || revert_ == Revert::kRunning) return false;
  const std::string reason = refusal(*promoting_);
  if (!reason.empty()) {
    give_up_promotion();
    refuse(reason);
    return false;
  }
  const Superblock& superblock = core_.journal.superblock();
  if (superblock.consistent || !superblock.snapshot || revert_ == Revert::kDone) return true;
  // The state before the unfinished copy is whole; what the copy brought is not.
  // SAFETY: M4 the other copy believes blocks to be here that the revert undoes: covered first, should it all come to
  // nothing and that copy go on.
  Journal& journal = core_.journal;
  if (revert_ == Revert::kNone) {
    journal.dirty().mark_all();
    journal.dirty().want_all();
    revert_ = Revert::kCovering;
    core_.again = true;
  }
  if (!journal.dirty().all_durable()) return false;
  revert_ = Revert::kRunning;
  core_.note("this copy goes back to its last consistent state");
  core_.operations.emit(RevertToSnapshot{core_.operations.begin(Purpose::kRevert, 0)});
  return false;
}

void RoleChange::give_up_promotion() {
  promoting_.reset();
  first_flush_ = FirstFlush::kNone;
  // What was reverted may be a copy's target again: the next promotion begins anew.
  if (revert_ != Revert::kRunning) revert_ = Revert::kNone;
}

void RoleChange::reverted(bool ok) {
  if (revert_ != Revert::kRunning) return;
  revert_ = ok && promoting_ ? Revert::kDone : Revert::kNone;
  core_.again = true;
  if (ok || !promoting_) return;
  give_up_promotion();
  refuse("the snapshot of this copy's last consistent state could not be brought back: look at the store's filesystem");
}

/// Under protocol A a flush was answered before this copy had flushed. SAFETY: A6 what is read from the new primary is
/// durable: whoever reads it may rely on the flush that was answered.
bool RoleChange::flush_first() {
  if (core_.settings.protocol != MirrorProtocol::kA || first_flush_ == FirstFlush::kDone) return true;
  if (first_flush_ == FirstFlush::kNone) {
    first_flush_ = FirstFlush::kRunning;
    core_.operations.emit(LocalFlush{core_.operations.begin(Purpose::kPromotionFlush, ++first_flush_token_)});
  }
  return false;
}

void RoleChange::flushed_first(uint64_t token, bool ok) {
  if (first_flush_ != FirstFlush::kRunning || token != first_flush_token_) return;
  core_.again = true;
  first_flush_ = FirstFlush::kDone;
  if (ok) return;
  give_up_promotion();
  refuse("this copy's disk failed to flush what it had received: replace it");
}

void RoleChange::take_permit() {
  Superblock& superblock = core_.journal.superblock();
  const bool forced = core_.committed.forced == core_.settings.self;
  superblock.permit = *promoting_;
  superblock.was_primary = true;
  const bool whole = superblock.consistent || revert_ == Revert::kDone;
  fresh_ = superblock.generation.counter == 0 || forced;
  // SAFETY: G4 what a forced copy holds is not what its generation's other holders have: it must look diverged to them.
  if (fresh_) take_new_generation(superblock, core_.random());
  if (forced && !whole) superblock.base = superblock.generation;
  superblock.consistent = true;
  drop_snapshot_ = superblock.snapshot;
  superblock.snapshot = false;
  revert_ = Revert::kNone;
  first_flush_ = FirstFlush::kNone;
  promotion_saved_ = core_.journal.save();
  promotion_saving_ = true;
}

void RoleChange::advance_promotion() {
  if (!promoting_) return;
  if (!promotion_saving_) {
    if (!begin_promotion() || !flush_first()) return;
    take_permit();
  }
  // SAFETY: P1 the permit is on disk before any I/O under it.
  if (!core_.journal.saved(promotion_saved_) && !planted(Plant::kPermitNotPersisted)) return;
  const Permit permit = *promoting_;
  promoting_.reset();
  if (std::exchange(drop_snapshot_, false)) core_.operations.emit(DropSnapshot{});
  core_.role = MirrorRole::kPrimary;
  core_.exported = true;
  core_.operations.emit(Promoted{permit});
  core_.primary.enter(fresh_);
}

// ---- Hand-over ----

void RoleChange::demote() {
  if (demoting_) return;
  if (promoting_) {
    give_up_promotion();
    core_.journal.superblock().was_primary = false;
    core_.journal.save();
  }
  if (core_.role == MirrorRole::kSecondary) return core_.operations.emit(Demoted{});
  if (!core_.writes.idle()) {
    return refuse("requests are still under way: close the export first");
  }
  demoting_ = true;
  demotion_saving_ = false;
  core_.exported = false;
  if (core_.primary.standing() == Standing::kCopying) core_.drop_link("this copy is handed over");
  if (core_.copy.verifying()) core_.copy.stop("this copy is handed over");
  demotion_round_ = core_.writes.flushes().request();
}

void RoleChange::advance_demotion() {
  if (!demoting_) return;
  Journal& journal = core_.journal;
  if (!demotion_saving_) {
    if (!core_.writes.flushes().ended(demotion_round_)) return;
    // A copy run that began meanwhile is left to the next primary.
    if (core_.primary.standing() == Standing::kCopying) core_.drop_link("this copy is handed over");
    const bool detached = core_.primary.detached();
    if (!detached) journal.empty_log();
    if (!detached && (!journal.activity().recency().empty() || !journal.log_and_bitmap_durable())) return;
    // A4: the next primary may be the copy that trailed behind; it holds everything now.
    if (core_.primary.standing() == Standing::kTrailing) return core_.primary.readmit_trailing();
    if (core_.primary.standing() == Standing::kReadmitting) return;
    journal.superblock().was_primary = false;
    demotion_saved_ = journal.save();
    demotion_saving_ = true;
  }
  if (!journal.saved(demotion_saved_)) return;
  demoting_ = false;
  core_.role = MirrorRole::kSecondary;
  core_.primary.leave();
  core_.copy.stop("this copy was handed over");
  core_.drop_link("this copy was handed over");
  core_.writes.fail_all();  // nobody: resets locks and rounds
  journal.become_suspects();
  core_.operations.emit(Demoted{});
  if (stop_wanted_) stop();
}

void RoleChange::stepped_down() {
  if (!demoting_) return;
  demoting_ = false;
  core_.operations.emit(Demoted{});
  if (stop_wanted_) stop();
}

void RoleChange::abort(const std::string& reason) {
  if (promoting_) {
    give_up_promotion();
    core_.journal.superblock().was_primary = false;
    core_.journal.save();
  }
  core_.exported = false;  // the one who asks closes the export
  core_.step_down(reason);
  core_.operations.emit(Demoted{});
}

// ---- The end in order ----

void RoleChange::stop() {
  if (stopping_) return;
  if (core_.role == MirrorRole::kPrimary) {
    stop_wanted_ = true;
    demote();
    if (!demoting_) stop_wanted_ = false;
    return;
  }
  if (promoting_) {
    give_up_promotion();
    refuse("the mirror's daemon is ending");
  }
  stopping_ = true;
  core_.drop_link("the mirror's daemon is ending");
  core_.again = true;
}

void RoleChange::operation_done(uint64_t, bool ok) {
  if (!stopping_ || stop_step_ != StopStep::kFlush) return;
  if (!ok) {
    core_.note("the disk failed to flush: this copy ends as after a crash");
    stop_step_ = StopStep::kDone;
    core_.operations.emit(Stopped{});
    return;
  }
  core_.journal.dirty().want_all();
  stop_step_ = StopStep::kJournal;
}

void RoleChange::advance_stop() {
  if (!stopping_) return;
  Journal& journal = core_.journal;
  if (stop_step_ == StopStep::kDrain && core_.disk_drained()) {
    stop_step_ = StopStep::kFlush;
    core_.operations.emit(LocalFlush{core_.operations.begin(Purpose::kStopFlush, 0)});
  }
  if (stop_step_ == StopStep::kJournal && journal.log_and_bitmap_durable()) {
    // SAFETY: S4 clean means: all that this copy was sent is durable on it.
    journal.superblock().clean = true;
    stop_saved_ = journal.save();
    stop_step_ = StopStep::kSave;
  }
  if (stop_step_ == StopStep::kSave && journal.saved(stop_saved_)) {
    stop_step_ = StopStep::kDone;
    core_.operations.emit(Stopped{});
  }
}

void RoleChange::advance() {
  advance_promotion();
  advance_demotion();
  advance_stop();
}

}  // namespace baton::mirror
