// One simulated server: its clock, the real NodeCore, its disk, lease page and daemons' stand-ins. What
// survives a killed batond and what survives lost power are told apart. Deterministic, one thread.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <string>

#include "sim/bus.h"
#include "sim/voter_disk.h"
#include "sim/world.h"
#include "src/core/node/node.h"

namespace baton::sim {

/// What a run is about; the same for all servers.
struct ClusterSettings {
  std::string text;  // the cluster's TOML
  Configuration configuration;
  double crash_chance = 0;  // after an action, per action
  Duration persist_at_most = 4ms;
  Duration freeze_limit = 10s;
};

/// A mirror daemon's stand-in: what batond and the other side see of it.
struct MirrorStandIn {
  Incarnation incarnation;
  bool up = false;  // exported: it serves while the lease page says so
  Permit permit;    // under which it is up
  Permit newest;    // that it knows of (P3)
  Instant peer_back_since = kNever;
};

class Server {
 public:
  /// For checkers and for what reaches beyond one server.
  struct Observer {
    virtual ~Observer() = default;
    virtual void applied(Server& server, const node::EntryApplied& applied) = 0;
    virtual void stepped(Server& server) = 0;
    virtual void decided(Server& server, const node::Decided& decided) = 0;
    /// The server with the other copy, if the mirror connect reaches it.
    virtual const Server* mirror_peer(const Server& server, const std::string& mirror) = 0;
  };

  Server(World& world, Bus& bus, const ClusterSettings& settings, ServerId id, Observer& observer);

  // ---- In the cluster or not ----
  /// Given its identity and the cluster's present configuration, with an empty database, as one that joins.
  void enlist(const std::string& text);
  /// Off, and nothing left of it.
  void dismiss();
  bool enlisted() const { return enlisted_; }

  // ---- Power, program, pauses ----
  void power_on();
  void power_off();
  void start_batond();
  void kill_batond();
  void pause_batond();
  void resume_batond();
  void pause_machine();
  void resume_machine();
  /// No more crashes between actions.
  void stop_crashing() { crashing_ = false; }

  // ---- Events ----
  void feed(const node::Event& event);
  void request(const Command& command);

  ServerId id() const { return id_; }
  bool powered() const { return powered_; }
  bool running() const { return node_ != nullptr; }
  bool paused() const { return batond_paused_ || machine_paused_; }
  bool machine_paused() const { return machine_paused_; }
  const node::NodeCore& node() const { return *node_; }
  VoterDisk& disk() { return disk_; }
  const VoterDisk& disk() const { return disk_; }
  const std::map<std::string, MirrorStandIn>& mirrors() const { return mirrors_; }

  /// By this server's clock: the lease page is valid now.
  bool lease_page_valid() const { return powered_ && local_now() < page_; }
  /// The committed state as this server knows or knew it last says that it owns the group.
  bool believes_to_own(const std::string& group) const;
  /// A resource, by "group.resource": its daemon or address would serve if the lease page allows it.
  bool is_up(const std::string& resource) const;
  bool anything_up(const std::string& group) const;
  Instant local_now() const;

 private:
  void crash();
  void pump();
  void handle(const node::Event& event);
  void carry_out(const node::Action& action);
  void run_step(const node::RunStep& step);
  void finish_step(const node::RunStep& step, uint64_t start, uint64_t kills);
  bool given_up(const node::RunStep& step, uint64_t start) const;
  bool step_mirror(const node::RunStep& step, MirrorStandIn& mirror);
  void arm_tick();
  void persist(const database::Persist& persist);
  void learn_state();
  void tell_mirrors();
  void report_mirror(const std::string& key);
  void mirror_tick(uint64_t boot);
  void watch_mirror(const std::string& key, MirrorStandIn& mirror);
  /// For events that end with the program.
  std::function<void()> while_batond(std::function<void()> what);

  World& world_;
  Bus& bus_;
  const ClusterSettings& settings_;
  const ServerId id_;
  Observer& observer_;
  Random random_;
  const Duration clock_offset_;
  const int64_t clock_drift_ppm_;
  bool witness_ = false;
  bool enlisted_ = false;
  std::string joined_text_;  // empty: a founder

  // Survives everything.
  VoterDisk disk_;
  std::map<std::string, MirrorStandIn> mirrors_;  // of these the incarnation and the permit

  // Survives a killed batond.
  bool powered_ = false;
  bool machine_paused_ = false;
  uint64_t boot_ = 0;
  Instant page_{};
  std::map<std::string, bool> resources_;  // "group.resource": up; mirrors are in mirrors_
  std::map<std::string, uint64_t> kills_;
  std::map<std::string, uint64_t> newest_step_;  // its token
  std::map<std::string, GroupState> known_groups_;
  uint64_t known_index_ = 0;

  // batond.
  std::unique_ptr<node::NodeCore> node_;
  bool batond_paused_ = false;
  uint64_t start_ = 0;
  std::deque<node::Event> inbox_;
  bool pumping_ = false;
  Instant tick_at_ = kNever;
  uint64_t next_request_ = 0;
  bool crashing_ = true;
};

}  // namespace baton::sim
