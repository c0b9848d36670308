// Judges an operator's wish before anything is stopped for it.
#include <fmt/ranges.h>

#include <algorithm>

#include "src/core/planner/candidate.h"

namespace baton::planner {
namespace {

std::string known_groups(const Configuration& configuration) {
  std::vector<std::string> names;
  for (const GroupConfiguration& group : configuration.groups) names.push_back(group.name);
  return names.empty() ? "there are none" : fmt::format("there are {}", fmt::join(names, ", "));
}

std::string policy_names(const Configuration& configuration, const GroupConfiguration& group) {
  std::vector<std::string> names;
  for (ServerId server : group.servers) names.push_back(configuration.server_name(server));
  return fmt::format("{}", fmt::join(names, ", "));
}

/// What becomes of the group when the wish is refused.
std::string present_place(const Input& input, const GroupConfiguration& group) {
  const GroupState* state = state_of(input, group.name);
  if (!state || state->owner.value == 0) return "nothing was changed";
  return fmt::format("it stays on {}", input.configuration.server_name(state->owner));
}

}  // namespace

Status check_wish(const Input& input, const WishGroup& wish) {
  const Configuration& configuration = input.configuration;
  const GroupConfiguration* group = configuration.group(wish.group);
  if (!group) {
    return fail_as(ErrorCode::kNotFound, "there is no group \"{}\": {}", wish.group,
                   known_groups(configuration));
  }
  if (!wish.wanted || wish.target.value == 0) return {};
  std::string target = configuration.server_name(wish.target);
  if (std::find(group->servers.begin(), group->servers.end(), wish.target) == group->servers.end()) {
    return fail_as(ErrorCode::kInvalid, "{} cannot run group {}: its servers are {}", target, group->name,
                   policy_names(configuration, *group));
  }
  const GroupState* state = state_of(input, group->name);
  bool runs_there = state && state->owner == wish.target &&
                    (state->phase == GroupPhase::kStarting || state->phase == GroupPhase::kStarted);
  if (runs_there) return {};
  Candidate candidate = judge_candidate(input, placement_of(input), *group, wish.target);
  if (candidate.possible) return {};
  std::string help = candidate.help.empty() ? "" : ". What helps: " + candidate.help;
  return fail_as(ErrorCode::kUnavailable, "group {} cannot run on {}, which {}; {}{}", group->name, target,
                 candidate.why_not, present_place(input, *group), help);
}

}  // namespace baton::planner
