// One simulated server: its clock, the real NodeCore, its disk, lease page and daemons' stand-ins. What
// survives a killed batond and what survives lost power are told apart. Deterministic, one thread.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "sim/bus.h"
#include "sim/voter_disk.h"
#include "sim/world.h"
#include "src/core/guard/clocks.h"
#include "src/core/node/node.h"

namespace baton::sim {

class PingTargets;
class SharedDisk;

/// What a run is about; the same for all servers.
struct ClusterSettings {
  std::vector<std::string> texts;  // the cluster's TOML as founded, then what an operator may apply
  size_t nps = 1;  // what may decide between two servers: each in as many of these texts
  Configuration founding;
  Configuration configuration;  // everything in any of the texts
  bool keys_change = false;     // else nobody is told of any
  bool extreme_clocks = false;  // as far apart as leases allow for
  double crash_chance = 0;  // after an action, per action
  Duration persist_at_most = 4ms;
  Duration freeze_limit = 10s;
  SharedDisk* shared_disk = nullptr;
  PingTargets* ping_targets = nullptr;
  size_t most_entries = 64;  // of the database in one message: with few of them, whoever was away needs many
};

/// A mirror daemon's stand-in: what batond and the other side see of it.
struct MirrorStandIn {
  Incarnation incarnation;
  bool up = false;  // exported: it serves while the lease page says so
  Permit permit;    // under which it is up
  Permit newest;    // that it knows of (P3)
  Instant peer_back_since = kNever;
  uint64_t told = 0;  // the newest record's version that is on its way from batond
  MirrorState known;  // the committed record as it knows it
  Incarnation candidate;           // of the peer whose readmission it has proposed (S3)
  uint64_t candidate_version = 0;  // of the record that the proposal named
  uint64_t written = 0;            // the newest write that it has (sim/mirror_truth.h)
  uint64_t flushed = 0;            // ... for sure
};

/// What a machine's clocks do while it stands still: go on; CLOCK_MONOTONIC stands (a suspended machine); all stand (a virtual machine
/// whose host has suspended it without a word).
enum class Standstill { kClocksGoOn, kSuspended, kUnseen };

/// What is wrong with a group on a server.
enum class Sickness { kNone, kStartFails, kStartHangs, kStopHangs, kEverythingHangs, kDoesNoWork, kNotChecked };
class MirrorTruth;
class RealMirror;

class Server {
 public:
  /// For checkers and for what reaches beyond one server.
  struct Observer {
    virtual ~Observer() = default;
    virtual void applied(Server& server, const node::EntryApplied& applied) = 0;
    virtual void stepped(Server& server) = 0;
    virtual void decided(Server& server, const node::Decided& decided) = 0;
    /// The server with the other copy, if the mirror connect reaches it.
    virtual Server* mirror_peer(const Server& server, const std::string& mirror) = 0;
    virtual MirrorTruth& truth() = 0;
    /// The mirror's real cores; none: it is of stand-ins.
    virtual RealMirror* real_mirror(const std::string& mirror) = 0;
    /// An agent is asked to cut a server's power; `by` hears what came of it.
    virtual void fence(Server& by, const node::FenceServer& wanted) = 0;
    /// The engines of its ring read their files.
    virtual void load_ring_keys(Server& by) = 0;
    virtual bool gives_key(ServerId from, const Server& to, const std::string& key) = 0;
    /// Does an echo of that server's get an answer from there, now?
    virtual bool echo_answered(const Server& server, const std::string& address) = 0;
    /// It has been shut down in order, and begins to end.
    virtual void ends(Server& server, const node::EndServer& end) = 0;
  };

  Server(World& world, Bus& bus, Bus& guard_bus, const ClusterSettings& settings, ServerId id, Observer& observer);

  // ---- In the cluster or not ----
  /// Given its identity and the cluster's present configuration, with an empty database, as one that joins.
  void enlist(const std::string& text);
  /// Off, and nothing left of it.
  void dismiss();
  bool enlisted() const { return enlisted_; }

  // ---- Recovery (docs/protocol.md) ----
  /// Off, whoever switches it on, until it is found again.
  void lose() { power_off(); lost_ = true; }
  void find() { lost_ = false; }
  bool given_up() const { return given_up_; }
  /// Nothing happens to its guard while it has power: with batond away, too, nobody would be left to say what R6 is about (R4).
  void spare_guard(bool spared) { guard_spared_ = spared; }
  /// A person clears the machine of what was given up.
  void clear();

