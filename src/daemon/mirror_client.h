// batond's side of one mirror daemon: starts or adopts it, keeps it informed of the committed record, promotes and
// demotes it, and tells when it ends. One thread: the loop's. src/format/mirror_control.h.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "src/daemon/line_client.h"
#include "src/format/mirror_control.h"
#include "src/os/child_process.h"
#include "src/os/event_loop.h"

namespace baton {

class MirrorClient {
 public:
  struct Callbacks {
    std::function<void(const MirrorReport&, const std::string& device)> on_report;
    std::function<void(const SetInSync&)> on_propose;
    /// The export is gone (daemon ended, or it aborted the export itself): nothing can use the device any more.
    std::function<void(const std::string& reason)> on_export_lost;
    /// The daemon has ended: what it reported last is no longer so.
    std::function<void()> on_gone;
    std::function<void(const std::string& text)> on_note;
    std::function<void(Result<mirror_control::Verified>)> on_verified;
  };
  /// Ends of promote, demote and abort: the device, or the error.
  using Done = std::function<void(Result<std::string>)>;

  MirrorClient(EventLoop& loop, mirror_control::DaemonSettings settings, std::string program, std::string run_directory,
               std::string log_file, Callbacks callbacks);

  /// Adopts a running daemon or starts one; goes on trying. Call once.
  void start();
  /// Ends the daemon in order (its mirror is no longer configured).
  void stop();
  bool same_settings(const mirror_control::DaemonSettings& other) const;

  void set_state(const MirrorState& state);
  void peer_lost(const std::string& reason);
  void promote(Permit permit, Done done);
  void demote(Done done);
  void abort(const std::string& reason, Done done);
  void verify();

  /// Exported under this permit: answers whether the mirror is up after batond's restart, once the daemon has reported
  /// or it is clear that none runs.
  void adopt(Permit permit, Done done);

  const std::optional<MirrorReport>& report() const { return report_; }
  const std::string& device() const { return device_; }
  const mirror_control::DaemonSettings& settings() const { return settings_; }
  /// Why no daemon answers, for status; empty while one does.
  const std::string& problem() const { return problem_; }

 private:
  void connect_or_spawn();
  void spawn();
  void connected(std::unique_ptr<LineClient> client);
  void lost(const std::string& reason);
  void on_line(const std::string& line);
  void take(const mirror_control::Report& notice);
  void send(const mirror_control::Request& request);
  void finish(Done& pending, Result<std::string> result);
  void answer_adoption();

  EventLoop& loop_;
  mirror_control::DaemonSettings settings_;
  std::string program_;
  std::string settings_file_;
  std::string log_file_;
  Callbacks callbacks_;
  std::unique_ptr<LineClient> client_;
  ChildProcess daemon_;
  bool spawned_ = false;
  int failed_starts_ = 0;
  bool stopping_ = false;
  std::string spawn_error_;
  EventLoop::Handle retry_;
  EventLoop::Handle escalation_;
  std::optional<MirrorState> state_;
  std::optional<MirrorReport> report_;
  std::string device_;
  std::string problem_;
  Done promoting_;
  Permit promoting_permit_;
  bool aborting_ = false;  // what demoting_ waits for is an abort
  Done demoting_;
  Done adopting_;
  Permit adopting_permit_;
};

}  // namespace baton
