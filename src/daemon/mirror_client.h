// batond's side of one mirror daemon: starts or adopts it, keeps it informed of the committed record and of changed
// settings, promotes and demotes it, and tells when it ends. One thread: the loop's. src/format/mirror_control.h.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "src/daemon/line_client.h"
#include "src/format/mirror_control.h"
#include "src/os/child_process.h"
#include "src/os/event_loop.h"

namespace baton {

class MirrorClient {
 public:
  struct Callbacks {
    std::function<void(const mirror_control::Report&)> on_report;
    std::function<void(const SetInSync&)> on_propose;
    /// The export is gone (daemon ended, or it aborted the export itself): nothing can use the device any more.
    std::function<void(const std::string& reason)> on_export_lost;
    /// The daemon has ended: what it reported last is no longer so.
    std::function<void()> on_gone;
    std::function<void(const std::string& text)> on_note;
    std::function<void(const std::string& text)> on_alert;
  };
  /// Ends of promote, demote and abort: the device, or the error.
  using Done = std::function<void(Result<std::string>)>;
  /// The end of any other request: mirror_control::Done or Verified, or the error.
  using Answer = std::function<void(Result<mirror_control::Notice>)>;
  using KeysRead = std::function<void(const Status&)>;

  MirrorClient(EventLoop& loop, mirror_control::DaemonSettings settings, std::string program, std::string run_directory,
               std::string log_file, Callbacks callbacks);

  /// Adopts a running daemon or starts one; goes on trying. Call once.
  void start();
  /// Ends the daemon in order (its mirror is no longer configured).
  void stop();
  /// After stop(): the daemon has let go.
  bool stopped() const { return stopping_ && client_ == nullptr; }

  /// The settings that the configuration wants from now on. Size and rate are sent at once; the others work when the
  /// daemon is started next. See restart_for_settings().
  void want_settings(const mirror_control::DaemonSettings& wanted);
  /// What waits for a restart, for people: "protocol, export"; empty: nothing.
  std::string pending_settings() const;
  /// Restarts the daemon in order if some settings wait for it. REQUIRES: may_restart_mirror().
  void restart_for_settings();

  void set_state(const MirrorState& state);
  void peer_lost(const std::string& reason);
  /// The files of the cluster's key have changed; `anew`: another certificate, too. `done`: the daemon has read them as they
  /// are now, or will when it is started; or why not (one of an older version cannot), within 6 s.
  void read_keys(bool anew, KeysRead done);
  /// A promotion is likely to come soon.
  void prepare();
  void promote(Permit permit, Done done);
  void demote(Done done);
  void abort(const std::string& reason, Done done);
  /// Sends a request and waits for its end; `name` as in mirror_control::Failed. One of a name at a time. On its way
  /// for longer than `limit`: kTimeout (it may still come about).
  void call(const mirror_control::Request& request, const std::string& name, Duration limit, Answer answer);

  /// Exported under this permit: answers whether the mirror is up after batond's restart, once the daemon has reported
  /// or it is clear that none runs.
  void adopt(Permit permit, Done done);

  const std::optional<MirrorReport>& report() const { return report_; }
  const std::string& device() const { return device_; }
  const mirror_control::Report& last_notice() const { return last_notice_; }
  const mirror_control::DaemonSettings& settings() const { return wanted_; }
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
  void daemon_ended(const ChildEnd& end);
  void learn_running_settings();
  void send_live_settings();
  void grow_if_needed();
  void answer_call(const std::string& name, Result<mirror_control::Notice> result);
  void read_keys_next();
  void answer_key_reads(const Status& outcome);

  EventLoop& loop_;
  mirror_control::DaemonSettings running_;  // what the daemon was started with
  mirror_control::DaemonSettings wanted_;
  std::string program_;
  std::string settings_file_;
  std::string log_file_;
  Callbacks callbacks_;
  std::unique_ptr<LineClient> client_;
  ChildProcess daemon_;
  bool spawned_ = false;
  int failed_starts_ = 0;
  bool stopping_ = false;
  bool restarting_ = false;  // its end is wanted; it is started anew
  std::string spawn_error_;
  EventLoop::Handle retry_;
  EventLoop::Handle escalation_;
  std::optional<MirrorState> state_;
  std::optional<MirrorReport> report_;
  mirror_control::Report last_notice_;
  std::string device_;
  std::string problem_;
  struct Call {
    Answer answer;
    EventLoop::Handle deadline;
  };
  std::map<std::string, Call> calls_;
  std::vector<KeysRead> key_reads_;  // not sent yet
  bool read_anew_ = false;
  EventLoop::Handle key_reads_deadline_;
  uint64_t asked_size_ = 0;  // of the Grow that is under way
  std::string grow_problem_;
  EventLoop::Handle grow_retry_;
  Done promoting_;
  Permit promoting_permit_;
  bool aborting_ = false;  // what demoting_ waits for is an abort
  Done demoting_;
  Done adopting_;
  Permit adopting_permit_;
};

}  // namespace baton
