// Control groups (cgroup v2): one per supervised service, below the group batond itself runs in. Wherever v2 is
// mounted (alone at /sys/fs/cgroup, or beside v1 at /sys/fs/cgroup/unified), no controllers are needed.
// Kernel files only, none can hang. One thread: the loop's.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "src/base/result.h"
#include "src/os/event_loop.h"

namespace baton {

/// The directory of the control group this process runs in. Error: no cgroup v2 is mounted.
Result<std::string> own_control_group();

/// Where the control group of this name belongs: below our own. It need not exist.
Result<std::string> service_group_path(const std::string& name);

/// Creates the group (and parents); fine if it exists.
Status create_control_group(const std::string& path);

/// Whether any living process is in the group or below; false when there is no such group.
Result<bool> control_group_populated(const std::string& path);

/// "PID (name, state)" of each process in the group and below, for messages.
std::vector<std::string> control_group_processes(const std::string& path);

/// SIGKILL to every process in the group and below, atomically; fine if there is no such group.
Status kill_control_group(const std::string& path);

/// Removes the group and those below; fine if there is none. Error while it is populated.
Status remove_control_group(const std::string& path);

/// Calls `callback` once when the group is empty (at once, but from the loop, if it is or does not exist), or
/// with kTimeout naming what is still in it. Waits for the kernel's event, does not poll.
void wait_until_empty(EventLoop& loop, const std::string& path, Duration deadline,
                      std::function<void(Status)> callback);

/// Kills everything in the group, waits until it is empty and removes it.
void clear_control_group(EventLoop& loop, const std::string& path, Duration deadline,
                         std::function<void(Status)> callback);

}  // namespace baton
