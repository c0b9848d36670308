// See placement.h.
#include "src/model/placement.h"

#include <fmt/ranges.h>

#include <algorithm>

#include "src/base/planted.h"
#include "src/model/command_rules.h"

namespace baton {
namespace {

bool has_rules(const GroupConfiguration& group) {
  return group.exclusive || !group.with.empty() || !group.apart_from.empty() || !group.prefer_apart_from.empty() ||
         !group.prefer_with.empty() || !group.needs.empty();
}

bool names(const std::vector<std::string>& list, const std::string& name) {
  return std::find(list.begin(), list.end(), name) != list.end();
}

/// It ends there, to stay down or to go elsewhere.
bool is_leaving(const GroupState& group) {
  const bool elsewhere = group.target != ServerId{} && group.target != group.owner;
  return group.phase == GroupPhase::kStopping || !group.wanted || elsewhere || group.parked == group.owner;
}

/// Why not beside that one; empty: it may.
std::string quarrel(const GroupConfiguration& group, const GroupConfiguration& other, bool expected) {
  const char* has = expected ? "is to have" : "has";
  if (other.exclusive) return fmt::format("{} group {} on it, which is exclusive", has, other.name);
  if (group.exclusive) return fmt::format("{} group {} on it, and group {} is exclusive", has, other.name, group.name);
  if (are_apart(group, other)) return fmt::format("{} group {} on it, from which group {} is kept apart", has, other.name, group.name);
  return "";
}

}  // namespace

bool are_apart(const GroupConfiguration& left, const GroupConfiguration& right) {
  return names(left.apart_from, right.name) || names(right.apart_from, left.name);
}

std::string describe_lack(const Amounts& needs, const Amounts& free) {
  std::vector<std::string> parts;
  for (const auto& [name, amount] : needs) {
    const auto found = free.find(name);
    const uint64_t left = found == free.end() ? 0 : found->second;
    if (left < amount)
      parts.push_back(fmt::format("it needs {} {}, {} free", amount, name, left == 0 ? "none is" : fmt::format("{} are", left)));
  }
  return fmt::format("{}", fmt::join(parts, ", and "));
}

Placement::Placement(const Configuration& configuration, const ClusterState& state) : configuration_(configuration) {
  rules_ = std::any_of(configuration.groups.begin(), configuration.groups.end(), has_rules);
  if (!rules_) return;
  for (const GroupConfiguration& group : configuration.groups) awaited_.insert(group.with.begin(), group.with.end());
  for (const GroupConfiguration& group : configuration.groups) {
    const auto found = state.groups.find(group.name);
    if (found == state.groups.end() || command_rules::is_down(found->second.phase)) continue;
    there_[found->second.owner].push_back({&group, is_leaving(found->second), false});
    if (awaited_.contains(group.name)) place_[group.name] = found->second.owner;
  }
}

void Placement::give(const GroupConfiguration& group, ServerId server) {
  if (rules_) there_[server].push_back({&group, false, false});
  if (awaited_.contains(group.name)) place_[group.name] = server;
}

void Placement::expect(const GroupConfiguration& group, ServerId server) {
  if (rules_) there_[server].push_back({&group, false, true});
}

const std::vector<Placement::Occupant>& Placement::occupants(ServerId server) const {
  static const std::vector<Occupant> kNone;
  const auto found = there_.find(server);
  return found == there_.end() ? kNone : found->second;
}

std::optional<Obstacle> Placement::obstacle(const GroupConfiguration& group, ServerId server) const {
  const auto found = conflict(group, server);
  return found || planted(Plant::kPlacementIgnored) ? found : no_company(group, server);
}

std::optional<Obstacle> Placement::conflict(const GroupConfiguration& group, ServerId server) const {
  if (!rules_ || planted(Plant::kPlacementIgnored)) return std::nullopt;
  std::optional<Obstacle> found;
  for (const Occupant& occupant : occupants(server)) {
    if (occupant.group->name == group.name) continue;
    const std::string why = quarrel(group, *occupant.group, occupant.expected);
    if (why.empty()) continue;
    // One that stays is what is said.
    if (!occupant.leaving) return Obstacle{why, fmt::format("baton group move {}", occupant.group->name), false};
    if (!found) found = Obstacle{why, fmt::format("wait until group {} has left it", occupant.group->name), true};
  }
  return found ? found : no_room(group, server);
}

std::optional<Obstacle> Placement::no_company(const GroupConfiguration& group, ServerId server) const {
  for (const std::string& name : group.with) {
    const auto place = place_.find(name);
    if (place == place_.end())
      return Obstacle{fmt::format("lacks group {}, with which group {} runs, and which is down", name, group.name),
                      fmt::format("baton group start {}", name), false};
    if (place->second != server)
      return Obstacle{fmt::format("lacks group {}, with which group {} runs, and which is on {}", name, group.name,
                                  configuration_.server_name(place->second)),
                      fmt::format("baton group move {}", name), false};
    const auto& there = occupants(server);
    const auto other = std::find_if(there.begin(), there.end(), [&](const Occupant& one) { return one.group->name == name; });
    if (other != there.end() && other->leaving)
      return Obstacle{fmt::format("is about to lack group {}, with which group {} runs", name, group.name), "", true};
  }
  return std::nullopt;
}

std::optional<Obstacle> Placement::no_room(const GroupConfiguration& group, ServerId server) const {
  const ServerConfiguration* configured = configuration_.server(server);
  if (group.needs.empty() || configured == nullptr) return std::nullopt;
  Amounts free = configured->capacity;
  Amounts later = configured->capacity;  // once those have left that are leaving
  const auto take = [](Amounts& from, const Amounts& amounts) {
    for (const auto& [name, amount] : amounts)
      if (const auto left = from.find(name); left != from.end()) left->second -= std::min(left->second, amount);
  };
  for (const Occupant& occupant : occupants(server)) {
    if (occupant.group->name == group.name) continue;
    take(free, occupant.group->needs);
    if (!occupant.leaving) take(later, occupant.group->needs);
  }
  const std::string lack = describe_lack(group.needs, free);
  if (lack.empty()) return std::nullopt;
  const std::string why = fmt::format("has no room for group {}: {}", group.name, lack);
  if (describe_lack(group.needs, later).empty()) return Obstacle{why, "wait until what leaves it has left", true};
  return Obstacle{why, fmt::format("move or stop one of the groups on {}, or raise its capacity", configured->name), false};
}

size_t Placement::count(const std::vector<std::string>& groups, ServerId server) const {
  if (groups.empty()) return 0;
  const auto& there = occupants(server);
  return static_cast<size_t>(
      std::count_if(there.begin(), there.end(), [&](const Occupant& one) { return names(groups, one.group->name); }));
}

}  // namespace baton
