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
#include "src/mirror/device_meter.h"
#include "src/mirror/export_choice.h"
#include "src/mirror/lease_reader.h"
#include "src/mirror/metadata_file.h"
#include "src/mirror/mirror_connect.h"
#include "src/mirror/mirror_metrics.h"
#include "src/mirror/ring.h"
#include "src/mirror/snapshot.h"
#include "src/mirror/timed_device.h"

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
  Status open_store();
  Status open_link();
  Status watch_signals();
  void watch_signal_descriptor();
  void watch_lease();
  void abort_when_frozen_too_long();
  void watch_second();
  void make_present(uint8_t* memory, size_t bytes);
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
  void read_keys(bool anew);
  Result<ClusterKeySet> load_keys(bool anew);
  void watch_certificate();
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
  void begin_flushes();
  void local_zero(const LocalZero& zero);
  void copy_buffer(const CopyBuffer& copy);
  void read_done(const LocalRead& read, BufferId buffer, int error);
  MetadataFile::Done persisted(OperationId operation, const char* what);
  void promoted(Permit permit);
  void demoted();
  void abort_export(const std::string& reason);
  void export_lost(const std::string& reason);
  void export_opened(Result<std::string> device);
  void asked(const ClientRequest& request);
  void prepare();
  void peer_lost(const std::string& reason);
  void ahead_opened(Result<std::string> device);
  void drop_ahead();
  void role_refused(const RoleRefused& refused);

  // What a person asks: daemon_maintenance.cc
  void done_request(const std::string& request, const std::string& text);
  void on_replace();
  void discarded();
  void when_metadata_idle(const std::string& request, std::function<void()> go_on, Instant deadline = kNever);
  void on_grow(uint64_t size_bytes);
  void zero_new_blocks(BlockRange rest, uint64_t size_bytes);
  void grown(uint64_t size_blocks);
  void on_backup(bool wanted);
  void backup_ready(bool wanted);
  void snapshot_done(OperationId operation, const char* what, Status status);
  void drop_snapshot();

  // Telling batond.
  void notify(const mirror_control::Notice& notice) { control_->notify(notice); }
  void fail_request(const std::string& request, const std::string& reason);
  void note(const std::string& text);
  void disk_problem(const std::string& text);
  mirror_control::Report current_report() const;
  std::string slow_disk() const;
  void report_if_due();
  void report_export() {
    report_changed_ = true;
    report_if_due();
  }
  bool exported() const { return export_->state() == Export::State::kOpen && !export_ahead_; }

  mirror_control::DaemonSettings settings_;
  std::unique_ptr<Ring> ring_;
  BufferPool pool_;
  std::unique_ptr<LeaseReader> lease_;
  std::unique_ptr<MetadataFile> metadata_;
  TimedDevice* timed_ = nullptr;
  DeviceMeter* meter_ = nullptr;
  std::unique_ptr<BlockDevice> device_;  // the store with its wrappers
  std::unique_ptr<Snapshot> snapshot_;
  bool zeroed_store_ = false;
  StoredCopy stored_;
  std::unique_ptr<MirrorConnect> link_;
  std::unique_ptr<MirrorExport> export_;
  std::unique_ptr<MirrorExport> backup_export_;
  std::unique_ptr<ControlServer> control_;
  std::unique_ptr<MirrorCopy> copy_;
  OwnedFd signals_;

  std::deque<Event> events_;
  std::vector<Action> actions_;
  std::vector<OperationId> flushes_;  // of this round
  Permit promoted_permit_;          // of the last Promoted action
  bool export_wanted_ = false;      // from a Promote request until Demote, Abort or an abort of our own
  bool export_ahead_ = false;       // made before its promotion: it fails everything until then
  uint64_t ahead_number_ = 0;
  bool demotion_asked_ = false;
  bool stopping_ = false;
  bool replacing_ = false;
  bool growing_ = false;
  MetricsClock metrics_;
  bool slow_told_ = false;
  bool report_changed_ = true;
  std::optional<mirror_control::Report> last_report_;
  Instant last_report_time_;
  Instant last_disk_problem_;
  std::string lease_problem_;
  Instant frozen_since_ = kNever;
  ClusterKeySet keys_;
  std::string size_remark_;  // told to batond once
};

}  // namespace baton::mirror
