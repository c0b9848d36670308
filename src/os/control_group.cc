// See control_group.h. The end of a group comes as an inotify event on its cgroup.events file.
#include "src/os/control_group.h"

#include <dirent.h>
#include <sys/inotify.h>
#include <sys/stat.h>

#include <memory>
#include <sstream>

#include "src/os/file_text.h"
#include "src/os/mount_table.h"
#include "src/os/owned_fd.h"

namespace baton {

namespace {

std::vector<std::string> subdirectories(const std::string& path) {
  std::vector<std::string> names;
  std::unique_ptr<DIR, int (*)(DIR*)> directory(::opendir(path.c_str()), &::closedir);
  while (dirent* entry = directory ? ::readdir(directory.get()) : nullptr) {
    if (entry->d_type == DT_DIR && entry->d_name[0] != '.') names.push_back(path + "/" + entry->d_name);
  }
  return names;
}

/// "0::/path" of /proc/self/cgroup.
Result<std::string> own_path_in_hierarchy() {
  auto text = read_text_file("/proc/self/cgroup");
  if (!text) return pass(text);
  std::istringstream lines(*text);
  std::string line;
  while (std::getline(lines, line)) {
    if (line.starts_with("0::")) return line.substr(3);
  }
  return fail("this process is in no cgroup v2 group: start the system with cgroup v2 (or the hybrid mode)");
}

std::string process_text(const std::string& pid) {
  auto text = read_text_file("/proc/" + pid + "/stat");
  if (!text) return pid;
  size_t open = text->find('('), close = text->rfind(')');
  if (open == std::string::npos || close == std::string::npos || close + 2 >= text->size()) return pid;
  return fmt::format("{} ({}, state {})", pid, text->substr(open + 1, close - open - 1), (*text)[close + 2]);
}

/// One wait for an empty group; lives in its own callbacks until it has reported.
struct EmptyWait : std::enable_shared_from_this<EmptyWait> {
  EmptyWait(std::string the_path, std::function<void(Status)> the_callback)
      : path(std::move(the_path)), callback(std::move(the_callback)) {}

  void start(EventLoop& loop, Duration deadline) {
    auto self = shared_from_this();
    limit = deadline;
    inotify = OwnedFd(::inotify_init1(IN_CLOEXEC | IN_NONBLOCK));
    timer = loop.after(deadline, [self] { self->give_up(); });
    if (inotify && ::inotify_add_watch(inotify.get(), (path + "/cgroup.events").c_str(), IN_MODIFY) >= 0) {
      watch = loop.watch_readable(inotify.get(), [self] { self->look(); });
    }
    loop.post([self] { self->look(); });  // after the watch stands, so that no event falls between
  }

  void look() {
    char events[4096];
    while (::read(inotify.get(), events, sizeof events) > 0) continue;
    auto populated = control_group_populated(path);
    if (!populated) return report(pass(populated));
    if (!*populated) report({});
  }

  void give_up() {
    report(fail_as(ErrorCode::kTimeout, "control group {} is not empty after {} ms; still in it: {}", path,
                   to_ms(limit), fmt::join(control_group_processes(path), ", ")));
  }

  void report(Status status) {
    auto self = shared_from_this();
    watch.cancel();
    timer.cancel();
    auto once = std::move(callback);
    callback = nullptr;
    if (once) once(std::move(status));
  }

  std::string path;
  std::function<void(Status)> callback;
  Duration limit{};
  OwnedFd inotify;
  EventLoop::Handle watch, timer;
};

}  // namespace

Result<std::string> own_control_group() {
  auto path = own_path_in_hierarchy();
  if (!path) return pass(path);
  auto table = read_mount_table();
  if (!table) return pass(table);
  for (const auto& mount : *table) {
    if (mount.type != "cgroup2") continue;
    std::string below = *path;
    if (mount.root != "/" && below.starts_with(mount.root)) below.erase(0, mount.root.size());
    const std::string directory = tidy_path(mount.mount_point + "/" + below);
    if (::access((directory + "/cgroup.procs").c_str(), F_OK) == 0) return directory;
  }
  return fail("no cgroup v2 mount shows this process's group {}: mount cgroup2, or give the container its own",
              *path);
}

Result<std::string> service_group_path(const std::string& name) {
  auto own = own_control_group();
  if (!own) return pass(own);
  return *own + "/" + name;
}

Status create_control_group(const std::string& path) {
  auto made = make_directories(path);
  if (!made) return made;
  if (::access((path + "/cgroup.kill").c_str(), W_OK) == 0) return {};
  return fail("{} is no control group that can be killed: {} (cgroup.kill needs Linux 5.14)", path,
              errno_text());
}

Result<bool> control_group_populated(const std::string& path) {
  auto text = read_text_file(path + "/cgroup.events");
  if (!text && text.error().code == ErrorCode::kNotFound) return false;
  if (!text && ::access(path.c_str(), F_OK) != 0) return false;  // removed while we read
  if (!text) return pass(text);
  return text->find("populated 1") != std::string::npos;
}

std::vector<std::string> control_group_processes(const std::string& path) {
  std::vector<std::string> processes;
  auto text = read_text_file(path + "/cgroup.procs");
  std::istringstream lines(text ? *text : "");
  std::string pid;
  while (std::getline(lines, pid)) processes.push_back(process_text(pid));
  for (const auto& child : subdirectories(path)) {
    for (auto& process : control_group_processes(child)) processes.push_back(std::move(process));
  }
  return processes;
}

Status kill_control_group(const std::string& path) {
  auto written = write_control_file(path + "/cgroup.kill", "1");
  if (!written && (written.error().code == ErrorCode::kNotFound || ::access(path.c_str(), F_OK) != 0))
    return {};
  return written;
}

Status remove_control_group(const std::string& path) {
  for (const auto& child : subdirectories(path)) {
    auto removed = remove_control_group(child);
    if (!removed) return removed;
  }
  if (::rmdir(path.c_str()) == 0 || errno == ENOENT) return {};
  return fail("cannot remove control group {}: {}", path, errno_text());
}

void wait_until_empty(EventLoop& loop, const std::string& path, Duration deadline,
                      std::function<void(Status)> callback) {
  std::make_shared<EmptyWait>(path, std::move(callback))->start(loop, deadline);
}

void clear_control_group(EventLoop& loop, const std::string& path, Duration deadline,
                         std::function<void(Status)> callback) {
  auto killed = kill_control_group(path);
  if (!killed) {
    loop.post([callback = std::move(callback), killed] { callback(killed); });
    return;
  }
  wait_until_empty(loop, path, deadline, [path, callback = std::move(callback)](Status status) {
    callback(status ? remove_control_group(path) : std::move(status));
  });
}

}  // namespace baton
