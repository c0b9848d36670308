// See maintenance.h.
#include "src/core/mirror/maintenance.h"

#include "src/core/mirror/copy_core.h"

namespace baton::mirror {

void Maintenance::refuse(const std::string& request, const std::string& reason) {
  core_.note(request + " refused: " + reason);
  core_.operations.emit(RoleRefused{reason, request});
}

// ---- Discard ----

void Maintenance::discard() {
  if (discard_ != Step::kNone) return;
  const auto& set = core_.committed.in_sync;
  const auto me = set.find(core_.settings.self);
  const bool listed = me != set.end() && me->second == core_.journal.superblock().incarnation;
  if (core_.role == MirrorRole::kPrimary || core_.roles.changing()) {
    return refuse("discard", "this copy is in use as the primary: its data cannot be discarded");
  }
  // SAFETY: M1, I2 the data that everybody relies on is never thrown away.
  if (!core_.committed_known) return refuse("discard", "the cluster's record of this mirror is not known here yet; try again");
  if (listed && set.size() == 1) {
    return refuse("discard", "this copy is the only one in sync: discarding it would lose the data");
  }
  if (listed && !core_.secondary.serving()) {
    return refuse("discard", "this copy is in sync, and the other one is not there: it may be the last with the data");
  }
  core_.drop_link("this copy's data is discarded");
  discard_ = Step::kDrain;
  core_.again = true;
}

void Maintenance::advance_discard() {
  Journal& journal = core_.journal;
  if (discard_ == Step::kDrain && core_.disk_drained()) {
    Superblock& superblock = journal.superblock();
    superblock.generation = superblock.base = Generation{};
    superblock.ancestors.clear();
    superblock.consistent = superblock.detached = superblock.snapshot = false;
    ++superblock.incarnation.value;  // SAFETY: S4 out of the set, if it was in it
    discard_saved_ = journal.save();
    discard_ = Step::kSave;
    core_.secondary.forget_disk_failure();
    core_.operations.emit(DropSnapshot{});
  }
  if (discard_ != Step::kSave || !journal.saved(discard_saved_)) return;
  discard_ = Step::kNone;
  core_.note("this copy's data was discarded: it waits for a full copy");
  core_.operations.emit(Discarded{});
}

// ---- Growing ----

void Maintenance::grow(uint64_t size_blocks) {
  const uint64_t old = core_.journal.superblock().size_blocks;
  if (size_blocks < old) return refuse("grow", "a mirror cannot be made smaller");
  if (grow_ != Step::kNone) return refuse("grow", "the mirror is being grown already");
  if (core_.primary.detached()) return refuse("grow", "this copy's disk has failed: it cannot be grown");
  if (size_blocks == old) return core_.operations.emit(Grown{size_blocks});
  // The end of a copy would take the new blocks for settled.
  const Standing standing = core_.primary.standing();
  if (standing == Standing::kCopying || standing == Standing::kReadmitting) core_.drop_link("this copy grows");
  core_.journal.grow(size_blocks);
  // SAFETY: M2 what the new blocks hold on either side nobody knows: covered, on disk, before anybody can use them.
  if (core_.role == MirrorRole::kPrimary) {
    core_.journal.dirty().mark({old, size_blocks - old});
    core_.journal.dirty().want_all();
  }
  grow_ = Step::kJournal;
  core_.again = true;
}

void Maintenance::advance_grow() {
  Journal& journal = core_.journal;
  if (grow_ == Step::kJournal && journal.dirty().all_durable()) {
    grow_saved_ = journal.save();
    grow_ = Step::kSave;
  }
  if (grow_ != Step::kSave || !journal.saved(grow_saved_)) return;
  grow_ = Step::kNone;
  core_.operations.emit(Grown{journal.superblock().size_blocks});
  core_.drop_link("this copy has grown");  // the next connection settles the new blocks
}

// ---- Backup ----

std::string Maintenance::backup_refusal() const {
  if (core_.role == MirrorRole::kPrimary || core_.roles.changing()) {
    return "this copy is in use as the primary: make the backup from the other server's copy";
  }
  if (!core_.committed_known || !core_.committed.broken) {
    return "the mirror is not broken off: `baton mirror break` first, or the copy would change under the backup";
  }
  const Superblock& superblock = core_.journal.superblock();
  if (!superblock.consistent) return "this copy is the target of an unfinished copy: there is nothing whole to back up";
  if (superblock.generation.counter == 0) return "this copy was never written";
  return {};
}

void Maintenance::backup(bool wanted) {
  if (!wanted) {
    backup_ = backup_wanted_ = false;
    return core_.operations.emit(BackupReady{false});
  }
  const std::string reason = backup_refusal();
  if (!reason.empty()) return refuse("backup", reason);
  backup_wanted_ = true;
  core_.drop_link("this copy is read for a backup");
  core_.again = true;
}

void Maintenance::advance() {
  advance_discard();
  advance_grow();
  // SAFETY: M3 what is read is not being written.
  if (!backup_wanted_ || backup_ || !core_.disk_drained()) return;
  backup_ = true;
  backup_wanted_ = false;
  core_.operations.emit(BackupReady{true});
}

}  // namespace baton::mirror
