// Mounts and FUSE connections; see lab_mounts.h. One thread.
#include "src/lab/lab_mounts.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <sstream>

#include "src/lab/lab_wait.h"

namespace baton::lab {
namespace {

constexpr unsigned kLoopMajor = 7;

std::string unescape(const std::string& text) {
  std::string out;
  for (size_t i = 0; i < text.size(); i++) {
    if (text[i] == '\\' && i + 3 < text.size()) {
      out += char(std::stoi(text.substr(i + 1, 3), nullptr, 8));
      i += 3;
    } else {
      out += text[i];
    }
  }
  return out;
}

bool is_fuse(const Mount& mount) {
  return mount.major == 0 && mount.type != "fusectl" && mount.type.compare(0, 4, "fuse") == 0;
}

bool is_below(const std::string& path, const std::string& directory) {
  return path == directory || path.compare(0, directory.size() + 1, directory + "/") == 0;
}

// In a child with a mount namespace of its own: the host may have no fusectl mounted.
int abort_in_child(const std::set<unsigned>& connections) {
  const char* where = "/sys/fs/fuse/connections";
  if (unshare(CLONE_NEWNS) != 0 || mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0)
    return errno;
  if (mount("fusectl", where, "fusectl", 0, nullptr) != 0 && errno != EBUSY) return errno;
  int result = 0;
  for (unsigned minor : connections) {
    auto path = fmt::format("{}/{}/abort", where, minor);
    int descriptor = open(path.c_str(), O_WRONLY | O_CLOEXEC);
    if (descriptor < 0) {
      if (errno != ENOENT) result = errno;  // gone already is as good
      continue;
    }
    if (write(descriptor, "1", 1) != 1) result = errno;
    close(descriptor);
  }
  return result;
}

}  // namespace

Mount parse_mountinfo_line(const std::string& line) {
  // 36 35 98:0 /root /point options optional... - type source super-options
  Mount mount;
  std::istringstream fields(line);
  std::string id, parent, device, root, point, word;
  fields >> id >> parent >> device >> root >> point;
  while (fields >> word && word != "-") {
  }
  std::string type;
  if (!(fields >> type)) return mount;
  fields >> mount.source;
  if (sscanf(device.c_str(), "%u:%u", &mount.major, &mount.minor) != 2) return mount;
  mount.point = unescape(point);
  mount.type = type;
  return mount;
}

std::vector<Mount> mounts_of(const std::string& pid) {
  std::ifstream file("/proc/" + pid + "/mountinfo");
  std::vector<Mount> mounts;
  std::string line;
  while (std::getline(file, line)) {
    auto mount = parse_mountinfo_line(line);
    if (!mount.type.empty()) mounts.push_back(std::move(mount));
  }
  return mounts;
}

OwnMounts own_mounts(const std::set<pid_t>& processes) {
  OwnMounts own;
  std::set<std::string> seen_namespaces;
  auto collect = [](const std::vector<Mount>& mounts, OwnMounts& into) {
    for (const auto& mount : mounts) {
      if (is_fuse(mount)) into.fuse_connections.insert(mount.minor);
      if (mount.major == kLoopMajor) into.loops.insert(mount.minor);
    }
  };
  for (pid_t pid : processes) {
    char space[64] = "";
    auto link = fmt::format("/proc/{}/ns/mnt", pid);
    if (readlink(link.c_str(), space, sizeof space - 1) <= 0) continue;
    if (!seen_namespaces.insert(space).second) continue;
    collect(mounts_of(std::to_string(pid)), own);
  }
  OwnMounts host;
  collect(mounts_of("self"), host);
  for (unsigned minor : host.fuse_connections) own.fuse_connections.erase(minor);
  for (unsigned loop : host.loops) own.loops.erase(loop);
  return own;
}

Status abort_fuse(const std::set<unsigned>& connections) {
  if (connections.empty()) return {};
  pid_t child = fork();
  if (child < 0) return fail("cannot fork to abort FUSE connections: {}", strerror(errno));
  if (child == 0) _exit(abort_in_child(connections));
  int status = 0;
  auto waited =
      wait_until("FUSE connections to abort", 5s, [&] { return waitpid(child, &status, WNOHANG) == child; });
  if (!waited) return waited;
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return {};
  return fail("cannot abort FUSE connections: {}",
              WIFEXITED(status) ? strerror(WEXITSTATUS(status)) : "killed");
}

std::set<unsigned> fuse_connections_below(const std::string& directory) {
  std::set<unsigned> connections;
  for (const auto& mount : mounts_of("self")) {
    if (is_fuse(mount) && is_below(mount.point, directory)) connections.insert(mount.minor);
  }
  return connections;
}

Status unmount_below(const std::string& directory) {
  auto mounts = mounts_of("self");
  for (auto mount = mounts.rbegin(); mount != mounts.rend(); ++mount) {
    if (!is_below(mount->point, directory)) continue;
    if (umount2(mount->point.c_str(), MNT_DETACH | UMOUNT_NOFOLLOW) != 0 && errno != EINVAL &&
        errno != ENOENT) {
      return fail("cannot unmount {}: {}", mount->point, strerror(errno));
    }
  }
  for (const auto& mount : mounts_of("self")) {
    if (is_below(mount.point, directory)) return fail("{} is still mounted", mount.point);
  }
  return {};
}

}  // namespace baton::lab