  // ---- Power, program, pauses ----
  void power_on();
  void power_off();
  void start_batond();
  /// Baton has been shut down here: its mirror daemons have ended cleanly. Somebody starts it again.
  void end_in_order();
  void kill_batond();
  void pause_batond();
  void resume_batond();
  void pause_machine(Standstill kind = Standstill::kClocksGoOn);
  void resume_machine();
  void kill_guard();
  void pause_guard();
  void resume_guard();
  /// corosync ends under a batond that goes on; and is back.
  void lose_engine();
  void regain_engine();
  void jump_wall_clock(Duration by);
  /// NTP sets it by what the machine stood still unseen.
  void set_wall_clock_right();
  void set_sick(const std::string& group, Sickness sickness) { sick_[group] = sickness; }
  void cure() { sick_.clear(); }
  /// How often a monitor here has counted a service as failed.
  uint64_t found_failed() const { return found_failed_; }
  /// A resource that is up is not any more.
  void fail_resource(const std::string& group, const std::string& resource);
  /// No more crashes between actions.
  void stop_crashing() { crashing_ = false; }

  // ---- Keys (sim/server_keys.cc) ----
  void give_key(const std::string& key);
  void load_ring_key();
  void rotate_keys(Duration limit);
  bool has_key(const std::string& key) const { return key == keys_.current || key == keys_.next || key == made_key_; }
  struct Keys {
    std::string current, next, old;
    bool operator==(const Keys&) const = default;
  };
  const Keys& keys() const { return keys_; }
  const std::string& ring_file() const { return ring_file_; }

  // ---- Events ----
  void feed(node::Event event);
  void delivered(const BusEvent& event);
  void delivered_to_guard(const BusEvent& event);
  /// Answered, if at all, by a Decided of that number.
  uint64_t request(const Command& command);

  ServerId id() const { return id_; }
  bool powered() const { return powered_; }
  bool running() const { return node_ != nullptr; }
  bool paused() const { return batond_paused_ || machine_paused_; }
  bool machine_paused() const { return machine_paused_; }
  bool guard_runs() const { return guard_ != nullptr && !guard_paused_ && !machine_paused_; }
  const node::NodeCore& node() const { return *node_; }
  VoterDisk& disk() { return disk_; }
  const VoterDisk& disk() const { return disk_; }
  const std::map<std::string, MirrorStandIn>& mirrors() const { return mirrors_; }

  /// By this server's clock: the lease page is valid now.
  bool lease_page_valid() const { return powered_ && local_now() < page_; }
  /// F5: its clock stood still and goes on. Until its guard looks at the clocks, and if they show nothing until the end of what was left of
  /// the lease, it may still answer reads and have addresses.
  bool woken_unseen() const { return local_now() < woken_until_; }
  /// How often its guard has seen that it stood still for longer than a right lasts (W4).
  uint64_t long_gaps() const { return long_gaps_; }
  /// The committed state as this server knows or knew it last says that it owns the group.
  bool believes_to_own(const std::string& group) const;
  /// A resource, by "group.resource": its daemon or address would serve if the lease page allows it.
  bool is_up(const std::string& resource) const;
  bool anything_up(const std::string& group) const;
  Instant local_now() const;
  int64_t wall_ms() const;
  /// Since it was asked last: has anything changed that says who owns or serves what?
  bool take_ownership_changed() { return std::exchange(ownership_changed_, false); }
  uint64_t start() const { return start_; }
  /// Of its power.
  uint64_t boot() const { return boot_; }

  // ---- For the real copies of a mirror (sim/real_mirror.h) ----
  MirrorStandIn& mirror(const std::string& key) { return mirrors_.at(key); }
  Instant lease_page() const { return page_; }
  void ownership_changed() { ownership_changed_ = true; }
  void mirror_proposes(const SetInSync& change) { propose(change); }
  void mirror_reports(const std::string& key, const MirrorReport& report) { feed(node::MirrorReported{key, report}); }
  void mirror_aborted(const std::string& key, const std::string& reason);

 private:
  void crash();
  void stand_down(const node::StandDown& wanted);
  void pump();
  void handle(const node::Event& event);
  void carry_out(node::Action action);
  void run_step(const node::RunStep& step);
  void run_check(const node::RunCheck& check);
  void answer_check(const node::RunCheck& check);
  void watch_monitors(const node::Note& note);
  void finish_step(const node::RunStep& step, uint64_t start, uint64_t kills);
  bool given_up(const node::RunStep& step, uint64_t start) const;
  void step_real_mirror(const node::RunStep& step, RealMirror& real, uint64_t start);
  void step_ended(const node::RunStep& step, uint64_t start, bool ok);
  bool step_mirror(const node::RunStep& step, MirrorStandIn& mirror);
  void arm_tick();
  // sim/server_guard.cc
  void start_guard();
  guard::ClocksAhead clocks_ahead() const;
  void look_at_clocks_within(Duration most);
  void look_at_clocks();
  void gap_was_seen(Duration length);
  void watch_guard();
  void feed_guard(guard::Event event);
  void tell_guard(const guard::Tell& tell);
  void pump_guard();
  void handle_guard(const guard::Event& event);
  void carry_out(guard::Action action);
  void arm_guard_tick();
  void persist(const database::Persist& persist);
  void learn_state();
  bool hangs(const node::RunStep& step) const;
  void goes_on();
  void clock_goes_on();

