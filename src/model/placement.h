// Which groups may be together on a server: exclusive, with, apart_from, needs and capacity. Asked by the planner, and once more
// by every voter when a group is given to a server (docs/protocol.md, "Placement"). Pure, one thread.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "src/model/cluster_state.h"
#include "src/model/configuration.h"

namespace baton {

/// What stands in the way of a group on a server; both texts for people.
struct Obstacle {
  std::string why;  // after the server's name: "has group web on it, which is exclusive"
  std::string help;
  bool soon = false;  // whoever is in the way is leaving
};

/// Never on one server, whichever of them says so.
bool are_apart(const GroupConfiguration& left, const GroupConfiguration& right);

/// "it needs 4096 memory_mb, 2048 are free"; empty: all of it is there.
std::string describe_lack(const Amounts& needs, const Amounts& free);

class Placement {
 public:
  /// Every group that is not down is where its owner is, lost or not. Both must outlive this.
  Placement(const Configuration& configuration, const ClusterState& state);

  /// The group is given to a server.
  void give(const GroupConfiguration& group, ServerId server);
  /// The group is to come to a server; until then it is where it is.
  void expect(const GroupConfiguration& group, ServerId server);

  /// Nothing: the group may be there.
  std::optional<Obstacle> obstacle(const GroupConfiguration& group, ServerId server) const;

  /// Likewise, but for `with`: what can keep groups that run from going on beside one another.
  std::optional<Obstacle> conflict(const GroupConfiguration& group, ServerId server) const;

  /// How many of these groups are there.
  size_t count(const std::vector<std::string>& groups, ServerId server) const;

 private:
  struct Occupant {
    const GroupConfiguration* group = nullptr;
    bool leaving = false;
    bool expected = false;
  };
  const std::vector<Occupant>& occupants(ServerId server) const;
  std::optional<Obstacle> no_company(const GroupConfiguration& group, ServerId server) const;
  std::optional<Obstacle> no_room(const GroupConfiguration& group, ServerId server) const;

  const Configuration& configuration_;
  bool rules_ = false;  // the configuration has such rules
  std::map<ServerId, std::vector<Occupant>> there_;
  std::map<std::string, ServerId> place_;  // of groups that others are to be with
  std::set<std::string> awaited_;          // those groups
};

}  // namespace baton
