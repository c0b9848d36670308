// Who keeps a filesystem busy: processes with a file, directory or mapping on it. Looked for on a thread of its
// own, because /proc of a stuck process can hang. The interface is for the loop's thread.
#pragma once

#include <sys/types.h>

#include <functional>
#include <string>
#include <vector>

#include "src/os/event_loop.h"

namespace baton {

struct MountUser {
  pid_t process = 0;  // 0: not a process (a mount below)
  std::string name;
  std::string how;  // "working directory", "open file /data/x", ...
};

/// Calls `callback` once, with what was found until `limit` at most. Processes in other mount namespaces are
/// found by their mapped files only.
void find_mount_users(EventLoop& loop, const std::string& mount_point, Duration limit,
                      std::function<void(std::vector<MountUser>)> callback);

/// "postgres (1234): open file /data/x; sh (99): working directory", at most eight of them.
std::string describe(const std::vector<MountUser>& users);

}  // namespace baton
