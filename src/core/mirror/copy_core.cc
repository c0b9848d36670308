// See copy_core.h.
#include "src/core/mirror/copy_core.h"

namespace baton::mirror {

/// splitmix64 from the seed and the incarnation: two starts never give the same numbers.
uint64_t CopyCore::random() {
  if (random_state_ == 0) {
    random_state_ =
        settings.seed * 0x9E3779B97F4A7C15u + journal.superblock().incarnation.value * 0xD1B54A32D192ED03u;
  }
  uint64_t mixed = random_state_ += 0x9E3779B97F4A7C15u;
  mixed = (mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9u;
  mixed = (mixed ^ (mixed >> 27)) * 0x94D049BB133111EBu;
  return mixed ^ (mixed >> 31);
}

void CopyCore::drop_link(const std::string& reason) {
  if (!link.up()) return;
  link.close(reason);
  link_lost(reason);
}

void CopyCore::link_lost(const std::string& reason) {
  link.gone();
  if (role == MirrorRole::kPrimary) primary.link_lost(reason);
  secondary.link_lost();
  again = true;
}

void CopyCore::alert(const std::string& text) {
  constexpr Duration kAgain = 60s;
  const auto [place, fresh] = alerted_.try_emplace(text, now());
  if (!fresh && now() < place->second + kAgain) return;
  place->second = now();
  operations.emit(Alerted{text});
}

void CopyCore::disk_failed(const std::string& what) {
  disk_problem = "this copy's disk failed to " + what +
                 ": what it holds is no longer certain. Replace the disk, then `baton mirror replace`";
  alert(disk_problem);
  if (role == MirrorRole::kPrimary && !primary.detach()) step_down(disk_problem);
}

void CopyCore::step_down(const std::string& reason) {
  if (role != MirrorRole::kPrimary) return;
  note("no longer primary: " + reason);
  // SAFETY: P3 no request is completed from here on but as failed.
  if (exported) operations.emit(AbortExport{reason});
  exported = false;
  role = MirrorRole::kSecondary;
  primary.leave();
  copy.stop(reason);
  link.close(reason);
  secondary.link_lost();
  writes.fail_all();
  // What was under way or not flushed by both is in the log (C1, C3) or dirty (C2, C4): the next primary
  // compares it.
  journal.become_suspects();
  journal.superblock().was_primary = false;
  journal.save();
  roles.stepped_down();
  again = true;
}

}  // namespace baton::mirror
