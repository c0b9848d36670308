// See planned_failback.h.
#include "src/core/planner/planned_failback.h"

#include <fmt/ranges.h>

#include <algorithm>

#include "src/base/planted.h"
#include "src/core/planner/candidate.h"
#include "src/core/planner/planned_maintenance.h"

namespace baton::planner {
namespace {

/// For so long a group is not failed back to a server on which it failed, unless somebody says otherwise.
constexpr uint64_t kFailureRemembered = 24 * 3600'000;

/// It runs, and nobody else is about to do something about it.
bool is_settled(const Input& input, const GroupState& state) {
  const ServerState& owner = input.state.server(state.owner);
  return state.phase == GroupPhase::kStarted && state.wanted && !state.asked && state.target == ServerId{} && state.parked == ServerId{} &&
         state.held.empty() && view_of(input, state.owner).present && !owner.drain && !owner.shutdown &&
         suspension_of(input.state, state) == nullptr;
}

bool has_failed_there(const Input& input, const GroupState& state, ServerId server) {
  const auto failed = state.failed_on.find(server);
  return failed != state.failed_on.end() && input.clock_ms < failed->second + kFailureRemembered && !planted(Plant::kFailbackForgets);
}

/// Why a running group is not moved there; empty: it may be. Nothing is risked for the better place.
std::string why_not_back(const Input& input, const GroupConfiguration& group, const GroupState& state, const Candidate& candidate) {
  if (!candidate.possible) return candidate.why_not;
  if (!candidate.held.empty()) return candidate.held;
  if (candidate.alone) return "would go on alone with its data: the copies are not in sync";
  if (!candidate.loss.empty()) return fmt::format("may lack {}", candidate.loss);
  if (has_failed_there(input, state, candidate.server) || candidate.refused())
    return fmt::format(
        "is where it failed: it is failed back there a day after that, or once an operator says so (baton group move {} {}; or "
        "baton group start {})",
        group.name, candidate.name, group.name);
  return "";
}

class FailbackPlanner {
 public:
  FailbackPlanner(const Input& input, Placement& placement, Plan& plan)
      : input_(input), placement_(placement), plan_(plan), busy_(something_moves(input, plan)) {}

  void run(const GroupConfiguration& group, const GroupState& state) {
    if (state.owner == group.servers.front() || !is_settled(input_, state)) return;
    if (state.placed == state.owner)
      return stays(group, "an operator has moved it here; back to its policy: baton group start " + group.name);
    std::vector<Candidate> candidates = judge_candidates(input_, placement_, group);
    std::vector<std::string> obstacles;
    for (Candidate& candidate : candidates) {
      if (candidate.server == state.owner) break;
      const std::string why = why_not_back(input_, group, state, candidate);
      if (!why.empty()) obstacles.push_back(fmt::format("{} {}", candidate.name, why));
      candidate.possible = candidate.possible && why.empty();
      candidate.could_come = false;
    }
    const Candidate* chosen = choose(candidates, ServerId{});
    if (chosen == nullptr || !is_earlier(group, chosen->server, state.owner)) {
      if (!obstacles.empty()) stays(group, fmt::format("{}", fmt::join(obstacles, "; ")));
    } else if (!is_open(group)) {
      stays(group, fmt::format("not before its failback_window ({}), then to {}", to_string(*group.failback_window), chosen->name));
    } else if (busy_) {
      stays(group, fmt::format("not before another group has arrived, then to {}", chosen->name));
    } else {
      move(group, state, *chosen);
    }
  }

 private:
  static bool is_earlier(const GroupConfiguration& group, ServerId server, ServerId owner) {
    const auto first =
        std::find_if(group.servers.begin(), group.servers.end(), [&](ServerId one) { return one == server || one == owner; });
    return server != owner && first != group.servers.end() && *first == server;
  }

  bool is_open(const GroupConfiguration& group) const {
    return !group.failback_window || (input_.time_of_day && group.failback_window->contains(*input_.time_of_day));
  }

  void stays(const GroupConfiguration& group, const std::string& why) { plan_.failback[group.name] = why; }

  void move(const GroupConfiguration& group, const GroupState& state, const Candidate& chosen) {
    busy_ = true;
    placement_.expect(group, chosen.server);
    const std::string reason = fmt::format("{}, which comes before {} in its policy, can run it again: it fails back", chosen.name,
                                           input_.configuration.server_name(state.owner));
    WishGroup wish{group.name, state.version, true, chosen.server, reason, kOwnAuthor, {}};
    plan_.steps.push_back({group.name, wish, reason});
  }

  const Input& input_;
  Placement& placement_;
  Plan& plan_;
  bool busy_;
};

}  // namespace

void plan_failbacks(const Input& input, Placement& placement, Plan& plan) {
  if (input.state.shutdown || !input.starting.empty()) return;
  FailbackPlanner failback(input, placement, plan);
  for (const GroupConfiguration& group : input.configuration.groups) {
    if (group.failback != Failback::kOnline || group.servers.empty()) continue;
    if (const GroupState* state = state_of(input, group.name)) failback.run(group, *state);
  }
}

}  // namespace baton::planner
