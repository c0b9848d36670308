// One failover group as far as it runs on this server: which resources are up, which step is next, what failed.
// Pure; steps are carried out by batond. Order: a resource starts when all that it comes after are up, and stops when
// all that come after it are down; independent resources go at the same time (invariants I5, I6).
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "src/base/ids.h"
#include "src/base/time.h"
#include "src/core/group/monitor_run.h"
#include "src/core/group/program_run.h"
#include "src/model/command.h"
#include "src/model/configuration.h"

namespace baton::group {

enum class StepAction {
  kAdopt,    // look whether it is up (after a restart of batond), change nothing: ok means up
  kStart,
  kStop,     // in order
  kKill,     // at once, whatever it takes: cgroup.kill, lazy detach, export aborted
  kSuspend,  // address only: drop it while the lease has lapsed
  kResume,   // address only: take it again
  kRunOnce,         // script only: it is run to its end without the group's storage; what it leaves running is ended
  kRestartProgram,  // script only: a supervised program of it is started again
};
const char* to_string(StepAction action);

/// kUnknown: not looked at yet, or not found up after a restart of batond, and perhaps about to come up.
enum class ResourceState { kUnknown, kDown, kAdopting, kStarting, kUp, kStopping, kFailed };
const char* to_string(ResourceState state);

struct StepRequest {
  uint64_t token = 0;
  std::string resource;
  StepAction action = StepAction::kStart;
  Instant deadline;
  std::string program;  // kRestartProgram: its id
};

/// A step that ended, for the event log.
struct StepEnded {
  StepTime step;
  bool ok = true;
  std::string detail;
};

enum class Goal { kObserve, kRun, kStop, kKill };

/// One resource as status shows it.
struct ResourceView {
  ResourceState state = ResourceState::kUnknown;
  std::string detail;  // up: "/dev/loop3"; failed: the error
};

class GroupRun {
 public:
  /// `next_token` is shared by all groups of a server and rises.
  GroupRun(const GroupConfiguration& configuration, uint64_t* next_token);

  /// Asks for every resource whether it is up; to be called once, right after construction when batond restarted.
  void adopt(Instant now);
  /// Takes for granted that nothing is up (fresh boot or fresh assignment).
  void assume_down();
  /// Towards all up, towards all down in order, or towards all down at once. Steps under way are finished first,
  /// except that kill does not wait for them.
  void run(Instant now);
  void stop(Instant now);
  void kill(Instant now, const std::string& reason);
  /// The lease lapsed or is back: addresses are dropped meanwhile.
  void set_suspended(Instant now, bool suspended);

  /// Whether a resource that keeps failing makes the run *stuck* (the rest stays up, and its owner decides) instead of
  /// giving up. Storage that fails always gives up: nothing can go on without it.
  void set_asks(bool asks) { asks_ = asks; }
  /// Not supervised (maintenance): what fails stays down. When it is again, what is stuck is tried once more.
  void set_supervised(Instant now, bool supervised);
  /// Held here though stuck: the failing resource is started again and again, at growing intervals.
  void set_held(Instant now, bool held);
  /// What keeps failing, and the kind of that resource; empty: nothing. Of several, the latest about which something is to be done.
  std::string stuck() const;
  std::string stuck_cause() const;
  /// What made the run give up, or what is stuck, and what is to be done about it.
  std::string what_failed() const { return failure_.empty() ? stuck() : failure_; }
  FinalAction final_action() const;

  /// Live: those that are new or changed begin anew, the others go on.
  void set_monitors(const std::vector<MonitorConfiguration>& monitors);
  /// To be called after each step of the node: begins the checks that are due.
  void watch_monitors(Instant now);
  /// False: the check is none of this run's (any more).
  bool check_done(Instant now, uint64_t token, Verdict verdict, const std::string& detail, const std::string& position = "");
  const std::vector<MonitorRun>& monitors() const { return monitors_; }
  std::vector<CheckRequest> take_checks();
  /// Checks to be ended: nobody waits for their answers, and they may hold up what is stopped next.
  std::vector<uint64_t> take_dropped_checks();
  std::vector<MonitorNews> take_news();

  /// A script has had a program supervised, or has ended that. False: the script neither starts nor is up.
  bool program_started(const std::string& resource, const ProgramPolicy& policy);
  void program_removed(const std::string& resource, const std::string& id);
  /// It ended, though nobody asked for that.
  void program_ended(Instant now, const std::string& resource, const std::string& id, const std::string& how);
  /// By resource.
  const std::map<std::string, std::vector<ProgramRun>>& programs() const { return programs_; }

