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
  size_t most_entries = database::Settings{}.append_entries;  // of the cluster database in one message
};

/// How this node sees another one.
struct Peer {
  bool in_view = false;
  Departure departure = Departure::kServerDown;  // of the last time it left
  Instant absent_since{};                        // when it left the view or fell silent
  bool silent = false;                           // in the view, but its batond sends no beats
  uint64_t life = 0;                             // the start of its batond, as its beats say in this view; 0: none yet
  uint32_t format_level = 0;                     // the highest that it knows, likewise
};

/// What it means that this server, of two, decides alone from now on (docs/protocol.md, W1).
struct TakeoverOffer {
  TakeOver command;
  uint64_t version = 0;             // of what was looked at
  std::vector<std::string> facts;   // for the operator, a sentence each
  bool loses = false;               // a copy here may lack what was answered
};

class NodeCore {
 public:
  NodeCore(const Settings& settings, database::StoredVoter stored, Instant now);
  ~NodeCore();

  /// What the lease page says; to be called before each step: the guard renews it meanwhile.
  void lease_page(Instant published_until);
  /// Since midnight, by this server's clock and time zone: for failback windows only. To be called before each step.
  void time_of_day(std::chrono::minutes time);
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
  /// By this server's log an operator lets it decide alone, and the other one does not vote again yet.
  bool taken_over() const;
  /// Why this server cannot be let go on alone now, or what that would mean.
  Result<TakeoverOffer> offer_takeover(Instant now, const std::string& author) const;
  /// The lock on the disk that two servers have in common, and what people should know of it (empty: nothing).
  const arbiter::DiskLock& disk_lock() const;
  /// Why that device must not be prepared (anew) as such a disk now; empty: it may.
  std::string why_not_prepare_disk(Instant now, const std::string& device) const;
  std::string disk_standing() const;
  /// The ping targets of two servers, likewise.
  const arbiter::PingWatch& ping() const;
  std::string ping_standing() const;
  /// Why nothing is decided here, and who can change that; empty: it serves.
  std::string partition_waiting(Instant now) const;
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
  std::string why_not_recover(Instant now) const;
  /// Whom it would give up: configured, or a voter, and not here.
  std::set<ServerId> lost() const;
  LogPosition last() const;
  int64_t newest_wall_ms() const;
  /// By all that is on this server's disk, committed or not.
  ClusterState state_on_disk() const;
  Configuration configuration_on_disk() const;
  Epoch lineage() const;
  const LineageGate& gate() const;
  /// What the planner would do now (and why wanted groups wait), and the check of a wish before it is proposed.
  planner::Plan plan(Instant now) const;
  Status check_wish(Instant now, const WishGroup& wish) const;
  /// Cluster time (docs/protocol.md, "Cluster time"): what commands from people are stamped with.
  uint64_t cluster_time(Instant now) const;
  /// What a change of the cluster's keys waits for; empty: nothing, or there is none.
  std::string keys_waiting(Instant now) const;
  /// The keys of this server, as it said last.
  const KeysReported* keys() const;
  /// Why a starting cluster still waits; empty: it does not.
  std::string starting(Instant now) const;

 private:
  struct Implementation;
  std::unique_ptr<Implementation> implementation_;
};

}  // namespace baton::node
