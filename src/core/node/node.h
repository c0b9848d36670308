// One server's control plane, composed from the cluster database, the lease, the planner and the groups that run
// here. Pure: run by batond and by sim/ alike. docs/protocol.md.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>

#include "src/core/database/database.h"
#include "src/core/group/group_run.h"
#include "src/core/guard/guard.h"
#include "src/core/node/lineage_gate.h"
#include "src/core/node/node_types.h"
#include "src/core/planner/planner.h"
#include "src/model/configuration.h"

namespace baton::node {

struct Settings {
  ServerId self;
  std::string founding_text;    // the TOML that `baton cluster create` was given; applied when the database is empty
  Configuration founding;       // parsed from it: voters, timing until the database says otherwise
  bool given_up = false;        // a recovery did without this server (StandDown, at an earlier start)
  bool joined = false;          // it came later: the log alone says who votes
  uint64_t start = 1;           // unique per start of this process (random)
  Instant published_lease{};    // what the lease page says at the start of this process
  Duration freeze_limit = 10s;  // after a lost lease: then the groups here are killed
};

/// How this node sees another one.
struct Peer {
  bool in_view = false;
  Departure departure = Departure::kServerDown;  // of the last time it left
  Instant absent_since{};                        // when it left the view or fell silent
  bool silent = false;                           // in the view, but its batond sends no beats
};

class NodeCore {
 public:
  NodeCore(const Settings& settings, database::StoredVoter stored, Instant now);
  ~NodeCore();

  /// What the lease page says; to be called before each step: the guard renews it meanwhile.
  void lease_page(Instant published_until);
  void step(Instant now, const Event& event, std::vector<Action>& actions);
  Instant next_tick() const;

  // What status shows; valid until the next step.
  const ClusterState& state() const;
  const database::Standing& standing() const;
  const Configuration& configuration() const;
  Instant lease_until() const;
  /// The voters by this server's log, and why (the leader knows) a change of them that is due does not begin.
  const VoterSet& voters() const;
  const std::string& voters_waiting() const;
  /// While there is no lease: when what is frozen here is ended; kNever: there is one.
  Instant freeze_ends() const;
  /// What this server's guard reported last; nullptr: it cannot be reached.
  const guard::Report* guard() const;
  /// What waits for the guard, for people; empty: nothing.
  std::string waiting_for_guard() const;
  const std::map<ServerId, Peer>& peers() const;
  const std::map<ServerId, std::map<std::string, MirrorReport>>& reports() const;
  /// The resources of a group as far as it runs here.
  const group::GroupRun* run(const std::string& group) const;
  /// Why the cluster cannot be recovered here and now, for people; empty: it can (docs/protocol.md, "Recovery").
  std::string why_not_recover() const;
  LogPosition last() const;
  ClusterState state_of_log() const;
  Epoch lineage() const;
  const LineageGate& gate() const;
  /// What the planner would do now (and why wanted groups wait), and the check of a wish before it is proposed.
  planner::Plan plan(Instant now) const;
  Status check_wish(Instant now, const WishGroup& wish) const;

 private:
  struct Implementation;
  std::unique_ptr<Implementation> implementation_;
};

}  // namespace baton::node
