// What the failover policy promises, held against the committed log: reckoned from the states and entries anew, by none of the
// code that decides. docs/protocol.md, "Placement"; docs/operations.md, "Failover policy". Deterministic, one thread.
#pragma once

#include <map>
#include <set>
#include <string>

#include "src/core/database/database_types.h"
#include "src/model/cluster_state.h"
#include "src/model/configuration.h"

namespace baton::sim {

class PolicyChecker {
 public:
  /// The committed log goes on by `entry`, which applied; `after` is the state then.
  void committed(const database::Entry& entry, const ClusterState& after);
  /// The log was cut back to a backup's.
  void restored() { failed_.clear(), started_.clear(); }
  /// Could the group be on that server beside what is there?
  static bool may_join(const Configuration& configuration, const ClusterState& state, const GroupConfiguration& group, ServerId server);

 private:
  void check_places(const Configuration& configuration, const ClusterState& state) const;
  void check_order(const Configuration& configuration, const AssignGroup& assign, uint64_t index) const;
  void check_failback(const WishGroup& wish);

  std::map<std::string, std::set<ServerId>> failed_;  // group: servers on which it failed since it was up there, or somebody spoke
  std::map<std::string, uint64_t> started_;          // at which index it was last started
};

}  // namespace baton::sim
