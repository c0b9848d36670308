// The control API's part about programs that scripts have supervised. docs/api.md, "Programs". One thread: the loop's.
#pragma once

#include <string>

#include "src/daemon/daemon.h"
#include "src/daemon/http_server.h"

namespace baton {

/// POST /v1/programs/ID: starts one and keeps it.
void post_program(Daemon& daemon, const HttpRequest& request, const std::string& id, const HttpRespond& respond);
/// POST /v1/programs/ID/end
void end_program(Daemon& daemon, const HttpRequest& request, const std::string& id, const HttpRespond& respond);

}  // namespace baton
