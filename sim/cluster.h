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
#include "sim/server.h"
#include "sim/world.h"

namespace baton::sim {

/// What kind of trouble a run sees.
struct Weather {
  std::string name;
  Duration lasts = 20s;            // then everything is healed
  Duration quiet_at_most = 2s;     // between two faults
  double crash_chance = 0;         // after each action
  Duration persist_at_most = 4ms;  // mostly
  bool flutter = false;
  bool figure_eight = false;
  bool eager_rings = false;        // they form anew sooner than by time-outs
  double joins = 0.04;             // of the faults: servers join and leave
  uint32_t voters = 3;
};
/// `name` empty: any.
Weather make_weather(Random& random, const std::string& name);

struct Outcome {
  bool ok = true;
  std::string violation;  // "checker: what"
  uint64_t hash = 0;
  uint64_t events = 0;
  uint64_t committed = 0;
};

/// Runs a seed to its end.
Outcome run_seed(uint64_t seed, bool verbose, const std::string& weather = "");

/// The cluster's TOML with these servers; of the `voters` founders the last is the witness.
std::string make_text(const std::set<ServerId>& servers, uint32_t voters);

class Cluster : public Server::Observer {
 public:
  Cluster(World& world, const Weather& weather);

  void run();
  size_t committed() const { return checkers_->committed(); }

  // Server::Observer
  void applied(Server& server, const node::EntryApplied& applied) override {
    checkers_->applied(server, applied);
    follow_membership(applied);
  }
  void stepped(Server& server) override { checkers_->stepped(server); }
  void decided(Server& server, const node::Decided& decided) override { checkers_->decided(server, decided); }
  const Server* mirror_peer(const Server& server, const std::string& mirror) override;

 private:
  // sim/faults.cc
  void fault();
  void power_fault(Server& server);
  void pause_fault(Server& server);
  void network_fault();
  void flutter();
  void figure_eight();
  void isolate(ServerId server);
  void disk_fault(Server& server);
  void wish();
  void heal_everything();

  // sim/membership.cc
  void join_or_leave();
  void follow_membership(const node::EntryApplied& applied);
  void enlist_and_dismiss(const std::string& text);
  bool is_member(ServerId server) const { return configured_.contains(server); }

  void run_until(Instant end);
  std::string why_not_well() const;
  Server& some_server();

  World& world_;
  Random random_;
  Weather weather_;
  ClusterSettings settings_;
  std::unique_ptr<Bus> bus_;
  std::map<ServerId, std::unique_ptr<Server>> servers_;
  std::vector<ServerId> ids_;  // the founders
  std::vector<ServerId> all_;  // and those that may join
  std::set<ServerId> configured_;
  VoterSet voters_;         // by the newest committed change
  uint64_t followed_ = 0;  // entries
  std::unique_ptr<Checkers> checkers_;
  bool faults_over_ = false;
};

}  // namespace baton::sim
