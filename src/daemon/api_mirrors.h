// POST /v1/mirrors/NAME/VERB of the control API. docs/api.md. One thread: the loop's.
#pragma once

#include <string>

#include "src/daemon/daemon.h"
#include "src/daemon/http_server.h"

namespace baton {

/// Works on any server of the cluster: what one copy must do is asked of its server.
void post_mirror(Daemon& daemon, const HttpRequest& request, const std::string& name, const std::string& verb,
                 const HttpRespond& respond);

}  // namespace baton
