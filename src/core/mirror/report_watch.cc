// See report_watch.h.
#include "src/core/mirror/report_watch.h"

#include "src/core/mirror/copy_core.h"

namespace baton::mirror {

namespace {
constexpr Duration kProgressInterval = 100ms;

MirrorLink link_of(const CopyCore& core) {
  if (core.role == MirrorRole::kPrimary) {
    switch (core.primary.standing()) {
      case Standing::kCopying:
        return MirrorLink::kCopying;
      case Standing::kReadmitting:
        return MirrorLink::kReadmitting;
      case Standing::kConnected:
      case Standing::kTrailing:
      case Standing::kDetaching:
      case Standing::kDetached:
        return MirrorLink::kConnected;
      default:
        break;
    }
    if (core.primary.refused()) return MirrorLink::kRefused;
    return core.link.up() ? MirrorLink::kConnecting : MirrorLink::kDown;
  }
  if (!core.link.up()) return MirrorLink::kDown;
  if (!core.secondary.serving()) return MirrorLink::kConnecting;
  if (core.secondary.copying()) return MirrorLink::kCopying;
  const auto me = core.committed.in_sync.find(core.settings.self);
  const bool listed = me != core.committed.in_sync.end() && me->second == core.journal.superblock().incarnation;
  if (core.secondary.trailing()) return MirrorLink::kConnected;
  return listed ? MirrorLink::kConnected : MirrorLink::kReadmitting;
}

void take_copy(MirrorReport& to, const MirrorReport& from) {
  to.copy = from.copy;
  to.copy_reason = from.copy_reason;
  to.copy_total_bytes = from.copy_total_bytes;
  to.copy_done_bytes = from.copy_done_bytes;
  to.copy_sent_bytes = from.copy_sent_bytes;
  to.copy_read_bytes = from.copy_read_bytes;
  to.copy_zero_bytes = from.copy_zero_bytes;
  to.copy_bytes_per_second = 0;
}

bool same_but_progress(const MirrorReport& left, const MirrorReport& right) {
  return left.role == right.role && left.link == right.link && left.incarnation == right.incarnation &&
         left.permit == right.permit && left.generation == right.generation &&
         left.consistent == right.consistent && left.exported == right.exported && left.copy == right.copy &&
         left.copy_reason == right.copy_reason && left.waiting == right.waiting &&
         left.problem == right.problem && left.detached == right.detached && left.broken == right.broken &&
         left.backup == right.backup && left.snapshot == right.snapshot && left.slow == right.slow &&
         left.rate_limit == right.rate_limit;
}
}  // namespace

std::string ReportWatch::waiting() const {
  if (core_.role != MirrorRole::kPrimary) return {};
  if (core_.writes.held_for_lease()) {
    return "lease: this server's right to the group has run out; requests wait until the cluster renews it";
  }
  if (core_.primary.standing() == Standing::kDetaching) {
    return "in-sync = the other copy: this server's disk has failed; requests wait until the cluster has recorded "
           "that the other copy alone has the data";
  }
  if (core_.primary.standing() == Standing::kWaiting && core_.primary.proposing()) {
    return "in-sync = me: the other copy is away; writes wait until the cluster has recorded that this copy is "
           "alone";
  }
  if (core_.writes.held_for_set() && core_.primary.too_far_behind()) {
    return "max_lag: the other copy is too far behind; writes wait until it catches up, or the cluster has recorded that "
           "it may not take over by itself";
  }
  if (core_.writes.held_for_set() && !core_.journal.problem().empty()) return "metadata: see the problem";
  return {};
}

std::string ReportWatch::problem() const {
  if (!core_.journal.problem().empty()) return core_.journal.problem();
  if (!core_.disk_problem.empty()) return core_.disk_problem;
  if (!core_.primary.problem().empty()) return core_.primary.problem();
  return core_.secondary.problem();
}

void ReportWatch::fill_copy() {
  const bool verifying = core_.copy.verifying();
  if (verifying && !verifying_) before_verify_ = report_;
  if (!verifying && verifying_) take_copy(report_, before_verify_);
  verifying_ = verifying;
  if (core_.role != MirrorRole::kPrimary) {
    if (core_.secondary.copy_kind() == CopyKind::kNone) return;
    report_.copy = core_.secondary.copy_kind();
    report_.copy_reason = "as the primary decided";
    report_.copy_sent_bytes = 0;
    return;
  }
  if (verifying) {
    report_.copy_reason = "verify";
  } else if (core_.primary.copy_kind() == CopyKind::kNone || core_.copy.verified()) {
    return;
  }
  report_.copy = core_.primary.copy_kind();
  if (!verifying && report_.copy_reason != core_.primary.copy_reason()) report_.copy_reason = core_.primary.copy_reason();
  report_.copy_total_bytes = core_.copy.total_blocks() * kBlockBytes;
  report_.copy_done_bytes = core_.copy.done_blocks() * kBlockBytes;
  report_.copy_sent_bytes = core_.copy.sent_blocks() * kBlockBytes;
  report_.copy_read_bytes = core_.copy.read_blocks() * kBlockBytes;
  report_.copy_zero_bytes = core_.copy.zero_blocks() * kBlockBytes;
  report_.copy_bytes_per_second = core_.copy.bytes_per_second();
}

/// What is asked of the peer and not answered for a quarter of the time-out is slow, not yet dead.
std::string ReportWatch::slow() const {
  if (core_.role != MirrorRole::kPrimary) return {};
  const Duration waited = core_.link.oldest_unanswered();
  if (waited < core_.settings.peer_timeout / 4) return {};
  return "the other copy has not answered a request for more than " +
         std::to_string(core_.settings.peer_timeout / 4 / 1ms) + " ms; after " +
         std::to_string(core_.settings.peer_timeout / 1ms) + " ms it is dropped";
}

void ReportWatch::update() {
  const Superblock& superblock = core_.journal.durable_superblock();
  report_.role = core_.role;
  report_.link = link_of(core_);
  report_.incarnation = superblock.incarnation;
  report_.permit = superblock.permit;
  report_.generation = superblock.generation;
  report_.consistent = core_.journal.superblock().consistent && superblock.consistent;
  report_.exported = core_.exported;
  report_.size_bytes = superblock.size_blocks * kBlockBytes;
  const uint64_t compare = core_.copy.verifying() ? 0 : core_.copy.left_to_compare();
  report_.dirty_bytes = (core_.journal.dirty().blocks().count() + compare) * kBlockBytes;
  fill_copy();
  report_.protocol = core_.settings.protocol;
  report_.rate_limit = core_.copy.rate_limit();
  report_.detached = core_.journal.superblock().detached;
  report_.snapshot = core_.journal.superblock().snapshot;
  report_.broken = core_.committed.broken;
  report_.backup = core_.maintenance.backup();
  report_.lag_bytes = core_.writes.lag().blocks() * kBlockBytes;
  report_.read_errors = core_.writes.read_errors();
  // Texts are built only where there is something to say.
  report_.waiting = waiting();
  report_.slow = slow();
  const std::string text = problem();
  if (text != report_.problem) report_.problem = text;

  if (ever_told_ && report_ == told_) {
    next_progress_ = kNever;
    return;
  }
  const bool progress_alone = ever_told_ && same_but_progress(report_, told_);
  if (progress_alone && core_.now() < last_told_ + kProgressInterval) {
    next_progress_ = last_told_ + kProgressInterval;
    return;
  }
  next_progress_ = kNever;
  ever_told_ = true;
  told_ = report_;
  last_told_ = core_.now();
  core_.operations.emit(Reported{report_});
}

}  // namespace baton::mirror
