// The calls of the control API about maintenance: suspend, drain, shutdown, return, release. docs/api.md. One thread: the
// loop's.
#pragma once

#include <string>

#include "src/daemon/daemon.h"
#include "src/daemon/http_server.h"

namespace baton {

struct MaintenanceCall {
  std::string scope;  // "cluster", "server", "group"
  std::string name;
  std::string verb;
};
void post_maintenance(Daemon& daemon, const HttpRequest& request, const MaintenanceCall& call,
                      const HttpRespond& respond);

}  // namespace baton
