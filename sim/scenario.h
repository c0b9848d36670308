// A small cluster of the real node core under a script: an ideal network and disks, faults only where the script says.
// Its log is compared with the folder's expect.log (tests/scenarios). Deterministic, one thread.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "sim/scenario_network.h"
#include "sim/shared_disk.h"
#include "src/base/result.h"
#include "src/core/node/node.h"

namespace baton::sim {

class Scenario {
 public:
  /// `configuration_text`: the cluster's; `folder`: where files named by the script are.
  Scenario(const std::string& configuration_text, std::string folder);
  ~Scenario();

  /// Runs one line of the script ("power-off server1", "run 2000", see tests/scenarios/README.md).
  Status run_line(const std::string& line);
  /// Where each group is now, as lines of the log.
  void write_state();
  /// Everything that happened, a line each: "[  1.320] server2: start db.ip".
  const std::vector<std::string>& log() const { return log_; }
  /// What must never be, whatever the script expects; empty: it was not.
  const std::string& violation() const { return violation_; }

 private:
  struct Server;
  struct Held;
  using Packet = std::variant<node::Send, guard::Beat>;  // of the batonds' process group, or of the guards'
  using Words = std::vector<std::string>;
  enum class Level { kNone, kGroups, kAll };
  struct Step {
    node::RunStep wanted;
    std::string key;
    uint64_t boots = 0, starts = 0, kills = 0;
    std::string error;
  };
  /// How a group looks to its clients.
  struct Service {
    std::string by;  // the server that answers; empty: none
    Instant none_since{};
    Duration longest{};  // without an answer, since the mark
    std::set<std::string> holders;  // of its address
    std::set<std::string> owners;   // that complete its requests
    int moves = 0;       // since the mark
    std::vector<std::string> explained;
  };

  // ---- Servers (scenario.cc) ----
  void boot(Server& server);
  void power_off(Server& server);
  void end_in_order(Server& server);
  void take_power(Server& server);
  void start_batond(Server& server, Duration joins_after);
  void kill_batond(Server& server);
  void pause_machine(Server& server, bool paused);
  void feed(Server& server, const node::Event& event);
  void arm_tick(Server& server);
  void carry_out(Server& server, node::Action& action);
  void stand_down(Server& server, const node::StandDown& wanted);
  void persist(Server& server, const node::Persist& wanted);
  void disk_round(Server& server, const node::DiskRound& round);
  void send_ping(Server& server, const node::SendPing& ping);
  bool echo_answered(const Server& server, const std::string& address) const;
  void applied(const node::EntryApplied& entry);
  void begin_step(Server& server, const node::RunStep& step);
  std::string told_of(const node::RunStep& step) const;
  Status start_program(Server& server, const Words& words);
  Status end_program(Server& server, const Words& words);
  void run_check(Server& server, const node::RunCheck& check);
  void finish_step(Server& server, const Step& step);

  // ---- Fence agents (scenario_fencing.cc) ----
  void fence(Server& by, const node::FenceServer& wanted);
  Status fence_command(const Words& words);

  // ---- Keys (scenario_keys.cc) ----
  void report_keys(Server& server);
  void load_ring_key(Server& server);
  Status rotate_keys(Server& server, milliseconds limit);
  void fetch_key(Server& server, const node::FetchKey& wanted);
  void change_keys(Server& server, const node::ChangeKeys& wanted);
  void set_ring_key(Server& server, const node::SetRingKey& wanted);
  bool carry_out_keys(Server& server, const node::Action& action);

  // ---- Rings (scenario_rings.cc) ----
  void change_rings(Duration after);
  void reform();
  bool ring_runs(const Server& server) const;
  void give_view(Server& server);
  void give_views_of_ring(const Server& of);
  void send(Server& from, const Packet& message);
  void receive(Server& server, ServerId sender, const Packet& message);
  void flush();
  void network_changed(bool better);
  bool engine_works(const Server& server) const;
  void kill_corosync(Server& server);

  // ---- Guards (scenario_guard.cc) ----
  void start_guard(Server& server);
  void kill_guard(Server& server);
  void start_guard_again(Server& server);
  void give_guard_view(Server& server);
  void feed_guard(Server& server, const guard::Event& event);
  void arm_guard_tick(Server& server);
  void carry_out_guard(Server& server, const guard::Action& action);
  void drop_addresses(Server& server);

