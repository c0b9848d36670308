// batond: feeds what happens on this server to the pure node and carries out what comes back. Decides nothing by
// itself. One thread: the loop's; the stores, corosync's library and HTTP have threads of their own behind it.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "src/base/bytes.h"
#include "src/core/node/node.h"
#include "src/daemon/alerts.h"
#include "src/daemon/cluster_keys.h"
#include "src/daemon/event_store.h"
#include "src/daemon/guard_client.h"
#include "src/daemon/http_server.h"
#include "src/daemon/join_door.h"
#include "src/daemon/link_watch.h"
#include "src/daemon/log_limit.h"
#include "src/daemon/mirror_calls.h"
#include "src/daemon/mirror_client.h"
#include "src/daemon/monitor_checks.h"
#include "src/daemon/np_disk_client.h"
#include "src/daemon/resource_runner.h"
#include "src/daemon/status_json.h"
#include "src/daemon/voter_store.h"
#include "src/format/database_backup.h"
#include "src/format/join_request.h"
#include "src/format/key_envelope.h"
#include "src/model/failover_time.h"
#include "src/os/child_process.h"
#include "src/os/corosync_engine.h"
#include "src/os/event_loop.h"
#include "src/os/group_messaging.h"
#include "src/os/icmp_echo.h"
#include "src/os/journal_socket.h"
#include "src/os/lease_page.h"
#include "src/os/link_status.h"
#include "src/os/worker_thread.h"

namespace baton {

/// TCP: servers that join ask here, while a token is good.
constexpr uint16_t kJoinPort = 7799;

/// How long an interruption of the cluster database (a new view, a new leader) keeps a person's command waiting. From its begin: one that
/// lasts has every command refused at once.
constexpr Duration kServingPatience = 10s;

/// In the state directory: a recovery did without this server (docs/protocol.md, "Recovery").
constexpr const char* kGivenUpMark = "/given-up";
/// ... or with it as a survivor: its database is to be put aside before batond works again.
constexpr const char* kBeginAnewMark = "/begin-anew";

/// ... or a person has restored a backup here: the order of `baton cluster restore`.
constexpr const char* kRestoringMark = "/restoring";

/// Where batond finds and keeps its things. The defaults are the installed product's.
struct DaemonPaths {
  std::string configuration_directory = "/etc/baton";
  std::string state_directory = "/var/lib/baton";
  std::string run_directory = "/run/baton";
  std::string log_directory = "/var/log/baton";
  std::string program_directory;  // of baton-mirrord, baton-shim and baton-check: that of batond
};

class Daemon {
 public:
  Daemon(EventLoop& loop, DaemonPaths paths);
  ~Daemon();

  /// Reads identity and configuration, opens the stores, starts or adopts corosync, joins. Errors end batond.
  Status start();

  // ---- For the API (api.cc) ----
  /// It has ended the loop to be started anew.
  bool wants_start_anew() const { return start_anew_; }
  const node::NodeCore& node() const { return *node_; }
  ServerId self() const { return self_; }
  EventLoop& loop() { return loop_; }
  EventStore& events() { return *events_; }
  nlohmann::json status() const;
  const UsualStarts& usual_starts() const { return usual_starts_; }
  const std::string& cursor() const { return cursor_; }
  /// Calls once when the cursor differs from `cursor` or at the deadline.
  void when_changed(const std::string& cursor, Duration limit, std::function<void()> callback);
  /// Calls once the cluster database serves, or when it has not for long (kServingPatience): then what is asked of it is refused, with the
  /// reason. A view that has just changed refuses nobody.
  void when_serving(std::function<void()> callback);
  /// Proposes a person's command.
  using RequestDone = std::function<void(bool decided, const Applied& outcome)>;
  void request(const Command& command, RequestDone done);
  /// Asks every server within reach whether it could use the stores of this configuration; the answers, or what is
  /// missing after two seconds.
  using StoresDone = std::function<void(const std::vector<std::string>& problems)>;
  void check_stores_everywhere(const std::string& text, StoresDone done);
  /// A token for one server to join with.
  Result<std::string> make_token(Duration good_for);
  /// A person gives up the voters that are not here (docs/protocol.md, "Recovery").
  void recover(const std::string& author);
  /// What is committed, and on this server's disk.
  using BackupDone = std::function<void(const Result<DatabaseBackup>&)>;
  void back_up(BackupDone done);
  /// Begins to replace the cluster's key (docs/protocol.md, "Keys").
  void rotate_keys(milliseconds limit, const std::string& author, RequestDone done);
  NpDiskClient& np_disk() { return *np_disk_; }
  ScriptRunner& scripts() { return runner_->scripts(); }
  Alerts& alerts() { return *alerts_; }
  MirrorClient* mirror(const std::string& key);
  MirrorCalls& mirror_calls() { return *mirror_calls_; }

