// I6: in a cluster that is well but for one group, which fails or hangs, another group is moved. It must not take longer
// than its own steps. Deterministic, one thread.
#include <algorithm>

#include "sim/cluster.h"

namespace baton::sim {

namespace {
/// A move's steps take at most 900 ms each, four to stop and four to start; what hangs, hangs until it is cured.
constexpr Duration kMoveLimit = 9s;
/// Two checks, the second within a second after the first.
constexpr Duration kFoundLimit = 5s;
}  // namespace

/// One that is started, has another server to go to, and is not `other_than`; empty: there is none.
std::string Cluster::some_group(const std::string& other_than) {
  std::vector<std::string> fit;
  for (const auto& [name, group] : checkers_->state().groups)
    if (name != other_than && group.wanted && group.phase == GroupPhase::kStarted) fit.push_back(name);
  return fit.empty() ? "" : fit[random_.below(fit.size())];
}

uint64_t Cluster::found_failed() const {
  uint64_t count = 0;
  for (const auto& [id, server] : servers_) count += server->found_failed();
  return count;
}

void Cluster::sick_round() {
  recover("nothing was wrong but a group");
  Server& server = *servers_.at(ids_[random_.below(ids_.size())]);
  const std::string sick = some_group("");
  const std::string other = some_group(sick);
  if (sick.empty() || other.empty()) return run_until(world_.now() + 1s);
  static constexpr Sickness kKinds[] = {Sickness::kStartFails, Sickness::kStartHangs, Sickness::kStopHangs,
                                        Sickness::kEverythingHangs, Sickness::kEverythingHangs, Sickness::kNotChecked,
                                        Sickness::kDoesNoWork, Sickness::kDoesNoWork};
  const bool monitored = !settings_.configuration.group(sick)->monitors.empty();
  const uint64_t kind = random_.below(monitored ? std::size(kKinds) : 5);
  const uint64_t found_before = found_failed();
  const Instant begun = world_.now();
  world_.count("group ill");
  world_.say("sim", "group {} is ill everywhere ({})", sick, kind);
  for (auto& [id, each] : servers_) each->set_sick(sick, kKinds[kind]);
  if (kKinds[kind] == Sickness::kDoesNoWork) {
    // Its monitor finds it.
  } else if (random_.chance(0.5)) {
    const ServerId owner = checkers_->state().groups.at(sick).owner;
    servers_.at(owner)->fail_resource(sick, settings_.configuration.group(sick)->resources.front().name);
  } else {
    operator_->want(server, sick, false);
  }
  run_until(world_.now() + random_.between(1ms, 3s));
  const auto& policy = server.node().configuration().group(other)->servers;
  const ServerId from = checkers_->state().groups.at(other).owner;
  const auto target = std::find_if(policy.begin(), policy.end(), [&](ServerId each) { return each != from; });
  if (target != policy.end()) {
    operator_->move(server, other, *target);
    const Instant limit = world_.now() + kMoveLimit;
    const auto there = [&] {
      const auto& group = checkers_->state().groups.at(other);
      return group.owner == *target && group.phase == GroupPhase::kStarted;
    };
    while (!there() && world_.now() < limit) run_until(world_.now() + 50ms);
    if (!there())
      throw Violation("independent groups", fmt::format("group {} has not moved to server {} within {} s while group {} is ill",
                                                        other, *target, kMoveLimit / 1s, sick));
  }
  if (kKinds[kind] == Sickness::kDoesNoWork) {
    run_until(std::max(world_.now(), begun + kFoundLimit));
    if (found_failed() == found_before)
      throw Violation("monitor", fmt::format("group {} has done no work for {} s, and its monitor has not found it", sick,
                                             kFoundLimit / 1s));
  }
  for (auto& [id, each] : servers_) each->cure();
  operator_->want(server, sick, true);
}

}  // namespace baton::sim
