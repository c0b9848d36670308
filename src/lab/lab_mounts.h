// Mounts as /proc/PID/mountinfo tells them, the FUSE connections behind them, and how to end both without
// hanging. One thread.
#pragma once

#include <set>
#include <string>
#include <vector>

#include "src/base/result.h"

namespace baton::lab {

struct Mount {
  unsigned major = 0;
  unsigned minor = 0;
  std::string point;  // with its octal escapes resolved
  std::string type;
  std::string source;
};

/// One line of mountinfo; an empty type when it cannot be read.
Mount parse_mountinfo_line(const std::string& line);
/// What a process sees; empty when it has gone.
std::vector<Mount> mounts_of(const std::string& pid);

/// What tells a server's own mounts from those that it merely inherited.
struct OwnMounts {
  std::set<unsigned> fuse_connections;  // device minors, as under /sys/fs/fuse/connections
  std::set<unsigned> loops;             // N of /dev/loopN
};

/// The FUSE connections and loop devices mounted in the processes' mount namespaces, minus those mounted in the
/// caller's own (the host's, among them the volatile disks).
OwnMounts own_mounts(const std::set<pid_t>& processes);

/// Aborts FUSE connections: whoever waits for them gets an error at once. Through a private mount of fusectl.
Status abort_fuse(const std::set<unsigned>& connections);

/// The FUSE connections that the host itself has mounted below a directory (the volatile disks).
std::set<unsigned> fuse_connections_below(const std::string& directory);

/// Detaches every mount at or below a directory, the last one first, and makes sure that none is left.
Status unmount_below(const std::string& directory);

}  // namespace baton::lab
