// What must hold at every moment of a run; a checker throws the Violation. docs/protocol.md; the invariants are
// those of docs/architecture.md. Deterministic, one thread.
#pragma once

#include <functional>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "sim/server.h"

namespace baton::sim {

class Checkers {
 public:
  Checkers(World& world, const ClusterSettings& settings,
           const std::map<ServerId, std::unique_ptr<Server>>& servers);

  /// An entry was applied somewhere: it is committed.
  void applied(const Server& server, const node::EntryApplied& applied);
  void decided(const Server& server, const node::Decided& decided);
  /// After each step of anything.
  void stepped(const Server& server);
  /// Logs of all voters at the end.
  void at_the_end();

  size_t committed() const { return committed_.size(); }

 private:
  void check_majority(const database::Entry& entry) const;
  void check_change(const VoterSet& changed, const database::Entry& entry) const;
  void check_majority_of(const std::set<ServerId>& voters, const database::Entry& entry) const;
  void check_one_owner() const;
  void check_leader(const Server& server);

  struct Committed {
    database::Entry entry;
    Applied outcome;
    ServerId first;
  };

  World& world_;
  const ClusterSettings& settings_;
  const std::map<ServerId, std::unique_ptr<Server>>& servers_;
  std::vector<Committed> committed_;         // by index - 1
  std::map<uint64_t, ClusterState> states_;  // by index
  std::set<std::pair<ServerId, uint64_t>> requests_;
  std::set<std::pair<ServerId, uint64_t>> answered_;
  std::map<Epoch, ServerId> leaders_;
  VoterSet voters_;  // by the committed entries
};

}  // namespace baton::sim
