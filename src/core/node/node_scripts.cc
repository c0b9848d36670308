// What scripts are told (why they are started, and that their server has returned), what becomes of the programs that they have had
// supervised, and what is done about a resource that keeps failing. Pure. docs/operations.md, "Scripts" and "When a resource fails".
#include <algorithm>
#include <utility>

#include "src/core/node/maintenance_wish.h"
#include "src/core/node/node_state.h"

namespace baton::node {

const char* to_string(StartEvent event) {
  switch (event) {
    case StartEvent::kStart: return "START";
    case StartEvent::kFailover: return "FAILOVER";
    case StartEvent::kRecover: return "RECOVER";
  }
  return "?";
}

bool NodeCore::Implementation::is_home(const GroupConfiguration& group) const {
  return !group.servers.empty() && group.servers.front() == settings.self;
}

/// A failover is what brings a group to another server than it was on without anybody having asked for that: its server was lost or shut
/// down, or something of it failed there.
void NodeCore::Implementation::note_start_event(const AssignGroup& assign, bool taken) {
  const ServerId before = previous_owner[assign.group];
  const ServerState& there = database.state().server(before);
  const bool shut_down = there.shutdown.has_value() || there.standing == ServerStanding::kStopped;
  const bool elsewhere = before != ServerId{} && before != assign.server;
  const bool failover = elsewhere && (taken || shut_down || failed_groups.contains(assign.group));
  if (assign.server == settings.self) end_considered.erase(assign.group);
  start_events[assign.group] = failover ? StartEvent::kFailover : StartEvent::kStart;
}

void NodeCore::Implementation::note_phase(const SetGroupPhase& phase) {
  if (!phase.failure.empty()) failed_groups.insert(phase.group);
  if (phase.phase != GroupPhase::kStarted) return;
  failed_groups.erase(phase.group);
  if (phase.server == settings.self && end_wish && end_wish->group == phase.group) end_wish.reset();
}

/// This server was down and has returned to the cluster: scripts that ask for it are told, where their group does not run here. Not
/// when the log is read again after a restart of batond.
void NodeCore::Implementation::watch_return() {
  const ServerStanding before = std::exchange(own_standing, database.state().server(settings.self).standing);
  if (before == ServerStanding::kNormal || own_standing != ServerStanding::kNormal || !database.standing().serving) return;
  returns.clear();
  untold_returns.clear();
  for (const auto& [name, run] : runs) untold_returns.insert(name);
}

/// ... once nothing of their group is left here from before.
void NodeCore::Implementation::tell_of_return(const GroupState& group, const group::GroupRun& run) {
  const std::string& name = run.configuration().name;
  if (!untold_returns.contains(name)) return;
  if (group.owner != settings.self && !run.all_down()) return;
  untold_returns.erase(name);
  if (group.owner == settings.self) return;
  for (const auto& resource : run.configuration().resources) {
    if (resource.kind != ResourceKind::kScript || !resource.script.on_return) continue;
    RunStep step;
    step.token = next_token++;
    step.group = name;
    step.resource = resource.name;
    step.action = group::StepAction::kRunOnce;
    step.deadline = now + resource.start_timeout;
    step.event = StartEvent::kRecover;
    step.home = is_home(run.configuration());
    returns[step.token] = step;
    out().push_back(step);
  }
}

bool NodeCore::Implementation::return_done(const StepDone& event) {
  const auto found = returns.extract(event.token);
  if (found.empty()) return false;
  const RunStep& step = found.mapped();
  note({.kind = event.ok ? "step" : "problem", .group = step.group,
        .text = event.ok ? fmt::format("script {} was told that this server has returned", step.resource)
                         : fmt::format("script {}, told that this server has returned: {}", step.resource, event.detail),
        .resource = step.resource});
  return true;
}

void NodeCore::Implementation::handle(const ProgramStarted& event) {
  const auto run = runs.find(event.group);
  if (run == runs.end() || !run->second->program_started(event.resource, event.policy)) return;
  note({.kind = "program", .group = event.group, .text = fmt::format("program {} is started by script {}", event.policy.id, event.resource),
        .resource = event.resource});
}

void NodeCore::Implementation::handle(const ProgramRemoved& event) {
  const auto run = runs.find(event.group);
  if (run != runs.end()) run->second->program_removed(event.resource, event.id);
}

void NodeCore::Implementation::handle(const ProgramEnded& event) {
  const auto run = runs.find(event.group);
  if (run != runs.end()) run->second->program_ended(now, event.resource, event.id, event.how);
}

/// What fails is configured to stop its group, until a person starts it again. True: that is to come first.
bool NodeCore::Implementation::stops_for_good(const GroupState& group, const std::string& name, const group::GroupRun& run) {
  if (run.final_action() != FinalAction::kStop || run.interrupted() || !group.wanted) return false;
  WishGroup wish;
  wish.group = name;
  wish.expected_version = group.version;
  wish.author = kOwnAuthor;
  wish.reason = fmt::format("{}; it is stopped, as is configured", run.what_failed());
  propose("group " + name, wish);
  return true;
}

/// What failed is configured to end its server, once its group has left, or has given up its start here. The breaker counts the first; of
/// the second each server does so once, as long as another one can run the group.
void NodeCore::Implementation::wish_own_end(const GroupState& group, const std::string& name, const group::GroupRun& run) {
  const bool reboot = run.final_action() == FinalAction::kReboot;
  if ((run.final_action() != FinalAction::kShutdown && !reboot) || run.interrupted() || run.what_failed().empty()) return;
  if (end_wish || end_considered.contains(name) || planner::suspension_of(database.state(), group) != nullptr) return;
  // It kept failing, and the breaker has let it go: not a person, who stops or moves it.
  const bool left = group.phase == GroupPhase::kStopping && group.refused.contains(settings.self);
  const bool may = run.failure().empty() ? left : planner::why_stay(planner_input(now), name, "").empty();
  if (!may) return;
  end_considered.insert(name);
  end_wish = OwnEndWish{name, run.what_failed(), reboot ? Afterwards::kReboot : Afterwards::kPowerOff, now};
}

/// ... also where that group is long gone: the wish stands until it is on record.
void NodeCore::Implementation::end_for_what_failed() {
  if (!end_wish || !database.standing().serving || is_proposing("own shutdown")) return;
  const ServerState& record = database.state().server(settings.self);
  if (record.shutdown || record.standing != ServerStanding::kNormal) {
    end_wish.reset();
    return;
  }
  const auto obstacle = why_not_end_here();
  if (obstacle && obstacle->soon && now < end_wish->since + MaintenanceWish{}.limit) return;  // within moments it may be another
  std::string why_not = obstacle ? obstacle->why : "";
  if (now >= end_wish->since + MaintenanceWish{}.limit) why_not = "it could not be recorded in time";
  if (!why_not.empty()) {
    note({.kind = "problem", .group = end_wish->group,
          .text = fmt::format("this server is not shut down for the failure of group {}, as is configured: {}", end_wish->group, why_not)});
    end_wish.reset();
    return;
  }
  SetShutdown command;
  command.server = settings.self;
  command.expected_version = record.version;
  command.afterwards = end_wish->afterwards;
  command.author = kOwnAuthor;
  command.reason = fmt::format("group {}: {}", end_wish->group, end_wish->failure);
  command.clock_ms = cluster_time(now);
  command.deadline_ms = command.clock_ms + static_cast<uint64_t>(to_ms(MaintenanceWish{}.limit));
  command.lives = lives();
  propose("own shutdown", command);
}

/// The last server that can run a group is not ended for a failing part, of that group or of another one; and of two that wish to end at
/// once only one does.
std::optional<Obstacle> NodeCore::Implementation::why_not_end_here() const {
  for (const auto& [server, record] : database.state().servers)
    if (server != settings.self && record.shutdown && record.standing != ServerStanding::kStopped)
      return Obstacle{fmt::format("{} is being shut down", configuration.server_name(server)), "", true};
  return planner::why_not_empty(planner_input(now), settings.self);
}

}  // namespace baton::node
