// See breaker.h. Two bounds: different groups for one cause, and one group again and again.
#include "src/model/breaker.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <set>

#include "src/base/planted.h"
#include "src/model/configuration_toml.h"

namespace baton {
namespace {

bool within(const Failure& failure, uint64_t clock_ms, milliseconds window) {
  return failure.at_ms + static_cast<uint64_t>(window.count()) > clock_ms;
}

}  // namespace

std::string breaker_verdict(const ClusterState& state, const Configuration& configuration,
                            const FailureQuestion& question) {
  const auto group = state.groups.find(question.group);
  if (group != state.groups.end() && group->second.released) return "";
  if (planted(Plant::kBreakerForgets)) return "";
  const BreakerConfiguration& bounds = configuration.breaker;
  std::set<std::string> others;
  int64_t own = 0;
  for (const Failure& failure : state.failures) {
    if (!within(failure, question.clock_ms, bounds.window)) continue;
    if (failure.group == question.group) ++own;
    else if (failure.cause == question.cause) others.insert(failure.group);
  }
  if (bounds.failovers > 0 && own >= bounds.failovers)
    return fmt::format("it failed over {} times within {} already", own, format_duration(bounds.window));
  if (bounds.groups > 0 && static_cast<int64_t>(others.size()) >= bounds.groups)
    return fmt::format("{} groups were moved for a failing {} within {} already ({})", others.size(), question.cause,
                       format_duration(bounds.window), fmt::join(others, ", "));
  return "";
}

void note_failure(ClusterState& state, const Configuration& configuration, const Failure& failure) {
  std::erase_if(state.failures, [&](const Failure& known) {
    return !within(known, failure.at_ms, configuration.breaker.window);
  });
  state.failures.push_back(failure);
}

}  // namespace baton
