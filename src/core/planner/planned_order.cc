// See planned_order.h. A group that fails is not waited for, nor does its failover stop what comes after it.
#include "src/core/planner/planned_order.h"

#include <algorithm>

#include "src/base/planted.h"
#include "src/core/planner/candidate.h"
#include "src/model/command_rules.h"

namespace baton::planner {
namespace {

using command_rules::is_down;

/// It is to stop in order, to stay down or to go elsewhere, and has not begun to.
bool is_to_stop(const Input& input, const GroupState& state) {
  if (state.phase != GroupPhase::kStarted && state.phase != GroupPhase::kStarting) return false;
  const bool elsewhere = state.target != ServerId{} && state.target != state.owner;
  return !state.wanted || elsewhere || state.parked == state.owner || input.state.shutdown.has_value();
}

/// How it stands, if that keeps others from starting; empty: it is started.
std::string describe_unready(const Input& input, const std::string& name, const GroupState& state, const Plan& plan) {
  const std::string owner = input.configuration.server_name(state.owner);
  if (is_down(state.phase)) {
    if (!state.wanted) return fmt::format("is {} and not wanted to run. What helps: baton group start {}", to_string(state.phase), name);
    const auto waits = plan.waiting.find(name);
    return waits == plan.waiting.end() ? "is not started yet" : fmt::format("waits itself ({})", waits->second);
  }
  if (!view_of(input, state.owner).present) return fmt::format("was on {}, which {}", owner, describe_absence(view_of(input, state.owner)));
  if (state.phase != GroupPhase::kStarted) return fmt::format("is {} on {}", to_string(state.phase), owner);
  return is_to_stop(input, state) ? fmt::format("is about to stop on {}", owner) : "";
}

/// Is it up, so that what it comes after has to wait with its stop? One in maintenance is left alone, and not waited for.
bool is_in_the_way(const Input& input, const GroupState& state) {
  if (is_down(state.phase) || !view_of(input, state.owner).present) return false;
  return input.state.shutdown || suspension_of(input.state, state) == nullptr;
}

}  // namespace

std::string why_not_yet(const Input& input, const GroupConfiguration& group, const Plan& plan) {
  if (planted(Plant::kOrderIgnored)) return "";
  for (const std::string& name : group.start_after) {
    const GroupState* before = state_of(input, name);
    if (before == nullptr) continue;
    const std::string unready = describe_unready(input, name, *before, plan);
    if (!unready.empty()) return fmt::format("it starts after group {}, which {}", name, unready);
  }
  return "";
}

std::string why_not_stop_yet(const Input& input, const GroupConfiguration& group) {
  for (const std::string& name : group.started_before) {
    const GroupState* after = state_of(input, name);
    if (after != nullptr && is_in_the_way(input, *after)) return fmt::format("group {}, which comes after it, stops first", name);
  }
  return "";
}

namespace {

/// Why it must stop where it is, because of one that it is to be with; empty: it may stay. What is on its way is waited for.
std::string why_leave(const Input& input, const GroupState& state, const std::string& name) {
  const GroupState* other = state_of(input, name);
  if (other == nullptr || (is_down(other->phase) && other->wanted)) return "";
  if (is_down(other->phase)) return fmt::format("group {}, with which it runs, is {}", name, to_string(other->phase));
  const bool arrives = other->phase == GroupPhase::kStarting || other->phase == GroupPhase::kStarted;
  if (!arrives || other->owner == state.owner || is_to_stop(input, *other) || !view_of(input, other->owner).present) return "";
  return fmt::format("group {}, with which it runs, is on {}", name, input.configuration.server_name(other->owner));
}

/// Stopped now, and started again by the planner, where and when that is right.
void stop_for_now(const std::string& name, const GroupState& state, const std::string& reason, Plan& plan) {
  const bool stepped = std::any_of(plan.steps.begin(), plan.steps.end(), [&](const PlannedStep& step) { return step.group == name; });
  if (!stepped) plan.steps.push_back({name, WishGroup{name, state.version, true, ServerId{}, reason, kOwnAuthor, state.owner}, reason});
}

}  // namespace

void plan_followers(const Input& input, Plan& plan) {
  if (input.state.shutdown) return;
  for (const GroupConfiguration& group : input.configuration.groups) {
    const GroupState* state = state_of(input, group.name);
    if (group.with.empty() || state == nullptr || state->phase == GroupPhase::kStopping || !is_in_the_way(input, *state) ||
        is_to_stop(input, *state))
      continue;
    for (const std::string& name : group.with) {
      const std::string why = why_leave(input, *state, name);
      if (why.empty()) continue;
      stop_for_now(group.name, *state, why + ": it stops, and starts again with it", plan);
      break;
    }
  }
}

void plan_ordered_stops(const Input& input, Plan& plan) {
  if (input.state.shutdown) return;  // the owners stop everything, each in its turn
  for (const GroupConfiguration& group : input.configuration.groups) {
    const GroupState* state = state_of(input, group.name);
    if (group.started_before.empty() || state == nullptr || !is_to_stop(input, *state) || !view_of(input, state->owner).present) continue;
    if (const std::string why = why_not_stop_yet(input, group); !why.empty()) plan.waiting[group.name] = why;
    for (const std::string& name : group.started_before) {
      const GroupState* after = state_of(input, name);
      if (after == nullptr || after->phase == GroupPhase::kStopping || !is_in_the_way(input, *after) || is_to_stop(input, *after)) continue;
      stop_for_now(name, *after,
                   fmt::format("group {}, after which it starts, is to stop on {}: it stops first, and starts again after it", group.name,
                               input.configuration.server_name(state->owner)),
                   plan);
    }
  }
}

}  // namespace baton::planner
