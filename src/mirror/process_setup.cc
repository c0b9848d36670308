// Memory pressure may write pages back to the very disk that we serve: we must never wait for that.
#include "src/mirror/process_setup.h"

#include <malloc.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <fstream>
#include <sstream>

#include "src/os/owned_fd.h"

namespace baton::mirror {

/// A mount namespace without the filesystems that stand on mirrors. As the last process of one that has them, this one
/// would have to unmount at its end, and so wait for a disk that it no longer serves, for ever.
std::string leave_users_of_mirrors() {
  if (unshare(CLONE_NEWNS) != 0) return "a mount namespace of its own: " + errno_text();
  if (mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) return "private mounts: " + errno_text();
  std::ifstream table("/proc/self/mountinfo");
  std::vector<std::string> on_loop_devices;
  for (std::string line; std::getline(table, line);) {
    std::istringstream fields(line);
    std::string number, parent, device, root, mount_point;
    fields >> number >> parent >> device >> root >> mount_point;
    if (device.starts_with("7:")) on_loop_devices.push_back(mount_point);
  }
  for (auto at = on_loop_devices.rbegin(); at != on_loop_devices.rend(); ++at) umount2(at->c_str(), MNT_DETACH);
  return "";
}

std::vector<std::string> set_up_process() {
  std::vector<std::string> missing;
  if (std::string wrong = leave_users_of_mirrors(); !wrong.empty()) missing.push_back(std::move(wrong));
  setsid();  // refused when batond made the session already
  signal(SIGPIPE, SIG_IGN);
  signal(SIGHUP, SIG_IGN);
  mallopt(M_ARENA_MAX, 1);
  mallopt(M_TRIM_THRESHOLD, 256 << 20);
  rlimit files{4096, 4096};
  if (setrlimit(RLIMIT_NOFILE, &files) != 0) missing.push_back("descriptors: " + errno_text());
  if (!(std::ofstream("/proc/self/oom_score_adj") << "-1000" << std::flush)) {
    missing.push_back("protection from the out-of-memory killer");
  }
#ifdef PR_SET_IO_FLUSHER
  if (prctl(PR_SET_IO_FLUSHER, 1, 0, 0, 0) != 0) missing.push_back("PR_SET_IO_FLUSHER: " + errno_text());
#endif
  if (mlockall(MCL_CURRENT | MCL_FUTURE) != 0) missing.push_back("locked memory: " + errno_text());
  return missing;
}

}  // namespace baton::mirror
