// The cables of a scripted cluster: every server has one into each network (an interconnect of the same place in the
// configuration, the public LAN), and single directions may be cut. Says who reaches whom, and which rings corosync
// forms of them. Deterministic, one thread.
#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "src/base/result.h"
#include "src/model/configuration.h"

namespace baton::sim {

class ScenarioNetwork {
 public:
  explicit ScenarioNetwork(const Configuration& configuration);

  /// Takes a server's cable out of a network ("interconnect1", "public"), or puts it back in.
  Status set_plugged(ServerId server, const std::string& network, bool plugged);
  /// All cables of a server. The mirror's port is no cable: a firewall stands before it.
  void set_all_plugged(ServerId server, bool plugged);
  void set_mirror_open(ServerId server, bool open);
  /// Nothing gets from `from` to `to`, in any network; or again.
  void set_way_open(ServerId from, ServerId to, bool open);
  void heal();

  /// Some network carries packets in both directions: what corosync's links need, and a mirror connect.
  bool reach(ServerId one, ServerId other) const;
  bool mirror_reach(ServerId one, ServerId other) const;
  /// The public LAN is there for this server's clients.
  bool public_plugged(ServerId server) const;

  /// Rings of those that all reach one another. Where reachability is not transitive there are several ways to form
  /// them; `turn` chooses one.
  std::vector<std::set<ServerId>> rings(const std::set<ServerId>& engines, uint64_t turn) const;
  /// Rings form again and again: some pair of `engines` is apart although both reach a third.
  bool unsettled(const std::set<ServerId>& engines) const;

 private:
  std::map<std::string, size_t> names_;
  std::map<ServerId, size_t> interconnects_;  // how many a server has
  size_t public_ = 0;
  std::set<std::pair<ServerId, size_t>> out_;
  std::set<std::pair<ServerId, ServerId>> cut_ways_;
  std::set<ServerId> mirror_closed_;
};

}  // namespace baton::sim
