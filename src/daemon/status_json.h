// The answer to GET /v1/status, from what the node and the mirror daemons know. docs/api.md. One thread: the loop's.
#pragma once

#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <vector>

#include "src/core/node/node.h"
#include "src/os/link_status.h"

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
  std::vector<LinkStatus> links;            // as last read
  std::map<std::string, std::string> mirror_problems;  // of this server's mirror daemons, by mirror_key()
  std::vector<std::string> problems;        // of this server: disks, stores
  const std::map<ServerId, std::map<std::string, MirrorDetails>>* details = nullptr;  // as last heard
  const std::map<std::string, InSyncStanding>* in_sync_until = nullptr;               // by mirror_key()
};

nlohmann::json status_json(const StatusSources& sources);

/// The planner's present plan for `baton plan` without a file.
nlohmann::json plan_json(const planner::Plan& plan, const Configuration& configuration);

}  // namespace baton
