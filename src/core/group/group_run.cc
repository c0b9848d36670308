// The steps of one group on this server. Pure. See group_run.h for the order.
#include "src/core/group/group_run.h"

#include <algorithm>
#include <utility>

#include "src/base/assert.h"
#include "src/base/planted.h"

namespace baton::group {

namespace {
constexpr Duration kKillRetry = 1s;
constexpr Duration kAdoptLimit = 12s;
constexpr Duration kKillLimit = 10s;
constexpr Duration kShortestPause = 5s;
constexpr Duration kLongestPause = 30s;

bool is_down(ResourceState state) { return state == ResourceState::kDown; }

ResourceState not_found_up() {
  return planted(Plant::kNotFoundUpIsDown) ? ResourceState::kDown : ResourceState::kUnknown;
}
}  // namespace

const char* to_string(StepAction action) {
  switch (action) {
    case StepAction::kAdopt: return "adopt";
    case StepAction::kStart: return "start";
    case StepAction::kStop: return "stop";
    case StepAction::kKill: return "kill";
    case StepAction::kSuspend: return "suspend";
    case StepAction::kResume: return "resume";
    case StepAction::kRunOnce: return "run once";
    case StepAction::kRestartProgram: return "restart";
  }
  return "?";
}

const char* to_string(ResourceState state) {
  switch (state) {
    case ResourceState::kUnknown: return "unknown";
    case ResourceState::kDown: return "down";
    case ResourceState::kAdopting: return "adopting";
    case ResourceState::kStarting: return "starting";
    case ResourceState::kUp: return "up";
    case ResourceState::kStopping: return "stopping";
    case ResourceState::kFailed: return "failed";
  }
  return "?";
}

GroupRun::GroupRun(const GroupConfiguration& configuration, uint64_t* next_token)
    : configuration_(configuration), next_token_(next_token) {
  for (const auto& resource : configuration_.resources) views_[resource.name] = ResourceView{};
  set_monitors(configuration_.monitors);
}

void GroupRun::adopt(Instant now) {
  for (const auto& resource : configuration_.resources) {
    begin(now, resource, StepAction::kAdopt);
    set_state(resource.name, ResourceState::kAdopting);
  }
}

void GroupRun::assume_down() {
  for (auto& [name, view] : views_) view.state = ResourceState::kDown;
}

void GroupRun::run(Instant now) {
  if (goal_ == Goal::kRun) return;
  goal_ = Goal::kRun;
  failure_.clear();
  failure_action_ = FinalAction::kFailover;
  interrupted_ = false;
  history_.clear();
  see_to_waiting_programs(now);
  advance(now);
}

void GroupRun::stop(Instant now) {
  if (goal_ == Goal::kStop || goal_ == Goal::kKill) return;
  goal_ = Goal::kStop;
  history_.clear();
  advance(now);
}

void GroupRun::kill(Instant now, const std::string& reason) {
  if (goal_ == Goal::kKill) return;
  goal_ = Goal::kKill;
  history_.clear();
  if (failure_.empty()) {
    failure_ = reason;
    interrupted_ = true;
  }
  // What is being started, stopped or looked at is not waited for.
  for (const auto& resource : configuration_.resources) {
    if (is_down(state(resource.name))) continue;
    forget_steps_of(resource.name);
    kill_needed_.insert(resource.name);
  }
  advance(now);
}

void GroupRun::set_suspended(Instant now, bool suspended) {
  if (suspended_ == suspended) return;
  suspended_ = suspended;
  if (goal_ == Goal::kStop || goal_ == Goal::kKill) return;
  for (const auto& resource : configuration_.resources) {
    if (resource.kind != ResourceKind::kAddress || state(resource.name) != ResourceState::kUp) continue;
    forget_steps_of(resource.name);  // the opposite one, overtaken
    begin(now, resource, suspended ? StepAction::kSuspend : StepAction::kResume);
  }
  advance(now);  // an address that was down meanwhile starts now
}

void GroupRun::begin(Instant now, const ResourceConfiguration& resource, StepAction action, const std::string& program) {
  Duration limit = resource.start_timeout;
  if (action == StepAction::kAdopt) limit = kAdoptLimit;
  if (action == StepAction::kStop) limit = resource.stop_timeout;
  if (action == StepAction::kKill) limit = kKillLimit;
  const uint64_t token = (*next_token_)++;
  const Instant deadline = now + limit;
  tokens_[token] = Running{resource.name, action, now, deadline, program};
  steps_.push_back(StepRequest{token, resource.name, action, deadline, program});
}

void GroupRun::step_done(Instant now, uint64_t token, bool ok, const std::string& detail) {
  auto found = tokens_.find(token);
  if (found == tokens_.end()) return;  // given up before
  const Running running = found->second;
  tokens_.erase(found);
  step_ended(now, running, ok, detail);
  advance(now);
}

void GroupRun::step_ended(Instant now, const Running& running, bool ok, const std::string& detail) {
  const auto* resource = configuration_.find(running.resource);
  BATON_ASSERT(resource != nullptr);
  if (running.action != StepAction::kAdopt) {
    const int64_t took_us = std::chrono::duration_cast<std::chrono::microseconds>(now - running.started).count();
    const std::string what = running.resource + (running.program.empty() ? "" : "/" + running.program);
    StepTime step{what, to_string(running.action), took_us, ok ? "ok" : detail};
    history_.push_back(step);
    ended_.push_back(StepEnded{step, ok, detail});
  }
  switch (running.action) {
    case StepAction::kAdopt:
      // SAFETY: B2 what an earlier batond began may still bring it up.
      set_state(resource->name, ok ? ResourceState::kUp : not_found_up(), detail);
      break;
    case StepAction::kStart:
      if (!ok) {
        start_failed(now, *resource, detail);
        break;
      }
      set_state(resource->name, ResourceState::kUp, detail);
      unstick(resource->name);
      // The lease lapsed while it was being taken.
      if (suspended_ && resource->kind == ResourceKind::kAddress) begin(now, *resource, StepAction::kSuspend);
      break;
    case StepAction::kStop:
      if (ok) {
        set_state(resource->name, ResourceState::kDown);
        end_programs(resource->name);
      } else {
        set_state(resource->name, ResourceState::kFailed, detail);
        kill_needed_.insert(resource->name);
      }
      break;
    case StepAction::kKill:
      if (ok) {
        set_state(resource->name, ResourceState::kDown);
        kill_needed_.erase(resource->name);
        end_programs(resource->name);
      } else {
        set_state(resource->name, ResourceState::kFailed, detail);
        kill_needed_.insert(resource->name);
        retry_at_[resource->name] = now + kKillRetry;
      }
      break;
    case StepAction::kSuspend:
    case StepAction::kResume:
      if (!ok) resource_failed(now, resource->name, detail);
      break;
    case StepAction::kRunOnce:
      set_state(resource->name, ResourceState::kFailed, ok ? "" : detail);
      kill_needed_.insert(resource->name);
      break;
    case StepAction::kRestartProgram:
      program_step_ended(now, running, ok, detail);
      break;
  }
}

void GroupRun::unstick(const std::string& name) {
  const auto found = stuck_resources_.find(name);
  if (found != stuck_resources_.end()) found->second.stuck = false;  // its pause is kept: if it fails again it has not become better
}

/// Of what is stuck: the latest one about which something is to be done; else the latest.
const GroupRun::StuckResource* GroupRun::deciding() const {
  const StuckResource* found = nullptr;
  const auto weight = [](const StuckResource& resource) {
    return std::pair(resource.action != FinalAction::kNothing, resource.since);
  };
  for (const auto& [name, resource] : stuck_resources_)
    if (resource.stuck && (found == nullptr || weight(resource) > weight(*found))) found = &resource;
  return found;
}

std::string GroupRun::stuck() const {
  const StuckResource* resource = deciding();
  return resource == nullptr ? "" : resource->failure;
}

std::string GroupRun::stuck_cause() const {
  const StuckResource* resource = deciding();
  return resource == nullptr ? "" : to_string(resource->kind);
}

FinalAction GroupRun::final_action() const {
  const StuckResource* resource = deciding();
  return resource == nullptr || !failure_.empty() ? failure_action_ : resource->action;
}

void GroupRun::beyond_restarts(Instant now, const ResourceConfiguration& resource, const std::string& failure, FinalAction action) {
  StuckResource& stuck = stuck_resources_[resource.name];
  if (!stuck.stuck) stuck.since = now;
  stuck.stuck = true;
  stuck.failure = failure;
  stuck.kind = resource.kind;
  stuck.action = action;
  stuck.pause = std::clamp(stuck.pause * 2, kShortestPause, kLongestPause);
  stuck.retry_at = now + stuck.pause;
}

/// It has failed more often than it may. Where its owner does not decide what becomes of it (the group is only starting, or its storage
/// has failed), the run is given up.
void GroupRun::fail_for_good(Instant now, const ResourceConfiguration& resource, const std::string& failure, FinalAction action,
                             bool at_once) {
  if (asks_ && !is_storage(resource.kind)) return beyond_restarts(now, resource, failure, action);
  failure_action_ = action;
  give_up(now, failure, at_once);
}

void GroupRun::set_supervised(Instant now, bool supervised) {
  if (supervised_ == supervised) return;
  supervised_ = supervised;
  if (!supervised) return;
  for (auto& [name, resource] : stuck_resources_) resource.stuck = false;
  see_to_waiting_programs(now);
  advance(now);
}

void GroupRun::set_held(Instant now, bool held) {
  if (held_ == held) return;
  held_ = held;
  advance(now);
}

/// It keeps failing, and is not to be started now.
bool GroupRun::stuck_down(Instant now, const std::string& resource) const {
  const auto found = stuck_resources_.find(resource);
  if (found == stuck_resources_.end() || !found->second.stuck) return false;
  return !held_ || !supervised_ || found->second.action == FinalAction::kNothing || now < found->second.retry_at;
}

void GroupRun::start_failed(Instant now, const ResourceConfiguration& resource, const std::string& detail) {
  set_state(resource.name, ResourceState::kFailed, detail);
  kill_needed_.insert(resource.name);
  if (goal_ != Goal::kRun) return;
  if (may_restart(now, resource)) return;
  if (is_storage(resource.kind)) tell_scripts_of_disk(now);
  fail_for_good(now, resource, fmt::format("{} {} did not start: {}", to_string(resource.kind), resource.name, detail),
                resource.on_failure, false);
}

/// Those that ask for it are run with ARMS_DISK=FAILURE, before the rest of the group is stopped.
void GroupRun::tell_scripts_of_disk(Instant now) {
  for (const auto& resource : configuration_.resources) {
    const bool runs = !is_down(state(resource.name)) && state(resource.name) != ResourceState::kUnknown;
    if (resource.kind != ResourceKind::kScript || !resource.script.on_disk_failure || runs) continue;
    begin(now, resource, StepAction::kRunOnce);
    set_state(resource.name, ResourceState::kStarting, "the group's storage cannot be started");
  }
}

void GroupRun::resource_failed(Instant now, const std::string& name, const std::string& reason, bool lives) {
  const auto* resource = configuration_.find(name);
  if (resource == nullptr) return;
  const auto present = state(name);
  // While it is being stopped its end is what was asked for; what is down cannot fail.
  if (present == ResourceState::kStopping || is_down(present) || present == ResourceState::kUnknown) return;
  forget_steps_of(name);
  set_state(name, ResourceState::kFailed, reason);
  if (!lives) kill_needed_.insert(name);
  if (goal_ == Goal::kRun && !may_restart(now, *resource))
    fail_for_good(now, *resource, fmt::format("{} {} failed: {}", to_string(resource->kind), name, reason), resource->on_failure,
                  is_storage(resource->kind));
  advance(now);
}

void GroupRun::give_up(Instant now, const std::string& failure, bool at_once) {
  failure_ = failure;
  if (at_once) {
    kill(now, failure);
  } else {
    stop(now);
  }
}

bool GroupRun::may_restart(Instant now, const ResourceConfiguration& resource) {
  if (!supervised_ && asks_) return false;
  auto& past = restarts_[resource.name];
  std::erase_if(past, [&](Instant at) { return now - at > resource.restart_window; });
  if (past.size() >= resource.restarts) return false;
  past.push_back(now);
  return true;
}

void GroupRun::tick(Instant now) {
  std::vector<Running> late;
  for (auto it = tokens_.begin(); it != tokens_.end();) {
    if (now >= it->second.deadline) {
      late.push_back(it->second);
      it = tokens_.erase(it);
    } else {
      ++it;
    }
  }
  for (const auto& running : late)
    if (running.action != StepAction::kRestartProgram) kill_needed_.insert(running.resource);
  for (const auto& running : late) {
    if (running.action == StepAction::kAdopt) {
      // Not known is not down: it counts as up and broken until a kill has made sure.
      set_state(running.resource, ResourceState::kFailed, "it could not be found out whether it is up");
      continue;
    }
    step_ended(now, running, false,
               fmt::format("{} was not done within {} ms", to_string(running.action),
                           to_ms(running.deadline - running.started)));
  }
  std::erase_if(retry_at_, [&](const auto& retry) { return now >= retry.second; });
  advance(now);
}

Instant GroupRun::next_tick() const {
  Instant next = next_check();
  for (const auto& [token, running] : tokens_) next = std::min(next, running.deadline);
  for (const auto& [resource, at] : retry_at_) next = std::min(next, at);
  if (!held_ || !supervised_ || suspended_ || goal_ != Goal::kRun) return next;
  for (const auto& [name, stuck] : stuck_resources_) {
    const auto* resource = configuration_.find(name);
    const bool waits = stuck.stuck && stuck.action != FinalAction::kNothing && is_down(state(name));
    if (waits && dependencies_up(*resource)) next = std::min(next, stuck.retry_at);
  }
  return next;
}

void GroupRun::advance(Instant now) {
  if (goal_ == Goal::kObserve) return;
  // Stopping goes from the dependents to what they depend on, starting the other way.
  if (goal_ == Goal::kRun) {
    for (const auto& resource : configuration_.resources) advance_resource(now, resource);
    return;
  }
  for (auto resource = configuration_.resources.rbegin(); resource != configuration_.resources.rend(); ++resource)
    advance_resource(now, *resource);
}

void GroupRun::advance_resource(Instant now, const ResourceConfiguration& resource) {
  if (in_flight(resource.name)) return;
  if (goal_ != Goal::kRun) return bring_down(now, resource);
  switch (state(resource.name)) {
    case ResourceState::kDown:
    case ResourceState::kUnknown:
      if (!dependencies_up(resource)) return;
      if (resource.kind == ResourceKind::kAddress && suspended_) return;
      if (stuck_down(now, resource.name)) return;
      begin(now, resource, StepAction::kStart);
      set_state(resource.name, ResourceState::kStarting);
      return;
    case ResourceState::kUp:
      if (!dependencies_up(resource)) bring_down(now, resource);  // what it stands on is being restarted
      return;
    case ResourceState::kFailed:
      bring_down(now, resource);
      return;
    default:
      return;
  }
}

void GroupRun::bring_down(Instant now, const ResourceConfiguration& resource) {
  if (is_down(state(resource.name))) return;
  // A kill aborts exports and drops addresses at once: a process that waits for a frozen mirror dies only then.
  const bool first = goal_ == Goal::kKill &&
                     (resource.kind == ResourceKind::kMirror || resource.kind == ResourceKind::kAddress);
  if (!first && !dependents_down(resource)) return;
  if (retry_at_.contains(resource.name)) return;
  const bool unknown = state(resource.name) == ResourceState::kUnknown;
  const bool at_once = goal_ == Goal::kKill || unknown || kill_needed_.contains(resource.name);
  begin(now, resource, at_once ? StepAction::kKill : StepAction::kStop);
  set_state(resource.name, ResourceState::kStopping, views_.at(resource.name).detail);
}

bool GroupRun::dependencies_up(const ResourceConfiguration& resource) const {
  return std::all_of(resource.after.begin(), resource.after.end(),
                     [&](const std::string& name) { return state(name) == ResourceState::kUp; });
}

bool GroupRun::dependents_down(const ResourceConfiguration& resource) const {
  for (const auto& other : configuration_.resources) {
    const bool depends = std::find(other.after.begin(), other.after.end(), resource.name) != other.after.end();
    // What was not found up waits for this one to be up; a group that is to run does not have it killed first.
    const bool waits = goal_ == Goal::kRun && state(other.name) == ResourceState::kUnknown;
    if (depends && !waits && !is_down(state(other.name))) return false;
  }
  return true;
}

bool GroupRun::in_flight(const std::string& resource) const {
  return std::any_of(tokens_.begin(), tokens_.end(),
                     [&](const auto& running) { return running.second.resource == resource; });
}

void GroupRun::forget_steps_of(const std::string& resource) {
  std::erase_if(tokens_, [&](const auto& running) { return running.second.resource == resource; });
  std::erase_if(steps_, [&](const StepRequest& step) { return step.resource == resource; });
}

void GroupRun::set_state(const std::string& resource, ResourceState state, const std::string& detail) {
  views_[resource] = ResourceView{state, detail};
}

bool GroupRun::all_up() const {
  return std::all_of(views_.begin(), views_.end(),
                     [](const auto& view) { return view.second.state == ResourceState::kUp; });
}

bool GroupRun::all_down() const {
  return std::all_of(views_.begin(), views_.end(), [](const auto& view) { return is_down(view.second.state); });
}

bool GroupRun::nothing_up() const {
  return std::all_of(views_.begin(), views_.end(), [](const auto& view) {
    return is_down(view.second.state) || view.second.state == ResourceState::kUnknown;
  });
}

bool GroupRun::adopting() const {
  return std::any_of(views_.begin(), views_.end(),
                     [](const auto& view) { return view.second.state == ResourceState::kAdopting; });
}

std::vector<StepRequest> GroupRun::take_steps() { return std::exchange(steps_, {}); }
std::vector<StepEnded> GroupRun::take_ended() { return std::exchange(ended_, {}); }

}  // namespace baton::group
