// What a person asks for servers, groups and the cluster as a whole, made into a command or refused with the reason and
// what would help. Pure; used by the API and by scenarios alike. docs/operations.md, "Maintenance".
#pragma once

#include <string>

#include "src/base/result.h"
#include "src/core/node/node.h"

namespace baton::node {

struct MaintenanceWish {
  std::string scope;  // "cluster", "server", "group"
  std::string name;   // of the server or group
  std::string verb;   // suspend, resume; server: drain, undrain, return; server and cluster: shutdown, cancel; group: release
  std::string author;
  std::string reason;
  Duration lasts{};   // of a suspension; 0: until resumed
  bool move = true;   // shutdown of a server: groups move where they can
  Afterwards afterwards = Afterwards::kNothing;
  Duration limit = 300s;  // of a shutdown: then what has not moved is stopped
};

/// kNotFound, kInvalid or kConflict if it makes no sense now.
Result<Command> make_maintenance(const NodeCore& node, Instant now, const MaintenanceWish& wish);

}  // namespace baton::node
