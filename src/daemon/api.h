// The control API's calls (docs/api.md) on top of the daemon. One thread: the loop's.
#pragma once

#include "src/daemon/daemon.h"
#include "src/daemon/http_server.h"

namespace baton {

/// Answers one request, now or later; `respond` is called exactly once.
void handle_api_request(Daemon& daemon, const HttpRequest& request, HttpRespond respond);

}  // namespace baton
