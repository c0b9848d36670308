// MirrorDaemon, the half that faces batond: requests of the control socket, and the export's life that follows them.
#include <spdlog/spdlog.h>

#include "src/mirror/mirror_daemon.h"
#include "src/mirror/tls_authority.h"

namespace baton::mirror {

namespace {
constexpr Duration kCertificateInterval = 12h;
constexpr Duration kAheadLimit = 15s;  // a lease that runs out, or a group that is stopped elsewhere
}  // namespace

struct MirrorDaemon::RequestHandler {
  MirrorDaemon& daemon;
  void operator()(const mirror_control::State& state) const { daemon.emit(StateCommitted{state.state}); }
  void operator()(const mirror_control::Promote& promote) const { daemon.on_promote(promote.permit); }
  void operator()(const mirror_control::Demote&) const { daemon.on_demote(); }
  void operator()(const mirror_control::Abort& abort) const { daemon.on_abort(abort.reason); }
  void operator()(const mirror_control::PeerLost& lost) const { daemon.peer_lost(lost.reason); }
  void operator()(const mirror_control::Verify& verify) const { daemon.emit(StartVerify{verify.repair}); }
  void operator()(const mirror_control::SetRate& rate) const { daemon.emit(SetRate{rate.bytes_per_second}); }
  void operator()(const mirror_control::Discard&) const { daemon.emit(Discard{}); }
  void operator()(const mirror_control::Grow& grow) const { daemon.on_grow(grow.size_bytes); }
  void operator()(const mirror_control::Backup& backup) const { daemon.on_backup(backup.wanted); }
  void operator()(const mirror_control::Replace&) const { daemon.on_replace(); }
  void operator()(const mirror_control::Prepare&) const { daemon.prepare(); }
  void operator()(const mirror_control::ReadKeys& read) const { daemon.read_keys(read.anew); }
  void operator()(const mirror_control::Stop&) const { daemon.on_stop(); }
};

void MirrorDaemon::on_request(const mirror_control::Request& request) {
  // What came before it is taken in first: a Promote is judged by the State that was sent with it.
  std::visit(RequestHandler{*this}, request);
  pump();
}

void MirrorDaemon::on_promote(Permit permit) {
  export_wanted_ = true;
  if (exported() && promoted_permit_ == permit && copy_->report().role == MirrorRole::kPrimary) {
    return notify(mirror_control::Promoted{permit, export_->device()});
  }
  emit(Promote{permit});
}

/// The core is through with a promotion: the permit is on disk (docs/protocol.md, P1), now the device may appear.
void MirrorDaemon::promoted(Permit permit) {
  promoted_permit_ = permit;
  if (!export_wanted_) return;  // aborted meanwhile
  const bool ahead = std::exchange(export_ahead_, false);
  switch (export_->state()) {
    case Export::State::kOpen:
      if (ahead) return export_opened(export_->device());
      return notify(mirror_control::Promoted{permit, export_->device()});
    case Export::State::kClosed:
      return export_->open([this](Result<std::string> device) { export_opened(std::move(device)); });
    case Export::State::kOpening:
      return;  // its end tells
    case Export::State::kClosing:
      return fail_request("promote", "the export is being closed: try again");
  }
}

void MirrorDaemon::export_opened(Result<std::string> device) {
  if (!device) return fail_request("promote", device.error().message);
  spdlog::info("exported as {} under permit {}", *device, promoted_permit_);
  report_export();
  notify(mirror_control::Promoted{promoted_permit_, *device});
}

// ---- The cluster's keys ----

/// From the files, and the certificates that follow from them.
Result<ClusterKeySet> MirrorDaemon::load_keys(bool anew) {
  auto keys = read_cluster_keys(settings_.cluster_key_file);
  if (!keys || !settings_.encrypt) return keys;
  const std::string directory = settings_.certificate_file.substr(0, settings_.certificate_file.rfind('/'));
  if (auto made = write_certificates(keys->used, settings_.self, directory, keys->others, anew); !made) return pass(made);
  return keys;
}

void MirrorDaemon::read_keys(bool anew) {
  const auto keys = load_keys(anew);
  if (!keys) return fail_request("read_keys", keys.error().message);
  if (anew || *keys != keys_) {
    const bool proves_otherwise = anew || keys->used != keys_.used;
    if (proves_otherwise && link_->connected()) note("the mirror connect is made anew under new keys");
    keys_ = *keys;
    link_->use_keys(keys_, anew);
  }
  done_request("read_keys", "");
}

/// A daemon may run for longer than a certificate is good: it renews what ends soon, for the connections to come.
void MirrorDaemon::watch_certificate() {
  ring_->after(kCertificateInterval, [this] {
    if (const auto keys = load_keys(false); !keys) note("the certificate was not looked after: " + keys.error().message);
    watch_certificate();
  });
}

// ---- The device made ahead ----

/// A group has lost its owner, or is to come here: while its lease runs out, or it is stopped there, the device can be
/// made. Making it takes longer than all the rest of a promotion.
void MirrorDaemon::prepare() {
  const MirrorReport report = copy_->report();
  if (report.role != MirrorRole::kSecondary || !report.consistent || report.detached) return;
  if (export_->state() != Export::State::kClosed || backup_export_ || stopping_ || replacing_) return;
  export_ahead_ = true;
  export_->open([this](Result<std::string> device) { ahead_opened(std::move(device)); });
  ring_->after(kAheadLimit, [this, number = ++ahead_number_] {
    if (number == ahead_number_) drop_ahead();
  });
}

void MirrorDaemon::peer_lost(const std::string& reason) {
  emit(PeerLost{reason});
  prepare();
}

void MirrorDaemon::ahead_opened(Result<std::string> device) {
  if (!export_ahead_) {
    if (export_wanted_) export_opened(std::move(device));  // promoted meanwhile
    return;
  }
  if (device) return;
  export_ahead_ = false;  // a promotion tries again, and says what is wrong
  spdlog::warn("the device could not be made ahead: {}", device.error().message);
}

/// No promotion has come.
void MirrorDaemon::drop_ahead() {
  if (!export_ahead_ || export_wanted_) return;
  export_ahead_ = false;
  export_->abort([this] { report_export(); });
}

void MirrorDaemon::asked(const ClientRequest& request) {
  if (!export_ahead_) return emit(request);
  // SAFETY: P1. No I/O before the permit is on disk: whoever finds a device that nobody has been told of gets errors.
  ring_->after(Duration::zero(), [this, request] {
    if (request.buffer != 0) pool_.release(request.buffer);
    export_->complete(request.id, false);
  });
}

void MirrorDaemon::without_export(const std::string& request, std::function<void()> go_on) {
  export_ahead_ = false;
  switch (export_->state()) {
    case Export::State::kClosed:
      return go_on();
    case Export::State::kOpening:
      return export_->abort(std::move(go_on));  // nobody has been told of it
    case Export::State::kClosing:
      return fail_request(request, "the export is being closed already");
    case Export::State::kOpen:
      return export_->close([this, request, go_on = std::move(go_on)](Status closed) {
        report_export();
        if (!closed) return fail_request(request, closed.error().message);
        go_on();
      });
  }
}

void MirrorDaemon::role_refused(const RoleRefused& refused) {
  if (!refused.request.empty()) {
    if (refused.request == "grow") growing_ = false;
    const bool replacing = refused.request == "discard" && std::exchange(replacing_, false);
    return fail_request(replacing ? "replace" : refused.request, refused.reason);
  }
  const std::string request = stopping_ ? "stop" : demotion_asked_ ? "demote" : "promote";
  demotion_asked_ = stopping_ = false;
  if (request == "promote" && !exported()) {
    export_wanted_ = false;
    drop_ahead();
  }
  fail_request(request, refused.reason);
}

void MirrorDaemon::on_demote() {
  if (demotion_asked_) return;  // repeated: one answer is on its way
  without_export("demote", [this] {
    export_wanted_ = false;
    demotion_asked_ = true;
    emit(Demote{});
  });
}

void MirrorDaemon::demoted() {
  demotion_asked_ = false;
  notify(mirror_control::Demoted{});
}

void MirrorDaemon::on_abort(const std::string& reason) {
  spdlog::warn("the export is aborted as asked: {}", reason);
  export_wanted_ = export_ahead_ = false;
  // First the kernel fails everything, then the core gives the role up and answers.
  export_->abort([this, reason] {
    report_export();
    emit(Abort{reason});
  });
}

void MirrorDaemon::abort_export(const std::string& reason) {
  export_wanted_ = export_ahead_ = false;
  spdlog::warn("the export is aborted: {}", reason);
  export_->abort([this, reason] {
    report_export();
    notify(mirror_control::Aborted{reason});
  });
}

/// The kernel has ended the export under us: nothing can be acknowledged any more.
void MirrorDaemon::export_lost(const std::string& reason) {
  if (export_ahead_ && !export_wanted_) return drop_ahead();
  abort_export(reason);
  emit(Abort{reason});
}

void MirrorDaemon::on_stop() {
  if (stopping_) return;
  without_export("stop", [this] {
    export_wanted_ = false;
    stopping_ = true;
    emit(Stop{});
  });
}

}  // namespace baton::mirror
