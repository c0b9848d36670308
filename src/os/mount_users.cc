// See mount_users.h. Only links and mappings are read; nothing on the filesystem itself is touched.
#include "src/os/mount_users.h"

#include <dirent.h>
#include <unistd.h>

#include <algorithm>
#include <memory>
#include <optional>
#include <sstream>

#include "src/os/file_text.h"
#include "src/os/mount_table.h"
#include "src/os/worker_thread.h"

namespace baton {

namespace {

constexpr size_t kDescribed = 8;

std::string link_target(const std::string& path) {
  char buffer[4096];
  ssize_t bytes = ::readlink(path.c_str(), buffer, sizeof buffer);
  return bytes < 0 ? std::string() : std::string(buffer, static_cast<size_t>(bytes));
}

bool lies_in(const std::string& path, const std::string& directory) {
  return path.starts_with(directory) && (path.size() == directory.size() || path[directory.size()] == '/');
}

std::vector<std::string> entries(const std::string& path) {
  std::vector<std::string> names;
  std::unique_ptr<DIR, int (*)(DIR*)> directory(::opendir(path.c_str()), &::closedir);
  while (dirent* entry = directory ? ::readdir(directory.get()) : nullptr) {
    if (entry->d_name[0] != '.') names.push_back(entry->d_name);
  }
  return names;
}

/// /proc/PID/maps has the device as two hexadecimal numbers.
bool maps_device(const std::string& maps, const std::string& device) {
  unsigned major_number = 0, minor_number = 0;
  if (std::sscanf(device.c_str(), "%u:%u", &major_number, &minor_number) != 2) return false;
  return maps.find(fmt::format(" {:02x}:{:02x} ", major_number, minor_number)) != std::string::npos;
}

std::optional<std::string> how_process_uses(const std::string& process, const std::string& mount_point,
                                            const std::string& device) {
  const std::pair<const char*, const char*> links[] = {
      {"/cwd", "working directory"}, {"/root", "root directory"}, {"/exe", "program"}};
  for (const auto& [link, how] : links) {
    if (lies_in(link_target(process + link), mount_point)) return how;
  }
  for (const auto& descriptor : entries(process + "/fd")) {
    const std::string target = link_target(process + "/fd/" + descriptor);
    if (lies_in(target, mount_point)) return "open file " + target;
  }
  auto maps = read_text_file(process + "/maps");
  if (maps && !device.empty() && maps_device(*maps, device)) return "mapped file";
  return std::nullopt;
}

std::vector<MountUser> scan(const std::string& mount_point) {
  std::vector<MountUser> users;
  std::string device;
  auto table = read_mount_table();
  for (const auto& entry : table ? *table : std::vector<MountEntry>()) {
    if (entry.mount_point == mount_point) device = entry.device;
    if (entry.mount_point != mount_point && lies_in(entry.mount_point, mount_point)) {
      users.push_back({0, entry.source, "mounted below, on " + entry.mount_point});
    }
  }
  for (const auto& name : entries("/proc")) {
    const pid_t pid = static_cast<pid_t>(std::strtol(name.c_str(), nullptr, 10));
    if (pid <= 0) continue;
    auto how = how_process_uses("/proc/" + name, mount_point, device);
    if (!how) continue;
    auto command = read_text_file("/proc/" + name + "/comm");
    users.push_back({pid, command ? command->substr(0, command->find('\n')) : "?", *how});
  }
  return users;
}

}  // namespace

void find_mount_users(EventLoop& loop, const std::string& mount_point, Duration limit,
                      std::function<void(std::vector<MountUser>)> callback) {
  struct Search {
    explicit Search(EventLoop& loop) : door(loop) {}
    LoopDoor door;
    WorkerThread worker;
    EventLoop::Handle timer;
    std::function<void(std::vector<MountUser>)> callback;

    void finish(std::vector<MountUser> users) {
      timer.cancel();
      auto once = std::exchange(callback, nullptr);
      if (once) once(std::move(users));
    }
  };
  auto search = std::make_shared<Search>(loop);
  search->callback = std::move(callback);
  search->timer = loop.after(limit, [search] { search->finish({{0, "the search", "did not end in time"}}); });
  std::weak_ptr<Search> weak = search;
  search->worker.run([weak, door = search->door, where = tidy_path(mount_point)] {
    auto users = scan(where);
    door.post([weak, users] {
      if (auto owner = weak.lock()) owner->finish(users);
    });
  });
}

std::string describe(const std::vector<MountUser>& users) {
  std::string text;
  for (size_t i = 0; i < std::min(users.size(), kDescribed); ++i) {
    const auto& user = users[i];
    text += fmt::format("{}{}{}: {}", i == 0 ? "" : "; ", user.name,
                        user.process == 0 ? "" : fmt::format(" ({})", user.process), user.how);
  }
  if (users.size() > kDescribed) text += fmt::format("; and {} more", users.size() - kDescribed);
  return text.empty() ? "nobody that can be seen (perhaps in another mount namespace, or the kernel itself)"
                      : text;
}

}  // namespace baton
