// The planner: configuration + state + what is seen of the servers -> what to do next, with reasons. A pure
// function; the epoch's leader carries the steps out, `baton plan` shows them. docs/protocol.md, "Promotion"
// and "Leases".
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "src/base/ids.h"
#include "src/base/result.h"
#include "src/model/cluster_state.h"
#include "src/model/command.h"
#include "src/model/configuration.h"
#include "src/model/mirror_report.h"
#include "src/model/placement.h"

namespace baton::planner {

/// Failures on a server after which only an operator's word sends a group there again.
inline constexpr uint32_t kMaximumAttempts = 3;

/// What the leader sees of a server.
struct ServerView {
  bool present = false;     // in the view and beating
  bool member = false;      // in the view, whether it is heard or not
  bool lease_over = false;  // absent, and its lease has surely ended, or its restart grace is over
  std::string why_absent;   // for people: "not in the membership since ..."
  uint64_t life = 0;          // of a present one: names the start of its batond; 0: not heard yet
  uint32_t format_level = 0;  // the highest that it knows; 0: not heard yet
};

/// Reports of the copies of one mirror. Those of servers that are not present are not believed.
using CopyReports = std::map<ServerId, MirrorReport>;

struct Input {
  const Configuration& configuration;
  const ClusterState& state;
  std::map<ServerId, ServerView> servers;      // a server that is missing here is absent
  std::map<std::string, CopyReports> reports;  // by mirror_key()
  uint64_t clock_ms = 0;                       // cluster time
  std::string starting = {};  // why a starting cluster still waits (startup_wait); empty: it does not
  std::optional<std::chrono::minutes> time_of_day = {};  // by the leader's clock and time zone, for failback windows
};

struct PlannedStep {
  std::string group;
  Command command;
  std::string reason;  // the same text as in the command
};

/// What is to be recorded of servers and of the whole cluster.
struct ClusterStep {
  std::string subject;  // one step at a time is under way for each: "server 1", "maintenance"
  Command command;
};

struct Plan {
  std::vector<PlannedStep> steps;  // at most one for each group
  std::vector<ClusterStep> cluster_steps;
  /// Of servers that are drained or shut down: the groups that are still there, and why.
  std::map<ServerId, std::map<std::string, std::string>> staying;
  std::map<std::string, std::string> failback;  // of groups with online failback: why they are not where their policy wants them
  std::map<std::string, std::string>
      waiting;  // why a group that is wanted is not being started, and what helps
};

/// What to do now. Deterministic; of groups that want the same place the first of the file is given it.
Plan make_plan(const Input& input);

/// Refuses a wish that cannot be fulfilled (a move to a server that could not run the group) before anything is
/// stopped for it. The error says why and what would help.
Status check_wish(const Input& input, const WishGroup& wish);

/// Why a group that is to stop in order goes on for now: what comes after it stops first. Empty: it need not.
std::string why_not_stop_yet(const Input& input, const GroupConfiguration& group);

/// A group of which something keeps failing: why it stays with its owner all the same (the breaker, or nobody else
/// could run it); empty: it is to leave.
std::string why_stay(const Input& input, const std::string& group, const std::string& cause);
/// What would be left without a server if this one ended now: a group on it, or one that has no other any more, that could not go elsewhere
/// together with the rest of them; or one that is not to be touched. Nothing: all of them could.
std::optional<Obstacle> why_not_empty(const Input& input, ServerId server);

/// The suspension under which a group is now: its own, its owner's, or the cluster's. Null: none.
const Suspension* suspension_of(const ClusterState& state, const GroupState& group);

}  // namespace baton::planner
