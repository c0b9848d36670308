// See choice.h and candidate.h.
#include "src/core/planner/choice.h"

#include <fmt/ranges.h>

#include <algorithm>

#include "src/model/configuration_toml.h"

namespace baton::planner {

const Candidate* find_candidate(const std::vector<Candidate>& candidates, ServerId server) {
  auto found = std::find_if(candidates.begin(), candidates.end(),
                            [&](const Candidate& candidate) { return candidate.server == server; });
  return found == candidates.end() ? nullptr : &*found;
}

std::string describe_failures(const Candidate& candidate) {
  return fmt::format("failed there {} ({})",
                     candidate.attempts == 1 ? "once" : fmt::format("{} times", candidate.attempts),
                     candidate.failure);
}

namespace {

/// One rule after the other; what they leave equal, the policy's order decides.
bool is_preferred(const Candidate& candidate, const Candidate& best) {
  if (candidate.unwelcome != best.unwelcome) return candidate.unwelcome < best.unwelcome;
  return candidate.company > best.company;
}

/// The possible one of these on which it failed least often, if it has not been given up there.
const Candidate* least_failed(const std::vector<Candidate>& candidates, bool held) {
  const Candidate* least = nullptr;
  for (const Candidate& candidate : candidates) {
    if (!candidate.possible || candidate.given_up() || candidate.held.empty() == held) continue;
    if (!least || candidate.attempts < least->attempts) least = &candidate;
  }
  return least;
}

/// Adds a help that is not said yet; "start server1, from which ..." says all of "start server1".
void add_help(std::vector<std::string>& helps, const std::string& help) {
  if (help.empty()) return;
  for (std::string& known : helps) {
    if (known == help || known.starts_with(help + ",")) return;
    if (help.starts_with(known + ",")) {
      known = help;
      return;
    }
  }
  helps.push_back(help);
}

}  // namespace

ServerId home_of(const GroupConfiguration& group, const GroupState& state) {
  if (state.placed != ServerId{}) return state.placed;
  return group.failback == Failback::kNo ? state.last : ServerId{};
}

const Candidate* choose(const std::vector<Candidate>& candidates, ServerId target, ServerId home) {
  const Candidate* wished = find_candidate(candidates, target);
  if (wished && wished->possible && !wished->refused()) return wished;
  const Candidate* stay = find_candidate(candidates, home);
  if (stay && stay->possible && !stay->refused() && stay->held.empty()) return stay;
  const Candidate* best = nullptr;
  bool others_could_come = false;
  for (const Candidate& candidate : candidates) {
    if (candidate.refused() || !candidate.held.empty()) continue;
    others_could_come = others_could_come || candidate.could_come;
    if (candidate.possible && (best == nullptr || is_preferred(candidate, *best))) best = &candidate;
  }
  if (best != nullptr) return best;
  if (others_could_come) return nullptr;
  const Candidate* least = least_failed(candidates, false);
  return least != nullptr ? least : least_failed(candidates, true);
}

std::string explain_pause(const GroupConfiguration& group, const Candidate& candidate) {
  return fmt::format("{} is tried again in {} (attempt {} of {}), it {}. What helps: remove the cause; it is tried at once with: baton "
                     "group start {}", candidate.name, format_duration(milliseconds((candidate.pause_left_ms + 999) / 1000 * 1000)),
                     candidate.attempts + 1, kMaximumAttempts, describe_failures(candidate), group.name);
}

std::string explain_waiting(const GroupConfiguration& group, const std::vector<Candidate>& candidates) {
  std::vector<std::string> obstacles;
  std::vector<std::string> helps;
  for (const Candidate& candidate : candidates) {
    if (!candidate.possible) {
      obstacles.push_back(fmt::format("{} {}", candidate.name, candidate.why_not));
      add_help(helps, candidate.help);
    } else if (!candidate.refused()) {
      obstacles.push_back(fmt::format("{} {}", candidate.name, candidate.held));
    } else {
      obstacles.push_back(fmt::format("{}: it {}", candidate.name, describe_failures(candidate)));
      if (candidate.given_up())
        add_help(helps, fmt::format("remove the cause, then: baton group start {}", group.name));
    }
  }
  std::string text = fmt::format("no server can run it now: {}", fmt::join(obstacles, "; "));
  if (!helps.empty()) text += fmt::format(". What helps: {}", fmt::join(helps, "; or "));
  return text;
}

}  // namespace baton::planner
