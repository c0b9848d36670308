// The API's part of a recovery: what this survivor and those that it sees hold, and the word to go on. docs/api.md. One
// thread: the loop's.
#pragma once

#include "src/daemon/daemon.h"
#include "src/daemon/http_server.h"

namespace baton {

void handle_recovery(Daemon& daemon, const HttpRequest& request, const HttpRespond& respond);

}  // namespace baton