  // sim/server_keys.cc
  void report_keys();
  void fetch_key(const node::FetchKey& wanted);
  void change_keys(const node::ChangeKeys& wanted);
  void set_ring_key(const node::SetRingKey& wanted);

  // sim/server_arbiter.cc
  void disk_round(const arbiter::Round& round);
  void write_round();
  void read_round();
  void round_fails();
  void interrupt_round();
  void send_ping(const arbiter::Ping& ping);

  // sim/server_mirrors.cc
  void tell_mirrors();
  void tell_later(const std::string& key, const MirrorState& told, Duration delay);
  void mirror_told(const std::string& key, const MirrorState& told);
  void fence(const std::string& key, Permit permit);
  void report_mirror(const std::string& key);
  void mirror_tick(uint64_t boot);
  MirrorStandIn* mirror_partner(const std::string& key, MirrorStandIn& mirror);
  void write_mirror(const std::string& key, MirrorStandIn& mirror);
  void watch_mirror(const std::string& key, MirrorStandIn& mirror);
  void propose(const SetInSync& change);
  void mirror_loses_power(MirrorStandIn& mirror);
  /// For events that end with the program.
  template <class What>
  auto while_batond(What what) const {
    return [this, start = start_, what = std::move(what)] {
      if (node_ != nullptr && start_ == start) what();
    };
  }

  World& world_;
  Bus& bus_;
  Bus& guard_bus_;
  const ClusterSettings& settings_;
  const ServerId id_;
  Observer& observer_;
  Random random_;
  const Duration clock_offset_;
  const int64_t clock_drift_ppm_;
  Duration clock_stood_{};  // in pauses of the machine
  Duration suspended_{};   // ... of which CLOCK_BOOTTIME has counted so much
  Duration wall_offset_{};
  Duration wall_behind_{}; // ... of which NTP does not know yet
  bool witness_ = false;
  bool enlisted_ = false;
  bool ended_in_order_ = false;  // before the next start
  std::string joined_text_;  // empty: a founder
  Keys keys_;
  uint64_t made_keys_ = 0;

  // Survives everything.
  bool lost_ = false;
  bool given_up_ = false;
  bool guard_spared_ = false;
  VoterDisk disk_;
  std::map<std::string, MirrorStandIn> mirrors_;  // of these the incarnation and the permit

  // Survives a killed batond.
  bool powered_ = false;
  bool machine_paused_ = false;
  Instant clock_stands_since_ = kNever;  // the world's
  Standstill standstill_ = Standstill::kClocksGoOn;
  Instant woken_until_{};  // by its own clock
  uint64_t long_gaps_ = 0;
  bool engine_lost_ = false;
  bool ownership_changed_ = true;
  std::map<std::string, Sickness> sick_;  // by group
  uint64_t found_failed_ = 0;
  std::map<std::string, uint32_t> bad_checks_;  // in a row, by group and monitor
  std::set<uint64_t> checks_;                   // under way
  uint64_t boot_ = 0;
  Instant page_{};
  std::string ring_file_;
  std::map<std::string, bool> resources_;  // "group.resource": up; mirrors are in mirrors_
  std::map<std::string, uint64_t> kills_;
  std::map<std::string, uint64_t> newest_step_;  // its token
  std::map<std::string, GroupState> known_groups_;
  uint64_t known_index_ = 0;
  uint64_t known_start_ = 0;  // of batond, when it was learnt

  // The guard; its page survives it.
  guard::Knowledge guard_page_;
  std::optional<guard::ClocksAhead> guard_page_clocks_;
  std::unique_ptr<guard::GuardCore> guard_;
  uint64_t guard_start_ = 0;
  bool guard_paused_ = false;
  std::deque<guard::Event> guard_inbox_;
  bool guard_pumping_ = false;
  Instant guard_tick_at_ = kNever;
  uint64_t guard_looks_ = 0;
  Instant guard_told_at_{};  // when the newest of batond's messages arrives, by the world's clock

  // batond.
  std::unique_ptr<node::NodeCore> node_;
  bool batond_paused_ = false;
  uint64_t start_ = 0;
  std::deque<node::Event> inbox_;
  bool pumping_ = false;
  Instant tick_at_ = kNever;
  uint64_t next_request_ = 0;
  std::string made_key_;
  std::optional<arbiter::Round> round_;  // on the disk that two servers have in common, until it has been read
  bool round_written_ = false;
  bool crashing_ = true;
};

}  // namespace baton::sim
