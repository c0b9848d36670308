// The failover groups of this server: from what the database says to the runs that start and stop resources, and
// back. Pure. docs/architecture.md, "Groups".
#include <algorithm>

#include "src/base/planted.h"
#include "src/core/node/node_state.h"

namespace baton::node {

void NodeCore::Implementation::tick_runs() {
  for (auto& [name, run] : runs)
    if (run->next_tick() <= now) run->tick(now);
}

void NodeCore::Implementation::manage_groups() {
  for (auto& [name, held] : runs) {
    group::GroupRun* run = held.get();
    if (planted(Plant::kGroupsInTurn) && std::any_of(runs.begin(), runs.end(), [&](const auto& other) {
          return other.first != name && other.second->next_tick() != kNever;
        }))
      continue;
    const auto group = database.state().groups.find(name);
    // Before the present epoch serves, the state may be an old one: leave everything as it is.
    if (database.standing().serving && !run->adopting()) {
      if (group != database.state().groups.end()) {
        manage_group(group->second, name, *run);
        tell_of_return(group->second, *held);
      } else if (configuration_version != 0 && !run->all_down()) {
        run->kill(now, fmt::format("{} is no longer configured", name));
      }
    }
    held->watch_monitors(now);   // perhaps renewed
    collect_checks(name, *held);  // those that are dropped end before what is stopped next
    collect_steps(name, *held);
  }
  end_for_what_failed();
}

void NodeCore::Implementation::manage_group(const GroupState& group, const std::string& name, group::GroupRun& run) {
  if (stale_runs.contains(name)) {
    // Still ending what it had from an earlier assignment: that first, and it is no failure of this one.
    if (!run.all_down()) return run.kill(now, fmt::format("{} was given to this server anew", name));
    stale_runs.erase(name);
    return renew_run(name);
  }
  if (group.owner == settings.self) return manage_owned(group, name, run);
  if (run.all_down() || planted(Plant::kFormerOwnerNotKilled)) return;
  run.kill(now, group.owner == ServerId{}
                    ? fmt::format("{} is not assigned to this server", name)
                    : fmt::format("{} belongs to {} now", name, configuration.server_name(group.owner)));
}

bool NodeCore::Implementation::mirrors_up(const group::GroupRun& run) const {
  for (const auto& resource : run.configuration().resources) {
    if (resource.kind == ResourceKind::kMirror &&
        run.resources().at(resource.name).state != group::ResourceState::kUp)
      return false;
  }
  return true;
}

/// A copy here that is not up has restarted uncleanly since this server was given the group.
bool NodeCore::Implementation::copies_changed(const group::GroupRun& run) const {
  const auto reported = reports.find(settings.self);
  if (reported == reports.end()) return false;
  for (const auto& resource : run.configuration().resources) {
    if (resource.kind != ResourceKind::kMirror || run.resources().at(resource.name).state == group::ResourceState::kUp) continue;
    const std::string key = mirror_key(run.configuration().name, resource.name);
    const auto record = database.state().mirrors.find(key);
    const auto report = reported->second.find(key);
    if (record == database.state().mirrors.end() || report == reported->second.end()) continue;
    const auto member = record->second.in_sync.find(settings.self);
    if (member != record->second.in_sync.end() && member->second != report->second.incarnation) return true;
  }
  return false;
}

/// A copy that is up here is no longer in its mirror's set since this server decides alone. (One whose disk failed is not meant, D1:
/// it left the set by itself, and the other copy serves.)
bool NodeCore::Implementation::copies_left_out(const group::GroupRun& run) const {
  const auto reported = reports.find(settings.self);
  if (database.state().taken_over != settings.self || reported == reports.end()) return false;
  return std::any_of(run.configuration().resources.begin(), run.configuration().resources.end(), [&](const auto& resource) {
    if (resource.kind != ResourceKind::kMirror || run.resources().at(resource.name).state != group::ResourceState::kUp) return false;
    const std::string key = mirror_key(run.configuration().name, resource.name);
    const auto record = database.state().mirrors.find(key);
    const auto report = reported->second.find(key);
    if (record == database.state().mirrors.end() || report == reported->second.end() || report->second.detached) return false;
    return !record->second.in_sync.contains(settings.self);
  });
}

void NodeCore::Implementation::manage_owned(const GroupState& group, const std::string& name, group::GroupRun& run) {
  // What comes after it stops first. Not where something of it fails: then it is to be up elsewhere soon.
  const bool leaving = is_leaving(group) && !waits_with_stop(name);
  // What was up before and is not any more went with the server (or the mirror daemon): whether this copy may be
  // primary again is for the planner to judge, under a new permit.
  if (run.goal() == group::Goal::kObserve && group.phase == GroupPhase::kStarted && !mirrors_up(run))
    run.kill(now, "its storage was not up any more when batond started: the server or the mirror daemon was restarted");
  // SAFETY: S4. Nor is a start that the loss of power ended gone on with, where the copy may lack what was answered meanwhile.
  if (run.goal() == group::Goal::kObserve && group.phase == GroupPhase::kStarting && copies_changed(run))
    run.kill(now, "its server or the mirror daemon was restarted while it was starting");
  // SAFETY: W3, Q6, T8. A takeover took it out: the other server may have gone on, and what is up here by the time before lacks that.
  if (run.failure().empty() && copies_left_out(run))
    run.kill(now, "a person's takeover left its copy out of the in-sync set: the other server may have gone on with the data");
  const bool gave_up = !run.failure().empty();
  if (gave_up) {
    if (stops_for_good(group, name, run)) return;
    wish_own_end(group, name, run);
    if (run.all_down()) propose_phase(group, name, GroupPhase::kStopped, run, run.failure());
    return;
  }
  if (group.phase == GroupPhase::kStopping || leaving) {
    if (group.phase != GroupPhase::kStopping) propose_phase(group, name, GroupPhase::kStopping, run, group.reason);
    run.stop(now);
    wish_own_end(group, name, run);
    if (group.phase == GroupPhase::kStopping && run.all_down())
      propose_phase(group, name, GroupPhase::kStopped, run, group.reason);
    return;
  }
  if (lease_lapsed() && run.goal() == group::Goal::kObserve && run.nothing_up()) return;  // start nothing without a right
  run.set_asks(group.phase == GroupPhase::kStarted && database.state().format_level >= 2);
  const bool supervised = planner::suspension_of(database.state(), group) == nullptr;
  run.set_supervised(now, supervised);
  run.run(now);
  if (group.phase == GroupPhase::kStarting && run.all_up())
    propose_phase(group, name, GroupPhase::kStarted, run, group.reason);
  if (group.phase == GroupPhase::kStarted && supervised) manage_stuck(group, name, run);
}

bool NodeCore::Implementation::is_leaving(const GroupState& group) const {
  const bool elsewhere = group.target != ServerId{} && group.target != settings.self;
  return !group.wanted || elsewhere || group.parked == settings.self || database.state().shutdown.has_value();
}

bool NodeCore::Implementation::waits_with_stop(const std::string& name) const {
  const GroupConfiguration* group = configuration.group(name);
  return group != nullptr && !group->started_before.empty() && !planner::why_not_stop_yet(planner_input(now), *group).empty();
}

/// Something of the group keeps failing. It leaves, if somebody else can run it and the breaker lets it; else it is held
/// here: the last good owner is never stopped for a failing part.
void NodeCore::Implementation::manage_stuck(const GroupState& group, const std::string& name, group::GroupRun& run) {
  HoldGroup hold{name, group.version, settings.self, ""};
  if (run.stuck().empty()) {
    if (!group.held.empty() && run.all_up()) propose("group " + name, hold);
    return;
  }
  if (stops_for_good(group, name, run)) return;
  // "service nginx": of its failures the first one is enough, and of several resources the one that decides.
  const std::string stuck = run.stuck();
  const bool is_told = group.held.starts_with(stuck.substr(0, stuck.find(' ', stuck.find(' ') + 1) + 1));
  if (run.final_action() == FinalAction::kNothing) {
    hold.reason = run.stuck() + "; nothing is done about it, as is configured";
    if (!is_told) propose("group " + name, hold);
    return;
  }
  const std::string why = planner::why_stay(planner_input(now), name, run.stuck_cause());
  run.set_held(now, !why.empty());
  if (!why.empty()) {
    hold.reason = fmt::format("{}; it is tried again here, for it cannot go elsewhere: {}", run.stuck(), why);
    if (!is_told) propose("group " + name, hold);
    return;
  }
  SetGroupPhase leave;
  leave.group = name;
  leave.expected_version = group.version;
  leave.server = settings.self;
  leave.phase = GroupPhase::kStopping;
  leave.failure = leave.reason = run.stuck();
  leave.cause = run.stuck_cause();
  leave.clock_ms = cluster_time(now);
  propose("group " + name, leave);
}

void NodeCore::Implementation::propose_phase(const GroupState& group, const std::string& name, GroupPhase phase,
                                             const group::GroupRun& run, const std::string& reason) {
  SetGroupPhase command;
  command.group = name;
  command.expected_version = group.version;
  command.server = settings.self;
  command.phase = phase;
  command.failure = phase == GroupPhase::kStopped ? run.failure() : "";
  command.interrupted = !command.failure.empty() && run.interrupted();
  if (!command.failure.empty()) command.clock_ms = cluster_time(now);
  command.reason = reason;
  if (phase != GroupPhase::kStopping) command.steps = run.steps_since_goal();
  propose("group " + name, command);
}

void NodeCore::Implementation::collect_steps(const std::string& name, group::GroupRun& run) {
  for (const auto& each : run.take_ended()) {
    note({.kind = "step", .group = name,
          .text = each.ok ? fmt::format("{} {}: {} ms", each.step.action, each.step.resource, each.step.took_us / 1000)
                           : fmt::format("{} {} failed after {} ms: {}", each.step.action, each.step.resource,
                                         each.step.took_us / 1000, each.detail),
          .resource = each.step.resource, .action = each.step.action, .outcome = each.step.outcome,
          .took_us = each.step.took_us});
  }
  for (const auto& step : run.take_steps()) {
    RunStep wanted;
    wanted.token = step.token;
    wanted.group = name;
    wanted.resource = step.resource;
    wanted.action = step.action;
    wanted.deadline = step.deadline;
    wanted.permit = permit_of(name, step.resource);
    wanted.program = step.program;
    wanted.home = is_home(run.configuration());
    if (const auto event = start_events.find(name); event != start_events.end()) wanted.event = event->second;
    const auto previous = previous_owner.find(name);
    if (previous != previous_owner.end()) wanted.previous_owner = previous->second;
    out().push_back(wanted);
  }
}

void NodeCore::Implementation::collect_checks(const std::string& name, group::GroupRun& run) {
  for (auto& news : run.take_news()) note({.kind = news.problem ? "problem" : "monitor", .group = name, .text = std::move(news.text)});
  for (const uint64_t token : run.take_dropped_checks()) out().push_back(EndCheck{token});
  for (auto& check : run.take_checks()) out().push_back(RunCheck{check.token, name, std::move(check.monitor), std::move(check.position)});
}

Permit NodeCore::Implementation::permit_of(const std::string& name, const std::string& resource) const {
  const auto mirror = database.state().mirrors.find(mirror_key(name, resource));
  return mirror == database.state().mirrors.end() ? Permit{} : mirror->second.permit;
}

}  // namespace baton::node
