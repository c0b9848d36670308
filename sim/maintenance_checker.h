// What servers' states, maintenance and the breaker promise, held against the committed log: reckoned from the entries
// anew, by none of the code that decides. docs/protocol.md, "Servers' states". Deterministic, one thread.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "sim/server.h"
#include "src/core/database/database_types.h"

namespace baton::sim {

class MaintenanceChecker {
 public:
  using Servers = std::map<ServerId, std::unique_ptr<Server>>;
  MaintenanceChecker(World& world, const Servers& servers) : world_(world), servers_(servers) {}

  /// The committed log goes on by `entry`, which applied; `before` and `after` are the states around it.
  void committed(const database::Entry& entry, const ClusterState& before, const ClusterState& after);
  /// The log was cut back to a backup's: what is remembered of it is gone by no more.
  void restored();
  /// Now and then: who is there.
  void look();
  /// A server ends after an orderly shutdown.
  void ends(const Server& server, const node::EndServer& end) const;
  /// What of maintenance should be through when nothing has been wrong for a while; empty: all is.
  std::string unfinished(const ClusterState& state) const;

 private:
  struct Departure {  // of a group from its server because something of it kept failing
    std::string group;
    std::string cause;
    uint64_t at_ms = 0;
  };
  struct Closed {  // since when groups are not to come
    uint64_t index = 0;
    Epoch epoch;
  };
  void check_assignment(const database::Entry& entry, const AssignGroup& assign, const ClusterState& before);
  void check_departure(const SetGroupPhase& phase, const ClusterState& before);
  void check_last_owner(const SetGroupPhase& phase, const ClusterState& before) const;
  void check_stopped(const ClusterState& after) const;
  void note_closed(const database::Entry& entry, const ClusterState& after);

  World& world_;
  const Servers& servers_;
  std::vector<Departure> departures_;
  std::map<ServerId, Closed> closed_;
  std::map<ServerId, Instant> there_;  // when a server was last seen to run
  std::vector<ClusterState> recent_;   // the newest ones
};

}  // namespace baton::sim
