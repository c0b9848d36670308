// A whole simulated cluster: servers on a bus, under faults and an operator's wishes, watched by checkers. One seed is
// one run. Deterministic, one thread.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "sim/bus.h"
#include "sim/checkers.h"
#include "sim/operator.h"
#include "sim/ping_targets.h"
#include "sim/real_mirror.h"
#include "sim/server.h"
#include "sim/shape.h"
#include "sim/shared_disk.h"
#include "sim/world.h"

namespace baton::sim {

/// Of a cluster as founded.
constexpr const char* kFirstKey = "key-0";

/// What kind of trouble a run sees.
struct Weather {
  std::string name;
  Duration lasts = 20s;            // then everything is healed
  Duration quiet_at_most = 2s;     // between two faults
  double crash_chance = 0;         // after each action
  Duration persist_at_most = 4ms;  // mostly
  size_t most_entries = 64;        // of the database in one message
  bool flutter = false;
  bool figure_eight = false;
  bool eager_rings = false;        // they form anew sooner than by time-outs
  double joins = 0.04;             // of the faults: servers join and leave
  bool two = false;                // two servers without a witness
  std::vector<NpKind> nps;         // ... and what may decide between them (sim/shape.h)
  double maintenance = 0.04;       // ... operators do maintenance
  double keys = 0;                 // of the faults: operators replace the cluster's keys
  bool policies = false;           // groups with a failover policy
  bool sick_groups = false;        // one group at a time is ill, and nothing else
  double lost_majority = 0;        // of the faults: for good, and an operator recovers
  double lost_databases = 0;       // ... all of them, and an operator restores a backup
  int disasters = 1;               // of either kind, at most
  bool everything = false;         // what other weathers have one at a time
  double two_at_once = 0.15;       // of all faults
  bool extreme_clocks = false;
  bool real_mirrors = false;       // with the real mirror cores and their data
  Shape shape;
};
std::vector<std::string> weather_names();
/// `name`: one of these; empty: any.
Weather make_weather(Random& random, const std::string& name);

struct Outcome {
  bool ok = true;
  std::string violation;  // "checker: what"
  uint64_t hash = 0;
  uint64_t events = 0;
  uint64_t committed = 0;
  Duration simulated{};
  std::string weather;
  std::map<std::string, uint64_t> counts;  // faults and commands by kind, and what the checkers saw
};

/// Runs a seed to its end.
Outcome run_seed(uint64_t seed, bool verbose, const std::string& weather = "");

class Cluster : public Server::Observer, public RealMirror::Surroundings {
 public:
  Cluster(World& world, const Weather& weather);

  void run();
  const Checkers& checkers() const { return *checkers_; }
  /// For the report.
  std::map<std::string, uint64_t> counts() const;

  // Server::Observer
  void applied(Server& server, const node::EntryApplied& applied) override {
    checkers_->applied(server, applied);
    follow_membership(applied);
  }
  void stepped(Server& server) override { checkers_->stepped(server); }
  MirrorTruth& truth() override { return checkers_->truth(); }
  RealMirror* real_mirror(const std::string& mirror) override;
  // RealMirror::Surroundings
  bool linked(ServerId one, ServerId other) const override { return bus_->linked(one, other); }
  const ClusterState& committed_state() const override { return checkers_->state(); }
  void decided(Server& server, const node::Decided& decided) override { checkers_->decided(server, decided); }
  void fence(Server& by, const node::FenceServer& wanted) override;
  void ends(Server& server, const node::EndServer& end) override {
    world_.count("servers ended in order");
    checkers_->maintenance().ends(server, end);
  }
  bool echo_answered(const Server& server, const std::string& address) override;
  void load_ring_keys(Server& by) override;
  bool gives_key(ServerId from, const Server& to, const std::string& key) override;
  Server* mirror_peer(const Server& server, const std::string& mirror) override;

 private:
  // sim/faults.cc
  void fault();
  void power_fault(Server& server);
  void pause_fault(Server& server);
  void suspend(Server& server);
  void guard_fault(Server& server);
  void guards_die_with(Server& server);
  void network_fault();
  void flutter();
  void figure_eight();
  void isolate(ServerId server);
  void disk_fault(Server& server);
  void corosync_fault(Server& server);
  void clock_fault(Server& server);
  void group_fault(Server& server);
  void failing_part();
  void lose_database(Server& server, bool rotten, Duration lasts);
  void heal_everything();
  void shared_disk_fault(Server& server);
  void prepare_shared_disk();
  void change_np();
  void lose_one_of_two();
  bool two_decide() const;
  NpKind np() const;
  void ping_fault(Server& server);
  void wait_until_free();
  void watch_parting(ServerId server, const BusEvent& event);

  // sim/membership.cc
  void join_or_leave();
  ServerConfiguration some_machine(ServerId id) const;
  void follow_membership(const node::EntryApplied& applied);
  void enlist_and_dismiss(const std::string& text);
  void go_by_backup(const std::string& text, const std::string& key);
  bool is_member(ServerId server) const { return configured_.contains(server); }

  // sim/recovery.cc
  void lose_majority();
  Server* some_survivor(std::set<ServerId>& lost);
  Server& recover_somewhere(const std::set<ServerId>& lost, Server& survivor);
  Epoch newest_lineage() const;
  Instant some_batonds_away(const std::set<ServerId>& lost);
  void wait_for_own_key(Server& survivor);
  void bring_back(Server& survivor, const std::set<ServerId>& lost);

  // sim/lost_databases.cc
  void lose_databases();
  std::vector<database::Entry> some_backup();
  Server& restore_somewhere(const std::vector<database::Entry>& backup, bool old_ones_come);
  void come_after_restore(Server& server, const Server& first, bool old_ones_come);
  void name_copies(uint64_t permits_then);
  // sim/keys.cc
  void rotate_keys();
  std::string present_key() const;

  // sim/sick_groups.cc
  void sick_round();
  uint64_t found_failed() const;
  std::string some_group(const std::string& other_than);

  void make_real_mirrors();
  void run_until(Instant end);
  void watch_waits();
  void recover(const char* after_what);
  void look_after_lone_ones();
  Server& some_server();

  World& world_;
  Random random_;
  Weather weather_;
  SharedDisk shared_disk_;
  PingTargets ping_targets_;
  ClusterSettings settings_;
  std::unique_ptr<Bus> bus_;
  std::unique_ptr<Bus> guard_bus_;
  std::map<ServerId, std::unique_ptr<Server>> servers_;
  std::vector<ServerId> ids_;  // the founders
  std::vector<ServerId> all_;  // and those that may join
  std::set<ServerId> configured_;
  VoterSet voters_;         // by the newest committed change
  uint64_t followed_ = 0;   // entries
  Instant departed_at_{};   // of the last machine that left, also if it is yet to come
  std::unique_ptr<Checkers> checkers_;
  std::map<std::string, std::unique_ptr<RealMirror>> real_mirrors_;
  std::unique_ptr<Operator> operator_;
  bool faults_over_ = false;
  int recoveries_ = 0;
  int restores_ = 0;
};

}  // namespace baton::sim
