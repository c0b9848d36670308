// Loop devices that a server set up. They belong to the whole machine, so a server's death does not end them by
// itself; the lab finds which ones are the server's and sees to it that they go. One thread.
#pragma once

#include <set>
#include <string>
#include <vector>

#include "src/base/result.h"
#include "src/base/time.h"
#include "src/lab/lab_mounts.h"

namespace baton::lab {

/// The loop devices (N of /dev/loopN) that are set up, from sysfs.
std::vector<unsigned> loops_in_use();

/// Those that a server's processes hold open or have mounted, or whose backing file lies below one of
/// `directories`. To be called before the processes are killed.
std::set<unsigned> loops_of(const std::set<pid_t>& processes, const OwnMounts& mounts,
                            const std::vector<std::string>& directories);

/// Those whose backing file has died with an aborted FUSE connection: nobody else can still use them.
std::set<unsigned> dead_loops();

/// Waits until each is free by itself (autoclear) and detaches those that are not after `grace`.
Status reclaim_loops(const std::set<unsigned>& loops, Duration grace);

}  // namespace baton::lab
