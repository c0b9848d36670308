// The lab's cgroup v2 tree, `baton-lab/NAME` under wherever cgroup2 is mounted: every process of the lab lives
// in it, which is what makes all of them findable, freezable and killable without a state file. One thread.
#pragma once

#include <set>
#include <string>
#include <vector>

#include "src/base/result.h"
#include "src/base/time.h"

namespace baton::lab {

/// Where cgroup2 is mounted (from /proc/mounts): "/sys/fs/cgroup", or ".../unified" on a hybrid system.
Result<std::string> cgroup_mount();

/// A cgroup below `baton-lab`; the empty name is `baton-lab` itself.
class Cgroup {
 public:
  static Result<Cgroup> at(const std::string& name);

  const std::string& path() const { return path_; }
  bool exists() const;
  Status create() const;
  /// The processes in it and below it.
  std::set<pid_t> processes() const;
  /// The processes in it alone, not below.
  std::vector<pid_t> own_processes() const;
  bool populated() const;
  /// Kills all processes in it and below (frozen ones too) and waits until none is left.
  Status kill_all(Duration limit) const;
  /// Freezes or thaws everything below. Frozen also counts as reached when what is not frozen hangs in the
  /// kernel: it freezes on its way back to user space.
  Status freeze(bool on, Duration limit) const;
  /// Removes it with all that is below; REQUIRES: no process in it.
  Status remove() const;

 private:
  explicit Cgroup(std::string path) : path_(std::move(path)) {}
  bool event_is(const char* key, char value) const;
  std::string path_;
};

/// A line of /proc/PID/status, without its key; empty when there is none.
std::string process_status_field(pid_t pid, const std::string& key);

/// Names and states of processes, for messages: "postgres 4711 (D)".
std::string describe_processes(const std::set<pid_t>& pids);

}  // namespace baton::lab
