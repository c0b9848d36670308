// `down`: see lab_lifecycle.h. One thread.
#include <signal.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <sstream>

#include "src/lab/lab_lifecycle.h"
#include "src/lab/lab_loops.h"
#include "src/lab/lab_mounts.h"
#include "src/lab/lab_places.h"
#include "src/lab/lab_power.h"
#include "src/lab/lab_state.h"

namespace baton::lab {
namespace fs = std::filesystem;
namespace {

std::vector<Cgroup> member_cgroups(const Cgroup& root) {
  std::vector<Cgroup> cgroups;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(root.path(), error)) {
    if (!entry.is_directory(error)) continue;
    if (auto cgroup = Cgroup::at(entry.path().filename().string())) cgroups.push_back(*cgroup);
  }
  return cgroups;
}

Status remove_tree(const std::string& path) {
  std::error_code error;
  fs::remove_all(path, error);
  if (error) return fail("cannot remove {}: {}", path, error.message());
  return {};
}

}  // namespace

Status clear_away() {
  auto root = Cgroup::at("");
  if (!root) return pass(root);
  std::set<pid_t> processes = root->processes();
  std::set<pid_t> inits;
  for (const auto& cgroup : member_cgroups(*root)) {
    processes.merge(processes_of(cgroup));
    if (pid_t init = find_init(cgroup); init != 0) inits.insert(init);
  }
  auto mounts = own_mounts(processes);
  auto loops = loops_of(processes, mounts, {kDataDirectory, kRunDirectory});
  auto connections = fuse_connections_below(kRunDirectory);
  connections.insert(mounts.fuse_connections.begin(), mounts.fuse_connections.end());
  auto aborted = abort_fuse(connections);
  for (pid_t init : inits) kill(init, SIGKILL);
  if (auto killed = root->kill_all(20s); !killed) return killed;
  if (!aborted) return aborted;
  if (!connections.empty()) loops.merge(dead_loops());
  if (auto reclaimed = reclaim_loops(loops, 3s); !reclaimed) return reclaimed;
  for (const char* directory : {kRunDirectory, kDataDirectory}) {
    if (auto unmounted = unmount_below(directory); !unmounted) return unmounted;
  }
  if (auto removed = root->remove(); !removed) return removed;
  remove_created_places();
  for (const char* directory : {kRunDirectory, kDataDirectory}) {
    if (auto removed = remove_tree(directory); !removed) return removed;
  }
  return {};
}

}  // namespace baton::lab
