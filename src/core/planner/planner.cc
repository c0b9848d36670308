// One plan: the groups are looked at in the order of the file, each gets at most one command, or the reason why it waits. A
// later one sees where the earlier ones go.
#include "src/core/planner/planner.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <optional>

#include "src/base/planted.h"
#include "src/core/planner/candidate.h"
#include "src/core/planner/choice.h"
#include "src/core/planner/planned_failback.h"
#include "src/core/planner/planned_maintenance.h"
#include "src/core/planner/planned_order.h"
#include "src/core/planner/standing.h"
#include "src/model/command_rules.h"

namespace baton::planner {
namespace {

using command_rules::is_down;

std::string count_groups(size_t count) { return fmt::format("{} group{}", count, count == 1 ? "" : "s"); }

/// Why the chosen one goes before another one that can run it as well.
std::string explain_preference(const Candidate& chosen, const Candidate& other) {
  if (chosen.unwelcome != other.unwelcome)
    return fmt::format("has {} on it from which it is rather kept apart, {} has {}", count_groups(other.unwelcome), chosen.name,
                       chosen.unwelcome == 0 ? "none" : std::to_string(chosen.unwelcome));
  return fmt::format("has {} on it with which it rather is, {} has {}", other.company == 0 ? "no group" : count_groups(other.company),
                     chosen.name, chosen.company);
}

/// One that stands before it could run it as well.
bool is_preferred_to_some(const std::vector<Candidate>& candidates, const Candidate& chosen) {
  return std::any_of(candidates.begin(), candidates.end(),
                     [&](const Candidate& other) { return &other < &chosen && other.possible && other.held.empty() && !other.refused(); });
}

/// Why not one that stands before the chosen one in the policy.
std::string explain_other(const Candidate& chosen, const Candidate& other) {
  if (!other.possible) return fmt::format("{} {}", other.name, other.why_not);
  if (!other.held.empty()) return fmt::format("{} {}", other.name, other.held);
  if (other.refused()) return fmt::format("{}: it {}", other.name, describe_failures(other));
  return fmt::format("{} {}", other.name, explain_preference(chosen, other));
}

/// Why this server, in one sentence. What became of a lost owner is said elsewhere. `is_home`: as home_of().
std::string explain_choice(const std::vector<Candidate>& candidates, const Candidate& chosen, const GroupState& state, bool is_home) {
  const bool placed = chosen.server == state.placed && !chosen.refused();
  std::string text;
  if (chosen.server == state.target) {
    text = fmt::format("{} is where {}", chosen.name, placed ? "an operator wants it" : "it was to go");
  } else if (placed) {
    text = fmt::format("{} is where an operator has moved it", chosen.name);
  } else if (chosen.refused()) {
    text = fmt::format("{} is tried again (attempt {} of {}), it {}", chosen.name, chosen.attempts + 1,
                       kMaximumAttempts, describe_failures(chosen));
  } else if (chosen.server == candidates.front().server) {
    text = fmt::format("{} is the first of its policy", chosen.name);
  } else if (is_home) {
    text = fmt::format("{} is where it ran last, and it does not fail back", chosen.name);
  } else {
    text = fmt::format("{} is the first of its policy that {}", chosen.name,
                       is_preferred_to_some(candidates, chosen) ? "is preferred" : "can");
  }
  for (const Candidate& other : candidates) {
    if (other.server == chosen.server) break;  // those after it were not better
    if (chosen.server == state.target || placed || is_home) break;
    if (other.server == state.owner) continue;
    text += "; " + explain_other(chosen, other);
  }
  const Candidate* wished = find_candidate(candidates, state.target);
  if (wished && wished->server != chosen.server && !wished->possible) {
    text += fmt::format("; not {} as wished, which {}", wished->name, wished->why_not);
  }
  if (!chosen.held.empty()) text += fmt::format("; nobody else can, although {} {}", chosen.name, chosen.held);
  for (const std::string& note : chosen.notes) text += "; " + note;
  return text;
}

/// The command that gives the group to the chosen server.
AssignGroup make_assignment(const Input& input, const GroupConfiguration& group, const GroupState& state,
                            const Candidate& chosen) {
  AssignGroup assignment;
  assignment.group = group.name;
  assignment.expected_version = state.version;
  assignment.server = chosen.server;
  assignment.alone = chosen.alone;
  assignment.loss = chosen.loss;
  for (const std::string& key : mirrors_of(group)) {
    assignment.mirror_versions[key] = input.state.mirrors.at(key).version;
    for (ServerId server : group.servers) {
      if (const MirrorReport* report = report_of(input, key, server)) {
        assignment.reported[key][server] = report->incarnation;
      }
    }
    if (is_unused(input, group, key)) assignment.unused.insert(key);
    if (holder_lost(input, key, input.state.mirrors.at(key))) assignment.holder_lost.insert(key);
  }
  return assignment;
}

/// Plans for one group; adds at most one step or one waiting text.
class GroupPlanner {
 public:
  GroupPlanner(const Input& input, Placement& placement, const GroupConfiguration& group, const GroupState& state, Plan& plan)
      : input_(input), placement_(placement), group_(group), state_(state), plan_(plan) {}

