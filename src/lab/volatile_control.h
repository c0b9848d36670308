// The control socket of a volatile disk: one command per connection, one line of JSON back. A thread of its
// own.
#pragma once

#include <string>

#include "src/lab/volatile_filesystem.h"

namespace baton::lab {

/// Listens at `path`. Returns the descriptor, or -1 with errno.
int listen_control(const std::string& path);

/// Serves connections for as long as the process lives.
[[noreturn]] void serve_control(int listener, fuse_session* session, VolatileNodes& nodes);

/// One command: "lose SEED", "full on|off", "slow MS", "eio PATH on|off", "lossy-flush PATH on|off", "stats". The answer
/// is JSON; with "error" if it failed.
std::string answer_control(const std::string& command, fuse_session* session, VolatileNodes& nodes);

}  // namespace baton::lab
