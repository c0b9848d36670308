// A small cluster of the real node core under a script: an ideal network and disks, faults only where the script says.
// Its log is compared with the folder's expect.log (tests/scenarios). Deterministic, one thread.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "src/base/result.h"
#include "src/core/node/node.h"

namespace baton::sim {

class Scenario {
 public:
  /// `configuration_text`: the folder's cluster.toml.
  explicit Scenario(const std::string& configuration_text);
  ~Scenario();

  /// Runs one line of the script ("power-off server1", "run 2s", see tests/scenarios/README.md).
  Status run_line(const std::string& line);
  /// Everything that happened, a line each: "[  1.320] server2: transition db: ...".
  const std::vector<std::string>& log() const { return log_; }

 private:
  struct Server;  // sim/scenario_server.h
  struct Message {
    ServerId from;
    node::Message message;
  };

  void boot(Server& server);
  void power_off(Server& server, bool silent);
  void run_for(Duration duration);
  bool run_next(Instant until);
  void feed(Server& server, const node::Event& event);
  // sim/scenario_guard.cc
  void start_guard(Server& server);
  void feed_guard(Server& server, const guard::Event& event);
  void carry_out_guard(Server& server, const guard::Action& action);
  void carry_out(Server& server, node::Action& action);
  void step_done_later(Server& server, const node::RunStep& step);
  void change_views(Duration after);
  void deliver(Server& from, const node::Message& message);
  void mirror_tick(Server& server);
  void report_mirrors(Server& server);
  std::set<ServerId> component(ServerId of) const;
  void at(Instant when, std::function<void()> what);
  void write(const std::string& server, const std::string& text);
  Server* find(const std::string& name);
  Status wish(const std::vector<std::string>& words);
  Status fail_resource(const std::vector<std::string>& words);

  std::string text_;
  Configuration configuration_;
  Instant now_{1s};
  uint64_t order_ = 0;
  std::map<std::pair<Instant, uint64_t>, std::function<void()>> queue_;
  std::map<ServerId, std::unique_ptr<Server>> servers_;
  std::set<ServerId> cut_;
  std::map<std::string, std::string> failing_;  // "server group.resource" -> error of its next starts
  std::vector<std::string> log_;
};

/// Runs a folder: its script, its log against expect.log. Empty: as expected; else what differs.
std::string run_scenario_folder(const std::string& folder, bool write_expected);

}  // namespace baton::sim
