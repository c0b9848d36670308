// The answer to GET /v1/status, from what the node and the mirror daemons know. docs/api.md. One thread: the loop's.
#pragma once

#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <vector>

#include "src/core/node/node.h"
#include "src/model/failover_time.h"
#include "src/model/link_report.h"

namespace baton {

/// Since when copies are out of a mirror's in-sync set, as far as the log tells.
struct InSyncStanding {
  std::set<ServerId> members;
  std::map<ServerId, int64_t> left_ms;  // 0: not known
};

struct StatusSources {
  const node::NodeCore& node;
  ServerId self;
  Instant now;
  int64_t wall_ms = 0;
  std::string cursor;
  std::string engine_waiting;               // why corosync's group is not joined; empty: joined
  std::map<ServerId, std::vector<LinkReport>> links;  // as each server last said
  std::map<std::string, std::string> mirror_problems;  // of this server's mirror daemons, by mirror_key()
  std::vector<std::string> problems;        // of this server: disks, stores
  const std::map<ServerId, std::map<std::string, MirrorDetails>>* details = nullptr;  // as last heard
  const std::map<std::string, InSyncStanding>* in_sync_until = nullptr;               // by mirror_key()
  const UsualStarts* usual_starts = nullptr;
};

nlohmann::json status_json(const StatusSources& sources);

/// The planner's present plan for `baton plan` without a file.
nlohmann::json plan_json(const planner::Plan& plan, const Configuration& configuration);

/// The computed failover time of a group: {"expected_ms", "worst_ms", "parts": [...]}.
nlohmann::json failover_json(const Configuration& configuration, const GroupConfiguration& group,
                             const UsualStarts& usual_starts);
/// Of all groups, by name.
nlohmann::json failovers_json(const Configuration& configuration, const UsualStarts& usual_starts);

}  // namespace baton