 private:
  bool start_anew_ = false;
  Status read_identity();
  Status open_stores();
  Status start_engine();
  void feed(const node::Event& event);
  void carry_out(node::Action& action);
  void arm_timer();
  void on_view(const GroupView& view);
  void on_message(const GroupMember& sender, std::span<const uint8_t> bytes);
  void send(node::Message& message, Epoch lineage);
  void remember_macs(ServerId server, const std::vector<std::string>& macs);
  void run_step(const node::RunStep& step);
  void fence(const node::FenceServer& wanted);
  void entry_applied(const node::EntryApplied& applied);
  void tell_entry(const node::EntryApplied& applied);
  void write_note(const node::Note& note);
  void follow_alerts();
  void follow_serving();
  // daemon_end.cc
  void end_server(const node::EndServer& end);
  void end_mirrors(Instant limit);
  void end_engine();
  void end_guard(Instant limit);
  void run_power_command();
  void sync_mirrors();
  // daemon_guard.cc
  void start_guard();
  void tell_duties();
  // daemon_mirrors.cc
  std::unique_ptr<MirrorClient> make_mirror(const mirror_control::DaemonSettings& settings);
  void make_mirror_calls();
  void retire(const std::string& key);
  void push_mirror_states();
  void prepare_group(const node::EntryApplied& applied);
  void look_for_addresses_of(const std::set<ServerId>& members);
  void settle_mirrors();
  void mirror_note(const std::string& kind, const std::string& key, const std::string& text);
  void mirror_reported(const std::string& key, const mirror_control::Report& report);
  void add_details(node::BeatMessage& beat);
  void take_details(ServerId server, const node::BeatMessage& beat);
  bool take_links(ServerId server, const std::vector<LinkReport>& links);
  void remember_in_sync(const node::EntryApplied& applied);
  void remember_starts(const node::EntryApplied& applied);
  void answer_store_check(const node::StoreCheck& check);
  void take_store_answer(ServerId from, const node::StoreChecked& answer);
  void read_links();
  void changed();
  // daemon_membership.cc
  void read_present_configuration();
  EngineConfig engine_config() const;
  void follow_membership();
  void renew_ring();
  void leave_for_good();
  void let_in(const std::string& line, JoinDoor::Answer done);
  void admit(const JoinRequest& request, const JoinDoor::Answer& done);
  // daemon_keys.cc
  void find_ring_key();
  void report_keys();
  void change_key_files(std::function<Status(const ClusterKeyFiles&)> step, std::function<void()> then);
  void tell_mirrors_keys();
  void change_keys(const node::ChangeKeys& wanted);
  bool write_ring_key(const std::string& fingerprint);
  void set_ring_key(const node::SetRingKey& wanted);
  void send_ping(const node::SendPing& ping);
  void fetch_key(const node::FetchKey& wanted);
  void answer_key_ask(ServerId asker, const node::KeyAsk& ask);
  void take_key(ServerId giver, const node::KeyGiven& given);
  void stage_key(const std::string& key);
  void keys_applied(const node::EntryApplied& applied);
  // daemon_recovery.cc
  void stand_down(const node::StandDown& wanted);
  Status keep_mark(const char* name, const std::string& text);
  Status begin_anew();
  Status put_database_aside(const std::string& aside);
  void forget_that_it_was_given_up();
  std::vector<std::string> recovery_problems() const;
  // daemon_backup.cc
  Status restore_from_backup();
  void back_up_daily();

