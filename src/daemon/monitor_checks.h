// Makes the checks of the groups' monitors: programs, TCP ports, web servers, disks, logs. What an answer means is for the node to say. One
// thread: the loop's; each check ends by its monitor's timeout. docs/operations.md, "Monitors".
#pragma once

#include <functional>
#include <map>

#include "src/core/node/node_types.h"
#include "src/os/child_process.h"
#include "src/os/web_requests.h"

namespace baton {

class MonitorChecks {
 public:
  using Done = std::function<void(const node::CheckDone&)>;

  /// `check_program`: baton-check, for what may hang.
  MonitorChecks(EventLoop& loop, std::string check_program, Done done);
  ~MonitorChecks();
  MonitorChecks(const MonitorChecks&) = delete;
  MonitorChecks& operator=(const MonitorChecks&) = delete;

  /// `done` is called once, from the loop. Programs run in `control_group` (empty: batond's own), where the next batond finds
  /// what has outlived this one.
  void run(const node::RunCheck& check, const std::string& control_group);
  /// Nobody waits for it: its program is killed, and `done` is perhaps not called.
  void end(const node::EndCheck& check);

 private:
  void run_command(const node::RunCheck& check, const std::string& control_group);
  void run_web(const node::RunCheck& check);

  std::vector<std::string> words_of(const node::RunCheck& check) const;
  std::string key_of(const node::RunCheck& check) const;
  bool hangs(const std::string& key);
  void wait_for_hanging(const node::RunCheck& check);

  EventLoop& loop_;
  std::string check_program_;
  Done done_;
  WebRequests web_;
  struct Running {
    std::string key;
    ChildProcess child;
  };
  std::map<uint64_t, Running> programs_;         // by the check's token
  std::map<std::string, ChildProcess> killed_;   // by key_of(): perhaps not even that ends it
  std::map<uint64_t, EventLoop::Handle> waits_;  // for those; by the token of the check that waits
  LoopDoor door_;
};

/// What a web server's answer means for its monitor.
node::CheckDone judge_answer(const MonitorConfiguration& monitor, const WebAnswer& answer);
/// ... and the end of a monitor's program.
node::CheckDone judge_end(const MonitorConfiguration& monitor, const ChildEnd& end);

}  // namespace baton