  // ---- Clocks (scenario_clocks.cc) ----
  Instant local_now(const Server& server) const;
  void wake(Server& server, bool unseen);
  void look_at_clocks_soon(Server& server);
  void look_at_clocks(Server& server);
  Status run_on_clocks(Server& server, const Words& words, bool& known);

  // ---- Mirrors (scenario_mirrors.cc) ----
  void mirror_tick(Server& server);
  void watch_mirror(Server& server, const std::string& key);
  void write_mirror(Server& server, const std::string& key);
  void look_for_stale_start(Server& server, const std::string& key);
  void report_mirrors(Server& server);

  // ---- What clients and people see (scenario_watch.cc) ----
  void observe();
  bool alive(const Server& server) const;
  bool answers(const Server& server, const GroupConfiguration& group) const;
  bool holds_data(const Server& server, const GroupConfiguration& group) const;
  bool holds_address(const Server& server, const GroupConfiguration& group) const;
  const Server* knowing() const;
  void mark();
  void explain(const std::string& group);
  Status expect(const Words& words);
  Status expect_since_mark(const Words& words);

  // ---- The language (scenario_script.cc) ----
  Status run_general(const Words& words);
  Status run_on_server(Server& server, const Words& words);
  Status run_on_machine(Server& server, const Words& words, bool& known);
  Status run_on_cables(Server& server, const Words& words, bool& known);
  Status run_on_programs(Server& server, const Words& words, bool& known);
  Status run_on_resources(Server& server, const Words& words, bool& known);
  Status run_network(const Words& words);
  Status run_request(const Words& words);
  Status wish(const Words& words);
  Status take_over(Server& server);
  void restore(Server& server);
  std::chrono::minutes time_of_day() const { return std::chrono::floor<std::chrono::minutes>(midnight_ + now_.time_since_epoch()) % 24h; }
  int64_t wall_ms() const { return to_ms(now_.time_since_epoch()); }
  Status maintenance(const Words& words);
  Status mirror_command(const Words& words);
  Status apply_file(const std::string& name);
  Status fail_resource(Server& server, const std::string& key);
  Status set_finding(const std::string& place, const std::string& word);
  void request(const Command& command);

  // ---- Time and log ----
  void run_for(Duration duration);
  bool run_next(Instant until);
  void at(Instant when, std::function<void()> what);
  void write(const std::string& who, const std::string& text, Level level = Level::kGroups);
  Server* find(const std::string& name);

  std::string text_;
  std::string folder_;
  Configuration configuration_;
  ScenarioNetwork network_;
  SharedDisk shared_disk_;
  Instant now_{std::chrono::seconds{1}};
  Duration midnight_{12h};  // since midnight, when the scenario began
  uint64_t order_ = 0;
  uint64_t rings_ = 0;
  uint64_t ring_turn_ = 0;
  bool reform_pending_ = false;
  uint64_t applied_index_ = 0;
  std::vector<database::Entry> backup_;  // the last one that was made
  std::map<std::pair<Instant, uint64_t>, std::function<void()>> queue_;
  std::map<ServerId, std::unique_ptr<Server>> servers_;
  std::map<std::string, group::Verdict> findings_;  // "server group.monitor" -> of its next checks
  std::map<std::string, std::string> failing_;  // "server group.resource" -> error of its next starts
  std::set<std::string> hanging_;               // its starts and stops never end
  std::set<std::string> unkillable_;            // nor do its kills
  std::map<std::string, Duration> slow_;        // its starts take that long
  std::map<ServerId, std::string> fence_faults_;  // what its agent does instead of working
  std::map<std::string, Service> services_;     // by group
  std::map<std::string, uint64_t> answered_;    // by mirror: the newest write that a client has an answer to
  Level level_ = Level::kGroups;
  std::vector<std::string> log_;
  std::string violation_;
  uint64_t keys_made_ = 0;
  bool refused_ = false;  // the last request
  bool two_owners_ = false;  // the script says that there may be
};

/// Runs a folder: its script, its log against expect.log. Empty: as expected; else what differs.
std::string run_scenario_folder(const std::string& folder, bool write_expected);

}  // namespace baton::sim
