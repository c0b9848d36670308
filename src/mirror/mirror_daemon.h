// MirrorDaemon: one copy of one mirror: feeds what happens on disks, links, export and control socket to the pure core
// as events, and carries out its actions in order. One thread, one loop.
#pragma once

#include <deque>
#include <memory>
#include <optional>

#include "src/core/mirror/mirror_copy.h"
#include "src/format/mirror_control.h"
#include "src/mirror/block_device.h"
#include "src/mirror/buffer_pool.h"
#include "src/mirror/control_server.h"
#include "src/mirror/export.h"
#include "src/mirror/lease_reader.h"
#include "src/mirror/metadata_file.h"
#include "src/mirror/mirror_connect.h"
#include "src/mirror/ring.h"

namespace baton::mirror {

class MirrorDaemon {
 public:
  static Result<std::unique_ptr<MirrorDaemon>> start(const mirror_control::DaemonSettings& settings);
  ~MirrorDaemon();

  /// Runs until the daemon has ended in order.
  void run();

 private:
  explicit MirrorDaemon(const mirror_control::DaemonSettings& settings);
  Status open_disks();
  Status open_link();
  Status watch_signals();
  void watch_signal_descriptor();
  void watch_lease();
  void begin();

  // The loop's rounds.
  Instant before_wait();
  void pump();
  void step(const Event& event);
  Context context() const;
  void emit(Event event) { events_.push_back(std::move(event)); }

  // What batond asks.
  struct RequestHandler;
  void on_request(const mirror_control::Request& request);
  void on_promote(Permit permit);
  void on_demote();
  void on_abort(const std::string& reason);
  void on_stop();
  /// Closes the export if there is one, then goes on; what prevents it is told as the failure of `request`.
  void without_export(const std::string& request, std::function<void()> go_on);

  // What the core wants done.
  struct ActionHandler;
  void local_read(const LocalRead& read);
  void local_write(const LocalWrite& write);
  void read_done(const LocalRead& read, BufferId buffer, int error);
  MetadataFile::Done persisted(OperationId operation, const char* what);
  void promoted(Permit permit);
  void demoted();
  void abort_export(const std::string& reason);
  void export_lost(const std::string& reason);
  void export_opened(Result<std::string> device);

  // Telling batond.
  void notify(const mirror_control::Notice& notice) { control_->notify(notice); }
  void fail_request(const std::string& request, const std::string& reason);
  void note(const std::string& text);
  void disk_problem(const std::string& text);
  mirror_control::Report current_report() const;
  void report_if_due();
  void report_export() {
    report_changed_ = true;
    report_if_due();
  }
  bool exported() const { return export_->state() == Export::State::kOpen; }

  mirror_control::DaemonSettings settings_;
  std::unique_ptr<Ring> ring_;
  BufferPool pool_;
  std::unique_ptr<LeaseReader> lease_;
  std::unique_ptr<MetadataFile> metadata_;
  std::unique_ptr<BlockDevice> device_;
  StoredCopy stored_;
  std::unique_ptr<MirrorConnect> link_;
  std::unique_ptr<Export> export_;
  std::unique_ptr<ControlServer> control_;
  std::unique_ptr<MirrorCopy> copy_;
  OwnedFd signals_;

  std::deque<Event> events_;
  std::vector<Action> actions_;
  Permit promoted_permit_;          // of the last Promoted action
  bool export_wanted_ = false;      // from a Promote request until Demote, Abort or an abort of our own
  bool demotion_asked_ = false;
  bool stopping_ = false;
  bool report_changed_ = true;
  std::optional<mirror_control::Report> last_report_;
  Instant last_report_time_;
  Instant last_disk_problem_;
  std::string lease_problem_;
};

}  // namespace baton::mirror
