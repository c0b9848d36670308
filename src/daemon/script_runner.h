// Carries out the steps on script resources: runs the start and stop scripts in the resource's control group, and keeps the programs that
// they have had supervised (docs/operations.md, "Scripts"). What is up is on record in the run directory, for the next batond.
// One thread: the loop's; nothing here waits.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "src/base/result.h"
#include "src/core/node/node_types.h"
#include "src/model/configuration.h"
#include "src/os/child_process.h"
#include "src/os/event_loop.h"
#include "src/os/supervised_service.h"

namespace baton {

struct RunnerPaths {
  std::string run_directory = "/run/baton";
  std::string log_directory = "/var/log/baton";
  std::string shim_program;
};

/// NAME=value for what is run for a resource: which group, why it is started, where, and whether its disks are there; under the names
/// of old (ARMS_EVENT, ...), too. Those of the configuration come last, and win.
std::vector<std::string> event_environment(const node::RunStep& step, const std::string& server_name,
                                           const std::map<std::string, std::string>& configured);

/// A program that a script wants supervised.
struct ProgramRequest {
  std::string group;     // empty: the one script that runs here, if it is only one
  std::string resource;
  group::ProgramPolicy policy;
  std::vector<std::string> argv;
  std::string user;      // empty: the script's
  std::string directory;  // empty: the script's
};

class ScriptRunner {
 public:
  using Done = std::function<void(bool ok, const std::string& detail)>;
  using Answer = std::function<void(const Result<nlohmann::json>&)>;
  using Feed = std::function<void(const node::Event&)>;

  ScriptRunner(EventLoop& loop, RunnerPaths paths, Feed feed);
  ~ScriptRunner();

  struct Step {
    node::RunStep step;
    ResourceConfiguration resource;
    std::string server_name;
    Duration left{};
  };
  /// Begins a step; `done` is called once from the loop, unless a later one on the same resource has overtaken it.
  void run(const Step& step, Done done);

  /// Starts a program and keeps it under `policy.id`. Errors: kNotFound where no such script starts or is up here, kConflict where the id
  /// is in use, how it ended where it cannot be started.
  void supervise(const ProgramRequest& request, Answer answer);
  /// Ends a program in order (its script's stop_timeout, then SIGKILL) and forgets it. `group` may be empty. kNotFound: there is none.
  void end_program(const std::string& group, const std::string& id, Answer answer);

 private:
  struct Program {
    group::ProgramPolicy policy;
    ServiceSpec spec;
    std::unique_ptr<SupervisedService> service;
  };
  struct Script {
    std::string group;
    std::string name;
    std::string control_group;
    ResourceConfiguration resource;
    std::vector<std::string> environment;
    bool starting = false;
    bool up = false;
    uint64_t step = 0;  // the present one: older ends do not count
    ChildProcess child;
    std::map<std::string, Program> programs;
    std::vector<Done> cleared;  // who waits for the clearing that is under way; empty: none is
    std::string key() const { return group + "." + name; }
    bool runs() const { return starting || up; }
  };
  using ScriptPointer = std::shared_ptr<Script>;

  ScriptPointer script_of(const Step& step);
  std::string record_path(const Script& script) const;
  void save(const Script& script) const;
  void load(Script& script);
  void adopt(const ScriptPointer& script, Done done);
  struct Adoption {
    std::vector<std::string> ids;  // of its programs
    size_t place = 0;
    Done done;
  };
  void adopt_next(const ScriptPointer& script, const std::shared_ptr<Adoption>& adoption);
  void adopted(const ScriptPointer& script, const std::string& id, const Result<SupervisedService::State>& state);
  void start(const ScriptPointer& script, const Step& step, Done done);
  void stop(const ScriptPointer& script, const Step& step, Done done);
  void restart_program(const ScriptPointer& script, const Step& step, Done done);
  void run_command(const ScriptPointer& script, const Step& step, const std::vector<std::string>& argv, const char* what, Done done);
  void stop_programs(const ScriptPointer& script, Done done);
  void clear(const ScriptPointer& script, Done done);
  void clear_control_group_of(const ScriptPointer& script, const std::string& problem);
  void launch_program(const ScriptPointer& script, const std::string& id, Done done);
  void start_program(const ScriptPointer& script, const std::string& id, Done done);
  std::unique_ptr<SupervisedService> make_service(const Script& script, const std::string& id);
  Result<ScriptPointer> find_script(const std::string& group, const std::string& resource) const;

  EventLoop& loop_;
  RunnerPaths paths_;
  Feed feed_;
  std::map<std::string, ScriptPointer> scripts_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace baton