  EventLoop& loop_;
  DaemonPaths paths_;
  ServerId self_;
  std::string founding_text_;
  Configuration founding_;
  bool joined_ = false;     // came later than the founders
  Configuration present_;   // as the database said last
  ClusterKeys keys_;
  std::string ring_key_;  // the fingerprint of the one that corosync's file follows from
  std::string made_key_;  // by a person's word, until it is on disk and the rotation has ended
  std::string keys_problem_;
  EventLoop::Handle keys_retry_;
  std::optional<KeyAsker> key_asker_;
  std::optional<node::FetchKey> key_asked_;
  uint64_t start_ = 0;

  std::unique_ptr<VoterStore> voter_store_;
  std::unique_ptr<EventStore> events_;
  std::unique_ptr<Alerts> alerts_;
  JournalSocket journal_;
  bool prints_into_journal_ = prints_into_journal();
  std::optional<LeaseWriter> lease_page_;
  std::unique_ptr<CorosyncEngine> engine_;
  std::unique_ptr<GroupMessaging> messaging_;
  std::unique_ptr<LinkStatusReader> link_reader_;
  std::vector<LinkStatus> links_;
  std::unique_ptr<GuardClient> guard_;
  std::unique_ptr<MonitorChecks> monitor_checks_;
  std::unique_ptr<NpDiskClient> np_disk_;
  std::unique_ptr<IcmpEcho> echo_;
  std::string guard_problem_;
  LinkWatch link_watch_;
  std::map<ServerId, std::vector<LinkReport>> peer_links_;  // as last heard of each other server
  std::unique_ptr<HttpServer> http_;
  std::unique_ptr<ResourceRunner> runner_;
  std::unique_ptr<LogLimit> log_limit_;
  std::map<std::string, std::unique_ptr<MirrorClient>> mirrors_;
  std::vector<std::unique_ptr<MirrorClient>> retired_;
  std::map<std::string, std::pair<std::string, std::string>> mirror_owners_;  // key -> group, resource
  std::map<ServerId, std::vector<MacAddress>> macs_;
  std::map<ServerId, std::vector<std::string>> known_macs_;
  std::vector<std::string> own_macs_;
  std::unique_ptr<MirrorCalls> mirror_calls_;
  std::map<ServerId, std::map<std::string, MirrorDetails>> details_;  // by mirror_key()
  Instant details_sent_{};
  std::map<std::string, InSyncStanding> in_sync_until_;  // by mirror_key()
  UsualStarts usual_starts_;
  std::unique_ptr<node::NodeCore> node_;

  std::deque<node::Event> queue_;
  bool feeding_ = false;
  Instant timer_at_ = kNever;
  EventLoop::Handle timer_;
  EventLoop::Handle link_timer_;
  EventLoop::Handle engine_timer_;
  EventLoop::Handle daily_timer_;
  uint64_t daily_index_ = 0;  // what the newest daily backup of this start holds
  bool served_ = false;
  Instant not_served_since_ = EventLoop::now();  // while it does not
  uint64_t revision_ = 0;
  std::string cursor_;
  struct Waiter {
    std::string cursor;
    std::function<void()> callback;
    EventLoop::Handle deadline;
  };
  std::map<uint64_t, Waiter> waiters_;
  uint64_t next_waiter_ = 0;
  uint64_t next_request_ = 0;
  std::map<uint64_t, RequestDone> requests_;
  struct StoreQuestion {
    std::set<ServerId> missing;
    std::vector<std::string> problems;
    StoresDone done;
    EventLoop::Handle deadline;
  };
  std::map<uint64_t, StoreQuestion> store_questions_;
  LoopDoor loop_door_;
  WorkerThread store_worker_;
  std::vector<std::string> problems_;
  std::optional<node::EndServer> ending_;
  EventLoop::Handle end_timer_;
  ChildProcess power_command_;

  uint64_t followed_version_ = 0;
  VoterSet followed_voters_;
  std::map<ServerId, EngineNode> leaving_;  // not configured any more, but still voters, or just told that they are not
  EventLoop::Handle ring_timer_;
  EventLoop::Handle renew_timer_;
  bool renewing_ = false;  // corosync is reading a new configuration, or will soon
  std::unique_ptr<JoinDoor> join_door_;
};

}  // namespace baton
