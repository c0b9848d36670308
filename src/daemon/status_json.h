// The answer to GET /v1/status, from what the node and the mirror daemons know. docs/api.md. One thread: the loop's.
#pragma once

#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "src/core/node/node.h"
#include "src/os/link_status.h"

namespace baton {

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
};

nlohmann::json status_json(const StatusSources& sources);

/// The planner's present plan for `baton plan` without a file.
nlohmann::json plan_json(const planner::Plan& plan, const Configuration& configuration);

}  // namespace baton
