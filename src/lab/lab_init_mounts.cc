// A member's view of the file system; see lab_init_mounts.h. Runs in a member's pid 1.
#include "src/lab/lab_init_mounts.h"

#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <cstring>
#include <vector>

#include "src/lab/lab_model.h"
#include "src/lab/lab_mounts.h"
#include "src/lab/lab_state.h"

namespace baton::lab {
namespace {

/// A mount taken in the hand before the place it was at is covered, to be put somewhere in the new view.
struct Carried {
  int tree;
  std::string target;
};

Status bind_mount(const std::string& source, const std::string& target) {
  if (mount(source.c_str(), target.c_str(), nullptr, MS_BIND, nullptr) == 0) return {};
  return fail("cannot bind {} on {}: {}", source, target, strerror(errno));
}

Status mount_new(const char* type, const std::string& target, unsigned long flags, const char* options) {
  if (mount(type, target.c_str(), type, flags, options) == 0) return {};
  return fail("cannot mount {} on {}: {}", type, target, strerror(errno));
}

Result<int> pick_up(const std::string& path, unsigned flags) {
  int tree = open_tree(AT_FDCWD, path.c_str(), OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | flags);
  if (tree < 0) return fail("cannot take hold of {}: {}", path, strerror(errno));
  return tree;
}

Status put_down(const Carried& carried) {
  if (move_mount(carried.tree, "", AT_FDCWD, carried.target.c_str(), MOVE_MOUNT_F_EMPTY_PATH) != 0) {
    return fail("cannot mount on {}: {}", carried.target, strerror(errno));
  }
  close(carried.tree);
  return {};
}

// A build tree or a working directory under /tmp, /run or /dev/shm must stay visible below the new tmpfs.
Status pick_up_covered(const std::string& path, std::vector<Carried>& carried) {
  for (const char* covered : {"/tmp/", "/run/", "/dev/shm/"}) {
    if (path.compare(0, strlen(covered), covered) != 0) continue;
    auto tree = pick_up(path, AT_RECURSIVE);
    if (!tree) return pass(tree);
    carried.push_back({*tree, path});
  }
  return {};
}

// A fresh sysfs shows this network namespace's devices; the cgroup trees keep their place.
Status renew_sys() {
  auto cgroups = pick_up("/sys/fs/cgroup", AT_RECURSIVE);
  if (!cgroups) return pass(cgroups);
  if (auto done = mount_new("sysfs", "/sys", MS_NOSUID | MS_NODEV | MS_NOEXEC, nullptr); !done) return done;
  if (auto done = put_down({*cgroups, "/sys/fs/cgroup"}); !done) return done;
  return mount_new("fusectl", "/sys/fs/fuse/connections", 0, nullptr);
}

std::string own_directory() {
  char path[PATH_MAX] = "";
  if (readlink("/proc/self/exe", path, sizeof path - 1) <= 0) return "";
  std::string text = path;
  return text.substr(0, text.rfind('/'));
}

Status bind_own_directories(const MemberView& view) {
  struct {
    std::string source;
    const char* target;
  } binds[] = {{view.directory + "/etc", "/etc/baton"},
               {view.directory + "/log", "/var/log/baton"},
               {view.directory + "/srv", "/srv"},
               {view.disk, "/var/lib/baton"},
               {std::string(kDataDirectory) + "/hosts", "/etc/hosts"}};
  for (const auto& [source, target] : binds) {
    if (access(target, F_OK) != 0 && std::string(target) == "/etc/hosts") continue;
    if (auto bound = bind_mount(source, target); !bound) return bound;
  }
  return {};
}

// Copies of the other members' disks and of the lab's own mounts came along with the host's view.
void drop_lab_mounts() {
  auto mounts = mounts_of("self");
  for (auto mount = mounts.rbegin(); mount != mounts.rend(); ++mount) {
    if (mount->point.compare(0, strlen(kRunDirectory), kRunDirectory) == 0)
      umount2(mount->point.c_str(), MNT_DETACH);
  }
}

}  // namespace

Status build_member_view(const MemberView& view) {
  if (sethostname(view.name.c_str(), view.name.size()) != 0) return fail("sethostname: {}", strerror(errno));
  if (mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) {
    return fail("cannot make the mounts private: {}", strerror(errno));
  }
  std::vector<Carried> carried;
  char working[PATH_MAX] = "";
  if (getcwd(working, sizeof working) == nullptr) working[0] = '\0';
  auto programs = own_directory();  // before /proc is the new one
  if (auto picked = pick_up_covered(programs, carried); !picked) return picked;
  if (working != programs) {
    if (auto picked = pick_up_covered(working, carried); !picked) return picked;
  }
  if (auto bound = bind_own_directories(view); !bound) return bound;
  if (chdir("/") != 0) return fail("chdir: {}", strerror(errno));
  drop_lab_mounts();
  if (auto done = mount_new("proc", "/proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, nullptr); !done) return done;
  if (auto done = renew_sys(); !done) return done;
  if (auto done = mount_new("tmpfs", "/run", MS_NOSUID | MS_NODEV, "mode=755"); !done) return done;
  if (auto done = mount_new("tmpfs", "/tmp", MS_NOSUID | MS_NODEV, "mode=1777"); !done) return done;
  if (auto done = mount_new("tmpfs", "/dev/shm", MS_NOSUID | MS_NODEV, "mode=1777"); !done) return done;
  if (mkdir("/run/lock", 01777) == 0) chmod("/run/lock", 01777);
  for (const auto& each : carried) {
    if (auto made = make_directories(each.target); !made) return made;
    if (auto put = put_down(each); !put) return put;
  }
  return {};
}

}  // namespace baton::lab
