// What must hold at every moment of a run; a checker throws the Violation. docs/protocol.md; the invariants are
// those of docs/architecture.md. Deterministic, one thread.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "sim/maintenance_checker.h"
#include "sim/mirror_truth.h"
#include "sim/policy_checker.h"
#include "sim/request_history.h"
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
  void stepped(Server& server);
  /// Now and then: whoever waits says for what (I5).
  void look_at_waits();
  /// Logs of all voters at the end, and nothing up where it does not belong.
  void at_the_end() const;
  /// What is not as it should be when nothing has been wrong for a while; empty: all is well.
  std::string why_not_well() const;

  /// Everything that anybody has applied is in this log.
  bool holds_all(const std::vector<database::Entry>& log) const;
  size_t committed() const { return committed_.size(); }
  std::vector<database::Entry> log() const;
  /// A person begins with a backup that ends so: what was committed later is given up, and all copies lost power together.
  void restored(const std::vector<database::Entry>& backup);
  const ClusterState& state() const { return reference_; }
  MirrorTruth& truth() { return truth_; }
  const MirrorTruth& truth_seen() const { return truth_; }
  uint64_t answers() const { return history_.answers(); }
  RequestHistory& history() { return history_; }
  MaintenanceChecker& maintenance() { return maintenance_; }

 private:
  void check_majority(const Server& leader, const database::Entry& entry) const;
  void check_change(const VoterSet& changed, const database::Entry& entry) const;
  void check_right(const Server& server);
  void check_end_before(const TakeOver& takeover, const database::Entry& entry) const;
  ServerId taken_over_at(const Server& server, uint64_t index) const;
  void check_majority_of(const std::set<ServerId>& voters, const database::Entry& entry) const;
  void newly_committed(const database::Entry& entry, const Applied& outcome);
  void check_reason(const database::Entry& entry, const ClusterState& before) const;
  void count_refused(const database::Entry& entry) const;
  void check_np(const database::Entry& entry, const ClusterState& before) const;
  void check_one_owner() const;
  void check_leader(const Server& server);
  void check_state(const Server& server);
  void check_waiting(const Server& server);
  std::string residue() const;
  std::string unfinished_keys() const;
  std::string why_waiting(const std::string& name) const;
  bool waits_for_others(const std::string& name) const;
  std::string incomplete_group(const std::string& name, const GroupState& group) const;
  std::string incomplete_mirrors() const;

  struct Committed {
    database::Entry entry;
    Applied outcome;
    ServerId first;
  };

  World& world_;
  const ClusterSettings& settings_;
  const std::map<ServerId, std::unique_ptr<Server>>& servers_;
  std::vector<Committed> committed_;         // by index - 1
  ClusterState reference_;                   // after all of them, reckoned once more
  std::map<uint64_t, ClusterState> states_;  // by index: the newest ones
  std::map<ServerId, std::pair<uint64_t, uint64_t>> compared_;  // batond's start and its index
  struct Stalled {
    uint64_t start = 0;
    uint64_t version = 0;
    bool operator==(const Stalled&) const = default;
  };
  std::map<std::pair<ServerId, std::string>, Stalled> stalled_;  // groups seen to wait for nothing
  MirrorTruth truth_;
  RequestHistory history_;
  MaintenanceChecker maintenance_;
  PolicyChecker policy_;
  std::vector<std::pair<std::string, std::string>> exclusive_;  // group, resource: what serves at one place only
  std::set<std::pair<ServerId, uint64_t>> requests_;
  std::set<std::pair<ServerId, uint64_t>> answered_;
  std::map<Epoch, ServerId> leaders_;
  VoterSet voters_;  // by the committed entries
  struct Right {
    uint64_t boot = 0;
    uint64_t long_gaps = 0;
    bool operator==(const Right&) const = default;
  };
  static Right right_now(const Server& server);
  std::map<ServerId, Right> rights_;  // when a server was let decide alone, or agreed with the other one
  std::map<ServerId, std::pair<uint64_t, bool>> known_alone_;  // the start of its batond, and whether it decided alone by its log
  std::map<ServerId, bool> heard_target_;  // ... and when that began: had a ping target answered since the loss?
};

}  // namespace baton::sim
