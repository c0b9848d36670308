// MirrorDaemon, the half that faces the core: a step, and what each action comes to.
#include <spdlog/spdlog.h>

#include <cstring>

#include "src/base/assert.h"
#include "src/mirror/mirror_daemon.h"
#include "src/mirror/mirror_hash.h"

namespace baton::mirror {

struct MirrorDaemon::ActionHandler {
  MirrorDaemon& daemon;

  void operator()(const LocalRead& read) const { daemon.local_read(read); }
  void operator()(const LocalWrite& write) const { daemon.local_write(write); }
  void operator()(const LocalFlush& flush) const { daemon.flushes_.push_back(flush.operation); }
  void operator()(const PersistSuperblock& persist) const {
    daemon.metadata_->persist_superblock(persist.superblock, daemon.persisted(persist.operation, "superblock"));
  }
  void operator()(const PersistActivity& persist) const {
    daemon.metadata_->persist_activity(persist.extents, daemon.persisted(persist.operation, "activity log"));
  }
  void operator()(const PersistBitmap& persist) const {
    daemon.metadata_->persist_bitmap(persist.pages, daemon.persisted(persist.operation, "dirty bitmap"));
  }
  void operator()(const SendMessage& send) const { daemon.link_->send(send.connection, send.message, send.buffer); }
  void operator()(const CloseLink& close) const {
    spdlog::info("mirror connect closed: {}", close.reason);
    daemon.link_->close(close.connection, close.reason);
  }
  void operator()(const CompleteRequest& complete) const { daemon.export_->complete(complete.id, complete.ok); }
  void operator()(const ReleaseBuffer& release) const { daemon.pool_.release(release.buffer); }
  void operator()(const ProposeInSync& propose) const {
    daemon.notify(mirror_control::Propose{SetInSync{daemon.settings_.key, propose.expected_version, propose.permit,
                                                    propose.in_sync, propose.reason, propose.trailing}});
  }
  void operator()(const Promoted& promoted) const { daemon.promoted(promoted.permit); }
  void operator()(const Demoted&) const { daemon.demoted(); }
  void operator()(const RoleRefused& refused) const { daemon.role_refused(refused); }
  void operator()(const AbortExport& abort) const { daemon.abort_export(abort.reason); }
  void operator()(const Stopped&) const {
    spdlog::info("ended in order");
    daemon.control_->close();
    daemon.ring_->stop();
  }
  void operator()(const WantLink& want) const { daemon.link_->want(want.wanted); }
  void operator()(const Reported&) const { daemon.report_changed_ = true; }  // sent at the end of the round
  void operator()(const Noted& noted) const { daemon.note(noted.text); }
  void operator()(const Verified& verified) const {
    if (!verified.failure.empty()) return daemon.fail_request("verify", verified.failure);
    daemon.notify(mirror_control::Verified{verified.blocks, verified.different, verified.repaired});
  }
  void operator()(const LocalZero& zero) const { daemon.local_zero(zero); }
  void operator()(const CopyBuffer& copy) const { daemon.copy_buffer(copy); }
  void operator()(const TakeSnapshot& take) const {
    daemon.snapshot_->take([&self = daemon, operation = take.operation](Status taken) {
      self.snapshot_done(operation, "the last consistent state is not kept", std::move(taken));
    });
  }
  void operator()(const RevertToSnapshot& revert) const {
    daemon.snapshot_->revert([&self = daemon, operation = revert.operation](Status reverted) {
      self.snapshot_done(operation, "the last consistent state cannot be brought back", std::move(reverted));
    });
  }
  void operator()(const DropSnapshot&) const { daemon.drop_snapshot(); }
  void operator()(const Discarded&) const { daemon.discarded(); }
  void operator()(const Grown& grown) const { daemon.grown(grown.size_blocks); }
  void operator()(const BackupReady& ready) const { daemon.backup_ready(ready.wanted); }
  void operator()(const DiskRetried&) const { daemon.device_->retry(); }
  void operator()(const Alerted& alerted) const {
    spdlog::error("{}", alerted.text);
    daemon.notify(mirror_control::Alert{alerted.text});
  }
};

void MirrorDaemon::pump() {
  while (true) {
    // The actions of one step are carried out before the next event is looked at.
    std::vector<Action> actions;
    std::swap(actions, actions_);
    for (const Action& action : actions) std::visit(ActionHandler{*this}, action);
    actions.clear();
    if (actions_.empty()) std::swap(actions, actions_);  // keeps the memory
    if (events_.empty()) return;
    const Event event = std::move(events_.front());
    events_.pop_front();
    copy_->step(context(), event, actions_);
  }
}

void MirrorDaemon::begin_flushes() {
  for (const OperationId operation : flushes_) {
    device_->flush([this, operation](int error) {
      if (error != 0) disk_problem(fmt::format("flushing {} failed: {}", device_->name(), errno_text(error)));
      emit(OperationDone{operation, error == 0, {}});
    });
  }
  flushes_.clear();
}

void MirrorDaemon::local_read(const LocalRead& read) {
  BufferId buffer = read.buffer;
  if (buffer == 0) {
    buffer = read.new_buffer;
    pool_.allocate_as(buffer, static_cast<uint32_t>(read.range.count * kBlockBytes));
  }
  BATON_ASSERT(read.range.count * kBlockBytes <= pool_.capacity(buffer));
  pool_.retain(buffer);  // the disk writes into it whatever the core does meanwhile
  device_->read(read.range, pool_.data(buffer), [this, read, buffer](int error) { read_done(read, buffer, error); });
}

void MirrorDaemon::read_done(const LocalRead& read, BufferId buffer, int error) {
  OperationDone done{read.operation, error == 0, {}};
  if (error != 0) {
    disk_problem(fmt::format("reading {} blocks at {} of {} failed: {}", read.range.count, read.range.first,
                             device_->name(), errno_text(error)));
  } else {
    if (read.want_hashes) done.hashes = hash_blocks(pool_.data(buffer), read.range.count);
    if (read.want_zero) done.zero = is_zero(pool_.data(buffer), read.range.count * kBlockBytes);
  }
  pool_.release(buffer);
  emit(std::move(done));
}

void MirrorDaemon::local_write(const LocalWrite& write) {
  BATON_ASSERT(write.range.count * kBlockBytes <= pool_.capacity(write.buffer));
  pool_.retain(write.buffer);
  device_->write(write.range, pool_.data(write.buffer), [this, write](int error) {
    if (error != 0) {
      disk_problem(fmt::format("writing {} blocks at {} of {} failed: {}", write.range.count, write.range.first,
                               device_->name(), errno_text(error)));
    }
    pool_.release(write.buffer);
    emit(OperationDone{write.operation, error == 0, {}});
  });
}

void MirrorDaemon::local_zero(const LocalZero& zero) {
  device_->zero(zero.range, zero.unmap, [this, zero](int error) {
    if (error != 0) {
      disk_problem(fmt::format("zeroing {} blocks at {} of {} failed: {}", zero.range.count, zero.range.first,
                               device_->name(), errno_text(error)));
    }
    emit(OperationDone{zero.operation, error == 0, {}});
  });
}

void MirrorDaemon::copy_buffer(const CopyBuffer& copy) {
  const size_t bytes = copy.blocks * kBlockBytes;
  BATON_ASSERT(bytes <= pool_.capacity(copy.from) && bytes <= pool_.capacity(copy.to));
  std::memcpy(pool_.data(copy.to), pool_.data(copy.from), bytes);
}

MetadataFile::Done MirrorDaemon::persisted(OperationId operation, const char* what) {
  return [this, operation, what](int error) {
    if (error != 0) {
      disk_problem(fmt::format("writing the {} to {} failed: {}", what, metadata_->path(), errno_text(error)));
    }
    emit(OperationDone{operation, error == 0, {}});
  };
}

}  // namespace baton::mirror