  void step_done(Instant now, uint64_t token, bool ok, const std::string& detail);
  /// `lives`: something of it still runs, and is stopped in order.
  void resource_failed(Instant now, const std::string& resource, const std::string& reason, bool lives = false);
  void tick(Instant now);
  Instant next_tick() const;

  Goal goal() const { return goal_; }
  /// Every resource up, or every resource down.
  bool all_up() const;
  bool all_down() const;
  /// Nothing is or becomes up by what this run has seen or done itself.
  bool nothing_up() const;
  bool adopting() const;
  bool has(uint64_t token) const { return tokens_.contains(token); }
  /// Why the goal was given up by the run itself (it then stops); empty: as asked.
  const std::string& failure() const { return failure_; }
  /// It was ended from outside: `failure()` is nothing that failed here.
  bool interrupted() const { return interrupted_; }
  const std::map<std::string, ResourceView>& resources() const { return views_; }

  std::vector<StepRequest> take_steps();
  std::vector<StepEnded> take_ended();
  /// All steps since run() or stop() was called, for the transition's record.
  std::vector<StepTime> steps_since_goal() const { return history_; }
  const GroupConfiguration& configuration() const { return configuration_; }

 private:
  struct Running {
    std::string resource;
    StepAction action;
    Instant started;
    Instant deadline;
    std::string program;
  };

  void begin(Instant now, const ResourceConfiguration& resource, StepAction action, const std::string& program = "");
  void advance(Instant now);
  void advance_resource(Instant now, const ResourceConfiguration& resource);
  void bring_down(Instant now, const ResourceConfiguration& resource);
  void give_up(Instant now, const std::string& failure, bool at_once);
  void beyond_restarts(Instant now, const ResourceConfiguration& resource, const std::string& failure, FinalAction action);
  void fail_for_good(Instant now, const ResourceConfiguration& resource, const std::string& failure, FinalAction action, bool at_once);
  void tell_scripts_of_disk(Instant now);
  ProgramRun* find_program(const std::string& resource, const std::string& id);
  void begin_restart(Instant now, const std::string& resource, const std::string& id);
  void see_to_waiting_programs(Instant now);
  void end_programs(const std::string& resource);
  void program_step_ended(Instant now, const Running& running, bool ok, const std::string& detail);
  void unstick(const std::string& resource);
  bool stuck_down(Instant now, const std::string& resource) const;
  void step_ended(Instant now, const Running& running, bool ok, const std::string& detail);
  void start_failed(Instant now, const ResourceConfiguration& resource, const std::string& detail);
  bool may_restart(Instant now, const ResourceConfiguration& resource);
  bool is_watched(const std::string& resource) const;
  Instant next_check() const;
  void take_dropped(MonitorRun& monitor);
  bool dependencies_up(const ResourceConfiguration& resource) const;
  bool dependents_down(const ResourceConfiguration& resource) const;
  bool in_flight(const std::string& resource) const;
  void forget_steps_of(const std::string& resource);
  ResourceState state(const std::string& resource) const { return views_.at(resource).state; }
  void set_state(const std::string& resource, ResourceState state, const std::string& detail = "");

  GroupConfiguration configuration_;
  uint64_t* next_token_;
  Goal goal_ = Goal::kObserve;
  bool suspended_ = false;
  std::string failure_;
  bool interrupted_ = false;
  std::map<std::string, ResourceView> views_;
  std::set<std::string> kill_needed_;              // failed or half-started: kill before anything else
  std::map<std::string, Instant> retry_at_;        // a kill that failed is tried again
  std::map<std::string, std::vector<Instant>> restarts_;
  bool asks_ = false;
  bool supervised_ = true;
  bool held_ = false;
  FinalAction failure_action_ = FinalAction::kFailover;  // about `failure_`
  std::map<std::string, std::vector<ProgramRun>> programs_;
  std::vector<MonitorNews> program_news_;
  struct StuckResource {
    bool stuck = false;
    std::string failure;
    ResourceKind kind = ResourceKind::kService;
    FinalAction action = FinalAction::kFailover;
    Instant since{};
    Duration pause{};  // before the next try, doubled each time
    Instant retry_at{};
  };
  const StuckResource* deciding() const;
  std::map<std::string, StuckResource> stuck_resources_;
  std::vector<MonitorRun> monitors_;
  std::vector<CheckRequest> checks_;
  std::vector<uint64_t> dropped_checks_;
  std::map<uint64_t, Running> tokens_;
  std::vector<StepRequest> steps_;
  std::vector<StepEnded> ended_;
  std::vector<StepTime> history_;
};

}  // namespace baton::group
