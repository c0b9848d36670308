// The planner: configuration + state + what is seen of the servers -> what to do next, with reasons. A pure
// function; the epoch's leader carries the steps out, `baton plan` shows them. docs/protocol.md, "Promotion"
// and "Leases".
#pragma once

#include <map>
#include <string>
#include <vector>

#include "src/base/ids.h"
#include "src/base/result.h"
#include "src/model/cluster_state.h"
#include "src/model/command.h"
#include "src/model/configuration.h"
#include "src/model/mirror_report.h"

namespace baton::planner {

/// Failures on a server after which only an operator's word sends a group there again.
inline constexpr uint32_t kMaximumAttempts = 3;

/// What the leader sees of a server.
struct ServerView {
  bool present = false;     // in the view and beating
  bool lease_over = false;  // absent, and its lease has surely ended, or its restart grace is over
  std::string why_absent;   // for people: "not in the membership since ..."
};

/// Reports of the copies of one mirror. Those of servers that are not present are not believed.
using CopyReports = std::map<ServerId, MirrorReport>;

struct Input {
  const Configuration& configuration;
  const ClusterState& state;
  std::map<ServerId, ServerView> servers;      // a server that is missing here is absent
  std::map<std::string, CopyReports> reports;  // by mirror_key()
};

struct PlannedStep {
  std::string group;
  Command command;
  std::string reason;  // the same text as in the command
};

struct Plan {
  std::vector<PlannedStep> steps;  // at most one for each group
  std::map<std::string, std::string>
      waiting;  // why a group that is wanted is not being started, and what helps
};

/// What to do now. Deterministic; groups are judged independently of one another.
Plan make_plan(const Input& input);

/// Refuses a wish that cannot be fulfilled (a move to a server that could not run the group) before anything is
/// stopped for it. The error says why and what would help.
Status check_wish(const Input& input, const WishGroup& wish);

}  // namespace baton::planner
