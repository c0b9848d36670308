// See policy_checker.h.
#include "sim/policy_checker.h"

#include <algorithm>

#include <fmt/format.h>

#include "sim/world.h"
#include "src/model/known_configuration.h"

namespace baton::sim {

namespace {

constexpr uint64_t kUnderWay = 20;  // entries that come into the log between the decision and the command's place in it

bool is_up(const GroupState& group) {
  return group.phase == GroupPhase::kStarting || group.phase == GroupPhase::kStarted || group.phase == GroupPhase::kStopping;
}

bool names(const std::vector<std::string>& list, const std::string& name) {
  return std::find(list.begin(), list.end(), name) != list.end();
}

bool may_share(const GroupConfiguration& one, const GroupConfiguration& other) {
  return !one.exclusive && !other.exclusive && !names(one.apart_from, other.name) && !names(other.apart_from, one.name);
}

}  // namespace

bool PolicyChecker::may_join(const Configuration& configuration, const ClusterState& state, const GroupConfiguration& group,
                             ServerId server) {
  return std::all_of(configuration.groups.begin(), configuration.groups.end(), [&](const GroupConfiguration& other) {
    const auto there = state.groups.find(other.name);
    const bool beside = other.name != group.name && there != state.groups.end() && is_up(there->second) && there->second.owner == server;
    return !beside || may_share(group, other);
  });
}

void PolicyChecker::committed(const database::Entry& entry, const ClusterState& after) {
  const auto configuration = known_configuration(after.configuration_text);
  if (!configuration) return;
  check_places(*configuration, after);
  for (const auto& [name, group] : after.groups)
    if (group.phase == GroupPhase::kStarted) started_[name] = entry.index;
  if (const auto* assign = std::get_if<AssignGroup>(&entry.command)) {
    check_order(*configuration, *assign, entry.index);
  } else if (const auto* wish = std::get_if<WishGroup>(&entry.command)) {
    check_failback(*wish);
  } else if (const auto* release = std::get_if<ReleaseGroup>(&entry.command)) {
    failed_.erase(release->group);
  } else if (const auto* phase = std::get_if<SetGroupPhase>(&entry.command)) {
    if (!phase->failure.empty() && !phase->interrupted) failed_[phase->group].insert(phase->server);
    if (phase->phase == GroupPhase::kStarted) failed_[phase->group].erase(phase->server);
  }
}

/// At every index: what is exclusive is alone, what is kept apart is apart.
void PolicyChecker::check_places(const Configuration& configuration, const ClusterState& state) const {
  for (const auto& group : configuration.groups) {
    const auto own = state.groups.find(group.name);
    if (own == state.groups.end() || !is_up(own->second) || may_join(configuration, state, group, own->second.owner)) continue;
    throw Violation("placement", fmt::format("group {} is on server {} beside one with which it may not be", group.name, own->second.owner));
  }
}

/// What it comes after was started when that was decided, or a moment before: it may have failed while the assignment was under way.
void PolicyChecker::check_order(const Configuration& configuration, const AssignGroup& assign, uint64_t index) const {
  const GroupConfiguration* group = configuration.group(assign.group);
  for (const std::string& name : group->start_after) {
    const auto started = started_.find(name);
    if (started == started_.end() || started->second + kUnderWay < index)
      throw Violation("order", fmt::format("group {} is started, and group {}, after which it starts, is not", assign.group, name));
  }
}

/// No ping-pong: never back by itself to where it failed.
void PolicyChecker::check_failback(const WishGroup& wish) {
  if (wish.author != kOwnAuthor) {
    failed_.erase(wish.group);
  } else if (wish.target != ServerId{} && wish.reason.find("fails back") != std::string::npos &&
             failed_[wish.group].contains(wish.target)) {
    throw Violation("failback", fmt::format("group {} is failed back to server {}, on which it failed", wish.group, wish.target));
  }
}

}  // namespace baton::sim
