// The calls of the control API that let servers join and leave. docs/api.md. One thread: the loop's.
#pragma once

#include "src/daemon/daemon.h"
#include "src/daemon/http_server.h"

namespace baton {

/// POST /v1/cluster/token, /v1/cluster/remove.
void post_cluster(Daemon& daemon, const HttpRequest& request, const std::string& verb, const HttpRespond& respond);

}  // namespace baton
