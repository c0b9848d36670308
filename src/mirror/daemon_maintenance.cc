// MirrorDaemon, what a person asks of a copy besides its roles: grow, discard, replace, a backup export, the rate; and
// the snapshot that a copy's target keeps. The core decides, this carries out. docs/protocol.md, M1-M3.
#include <spdlog/spdlog.h>

#include "src/mirror/mirror_daemon.h"

namespace baton::mirror {
namespace {

constexpr Duration kIdleLook = 2ms;
constexpr Duration kIdleLimit = 10s;
constexpr uint64_t kZeroPiece = kMaxZeroBlocks;

}  // namespace

void MirrorDaemon::done_request(const std::string& request, const std::string& text) {
  notify(mirror_control::Done{request, text});
}

// ---- Discard and replace ----

void MirrorDaemon::on_replace() {
  if (copy_->report().role == MirrorRole::kPrimary || exported()) {
    return fail_request("replace", "this copy is the primary: move its group to the other server first");
  }
  replacing_ = true;
  emit(Discard{});
}

void MirrorDaemon::discarded() {
  if (!std::exchange(replacing_, false)) return done_request("discard", "");
  // What the metadata says was about the old disk. A new copy begins at a random incarnation (S4).
  when_metadata_idle("replace", [this] {
    auto blank = blank_copy(settings_.key, settings_.size_bytes / kBlockBytes);
    if (auto reset = metadata_->reset(blank); !reset) return fail_request("replace", reset.error().message);
    done_request("replace", "");
    spdlog::info("ends, to begin as a new copy on the replaced disk");
    ring_->after(100ms, [this] {
      control_->close();
      ring_->stop();
    });
  });
}

/// Between two writes of the core there is a moment; in it the file may be changed as a whole.
void MirrorDaemon::when_metadata_idle(const std::string& request, std::function<void()> go_on, Instant deadline) {
  if (deadline == kNever) deadline = Ring::now() + kIdleLimit;
  if (metadata_->idle()) return go_on();
  if (Ring::now() >= deadline) {
    return fail_request(request, "the mirror's metadata is being written all the time: try again when there is less load");
  }
  ring_->after(kIdleLook, [this, request, go_on = std::move(go_on), deadline] {
    when_metadata_idle(request, go_on, deadline);
  });
}

// ---- Growing ----

void MirrorDaemon::on_grow(uint64_t size_bytes) {
  const uint64_t old = device_->size_blocks() * kBlockBytes;
  if (size_bytes % kBlockBytes != 0 || size_bytes < metadata_->size_blocks() * kBlockBytes) {
    return fail_request("grow", fmt::format("{} bytes is not a multiple of {}, or less than the mirror has", size_bytes,
                                            kBlockBytes));
  }
  if (growing_) return fail_request("grow", "the mirror is being grown already");
  if (auto grown = device_->grow(size_bytes); !grown) return fail_request("grow", grown.error().message);
  growing_ = true;
  // SAFETY: M2 the same content on both sides, whatever was there: a crash before the core covers it loses nothing.
  zero_new_blocks({old / kBlockBytes, (size_bytes - old) / kBlockBytes}, size_bytes);
}

void MirrorDaemon::zero_new_blocks(BlockRange rest, uint64_t size_bytes) {
  if (rest.count == 0) {
    return when_metadata_idle("grow", [this, size_bytes] {
      if (auto grown = metadata_->grow(size_bytes / kBlockBytes); !grown) {
        growing_ = false;
        return fail_request("grow", grown.error().message);
      }
      settings_.size_bytes = size_bytes;
      emit(Grow{size_bytes / kBlockBytes});
    });
  }
  const BlockRange piece{rest.first, std::min(rest.count, kZeroPiece)};
  device_->zero(piece, true, [this, rest, piece, size_bytes](int error) {
    if (error != 0) {
      growing_ = false;
      return fail_request("grow", fmt::format("the new part of {} cannot be zeroed: {}", device_->name(), errno_text(error)));
    }
    zero_new_blocks({piece.end(), rest.count - piece.count}, size_bytes);
  });
}

void MirrorDaemon::grown(uint64_t size_blocks) {
  growing_ = false;
  report_changed_ = true;
  const uint64_t bytes = size_blocks * kBlockBytes;
  export_->grow(bytes, [this, bytes](Status grown) {
    if (!grown) return fail_request("grow", grown.error().message);
    note(fmt::format("the mirror has {} bytes now", bytes));
    done_request("grow", std::to_string(bytes));
  });
}

// ---- Backup ----

void MirrorDaemon::on_backup(bool wanted) {
  if (wanted) return emit(Backup{true});
  if (!backup_export_) return emit(Backup{false});
  backup_export_->close([this](Status closed) {
    if (!closed) return fail_request("backup", closed.error().message);
    emit(Backup{false});
  });
}

void MirrorDaemon::backup_ready(bool wanted) {
  if (!wanted) {
    report_changed_ = true;
    return done_request("backup", "");
  }
  if (backup_export_ && backup_export_->state() == Export::State::kOpen) {
    return done_request("backup", backup_export_->device());
  }
  MirrorExport::Settings settings{settings_.key + ".backup",
                                  settings_.size_bytes,
                                  settings_.export_directory,
                                  settings_.export_kind,
                                  settings_.nbd_socket.empty() ? "" : settings_.nbd_socket + ".backup",
                                  device_.get()};
  backup_export_ = std::make_unique<MirrorExport>(
      *ring_, pool_, std::move(settings), [](const ClientRequest&) {},
      [this](const std::string& reason) { note("the backup export ended: " + reason); },
      [this](const std::string& text) { note(text); });
  backup_export_->open([this](Result<std::string> device) {
    report_changed_ = true;
    if (device) return done_request("backup", *device);
    emit(Backup{false});
    fail_request("backup", device.error().message);
  });
}

// ---- Snapshots ----

void MirrorDaemon::snapshot_done(OperationId operation, const char* what, Status status) {
  if (!status && status.error().code != ErrorCode::kUnavailable) note(fmt::format("{}: {}", what, status.error().message));
  emit(OperationDone{operation, status.has_value(), {}});
}

void MirrorDaemon::drop_snapshot() {
  snapshot_->drop([this](Status dropped) {
    if (!dropped) note("the snapshot is left behind: " + dropped.error().message);
  });
}

}  // namespace baton::mirror