  void run() {
    if (is_down(state_.phase)) {
      if (state_.wanted) start("");
      return;
    }
    ServerView owner = view_of(input_, state_.owner);
    if (owner.present) return;  // it carries out the wish itself
    std::string lost = fmt::format("{} lost", owner_name());
    if (!owner.why_absent.empty()) lost += " (" + owner.why_absent + ")";
    if (!owner.lease_over) {
      const std::string not_now = why_not_now(input_, group_, state_);
      if (state_.wanted)
        plan_.waiting[group_.name] =
            not_now.empty() ? lost + ": it moves when the lease there has surely ended" : lost + "; " + not_now;
      return;
    }
    const std::string unfenced = command_rules::unfenced_owner(input_.state, input_.configuration, state_);
    if (!unfenced.empty()) {
      plan_.waiting[group_.name] = lost + "; " + unfenced;
    } else if (state_.wanted && !input_.state.shutdown) {
      start(lost);
    } else {
      release(lost, input_.state.shutdown ? "the cluster is being shut down, and it stays stopped"
                                          : "it is not wanted to run, and stays stopped");
    }
  }

 private:
  std::string owner_name() const { return input_.configuration.server_name(state_.owner); }

  /// `lost`: what became of the owner; empty if there is none.
  void start(const std::string& lost) {
    if (const std::string why = why_not_now(input_, group_, state_); !why.empty()) {
      plan_.waiting[group_.name] = lost.empty() ? why : lost + "; " + why;
      return;
    }
    if (const std::string why = why_not_yet(input_, group_, plan_); !why.empty()) {
      // Its owner must not go on with it by itself when it is back. (With a mirror it does not, and A5 needs what it named.)
      if (!lost.empty() && mirrors_of(group_).empty()) return release(lost, why);
      plan_.waiting[group_.name] = lost.empty() ? why : lost + "; " + why;
      return;
    }
    std::vector<Candidate> candidates = judge_candidates(input_, placement_, group_);
    const Candidate* chosen = choose(candidates, state_.target, home_of(group_, state_));
    if (!chosen) {
      std::string waiting = explain_waiting(group_, candidates);
      if (!planted(Plant::kWaitsSilently)) plan_.waiting[group_.name] = lost.empty() ? waiting : lost + "; " + waiting;
      return;
    }
    if (chosen->refused() && chosen->pause_left_ms > 0) {
      const std::string pause = explain_pause(group_, *chosen);
      plan_.waiting[group_.name] = lost.empty() ? pause : lost + "; " + pause;
      return;
    }
    placement_.give(group_, chosen->server);
    AssignGroup assignment = make_assignment(input_, group_, state_, *chosen);
    assignment.reason = explain_choice(candidates, *chosen, state_, !chosen->refused() && chosen->server == home_of(group_, state_));
    if (!lost.empty()) assignment.reason = lost + ": " + assignment.reason;
    assignment.failover =
        !lost.empty() || std::any_of(candidates.begin(), candidates.end(), [](const Candidate& one) { return one.refused(); });
    if (!planted(Plant::kCausesForgotten)) assignment.causes = causes(lost, candidates);
    plan_.steps.push_back({group_.name, assignment, assignment.reason});
  }

  std::vector<std::string> causes(const std::string& lost, const std::vector<Candidate>& candidates) const {
    std::vector<std::string> list;
    if (!state_.reason.empty()) {
      list.push_back(fmt::format("group {} was {}: {}", group_.name, to_string(state_.phase), state_.reason));
    }
    for (const Candidate& candidate : candidates) {
      if (candidate.refused())
        list.push_back(fmt::format("{}: it {}", candidate.name, describe_failures(candidate)));
    }
    if (!lost.empty()) {
      list.push_back(lost);
      list.push_back(fmt::format("the lease of {} has surely ended", owner_name()));
    }
    return list;
  }

  /// SAFETY: I1. The owner's lease has ended, so nothing of the group runs there; nobody else is to run it now.
  void release(const std::string& lost, const std::string& what_next) {
    SetGroupPhase stopped;
    stopped.group = group_.name;
    stopped.expected_version = state_.version;
    stopped.server = state_.owner;
    stopped.phase = GroupPhase::kStopped;
    stopped.reason = lost + ": " + what_next;
    plan_.steps.push_back({group_.name, stopped, stopped.reason});
  }

  const Input& input_;
  Placement& placement_;
  const GroupConfiguration& group_;
  const GroupState& state_;
  Plan& plan_;
};

}  // namespace

Plan make_plan(const Input& input) {
  Plan plan;
  Placement placement = placement_of(input);
  for (const GroupConfiguration& group : input.configuration.groups) {
    if (const GroupState* state = state_of(input, group.name)) GroupPlanner(input, placement, group, *state, plan).run();
  }
  if (input.state.format_level >= 2) {
    plan_departures(input, placement, plan);
    plan_ordered_stops(input, plan);
    plan_followers(input, plan);
    plan_failbacks(input, placement, plan);
    plan_standings(input, plan);
    plan_maintenance(input, plan);
  }
  plan_format_level(input, plan);
  return plan;
}

}  // namespace baton::planner
