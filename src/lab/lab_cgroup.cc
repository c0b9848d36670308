// The lab's cgroup v2 tree; see lab_cgroup.h. One thread.
#include "src/lab/lab_cgroup.h"

#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "src/lab/lab_state.h"
#include "src/lab/lab_wait.h"

namespace baton::lab {
namespace fs = std::filesystem;

Result<std::string> cgroup_mount() {
  std::ifstream mounts("/proc/mounts");
  std::string line;
  while (std::getline(mounts, line)) {
    std::istringstream fields(line);
    std::string source, where, type;
    fields >> source >> where >> type;
    if (type == "cgroup2") return where;
  }
  return fail("cgroup v2 is not mounted; mount it with `mount -t cgroup2 cgroup2 /sys/fs/cgroup/unified`");
}

Result<Cgroup> Cgroup::at(const std::string& name) {
  auto mount = cgroup_mount();
  if (!mount) return pass(mount);
  return Cgroup(*mount + "/baton-lab" + (name.empty() ? "" : "/" + name));
}

bool Cgroup::exists() const { return access(path_.c_str(), F_OK) == 0; }

Status Cgroup::create() const {
  if (auto made = make_directories(path_); !made) return made;
  return {};
}

std::vector<pid_t> Cgroup::own_processes() const {
  std::ifstream file(path_ + "/cgroup.procs");
  std::vector<pid_t> pids;
  pid_t pid;
  while (file >> pid) pids.push_back(pid);
  return pids;
}

std::set<pid_t> Cgroup::processes() const {
  std::set<pid_t> all;
  auto own = own_processes();
  all.insert(own.begin(), own.end());
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(path_, error)) {
    std::error_code ignored;
    if (!entry.is_directory(ignored)) continue;
    all.merge(Cgroup(entry.path().string()).processes());
  }
  return all;
}

bool Cgroup::event_is(const char* key, char value) const {
  std::ifstream file(path_ + "/cgroup.events");
  std::string name;
  char found;
  while (file >> name >> found) {
    if (name == key) return found == value;
  }
  return false;
}

bool Cgroup::populated() const { return event_is("populated", '1'); }

Status Cgroup::kill_all(Duration limit) const {
  if (!exists()) return {};
  bool by_kernel = access((path_ + "/cgroup.kill").c_str(), F_OK) == 0;
  if (by_kernel) {
    if (auto written = write_file(path_ + "/cgroup.kill", "1"); !written) return written;
  }
  auto waited = wait_until("the processes in " + path_ + " to end", limit, [&] {
    if (!populated()) return true;
    if (!by_kernel) {
      for (pid_t pid : processes()) kill(pid, SIGKILL);
    }
    return false;
  });
  if (waited) return waited;
  return fail_as(ErrorCode::kTimeout, "{}; still there: {}", waited.error().message,
                 describe_processes(processes()));
}

Status Cgroup::freeze(bool on, Duration limit) const {
  if (auto written = write_file(path_ + "/cgroup.freeze", on ? "1" : "0"); !written) return written;
  auto waited = wait_until(path_ + (on ? " to freeze" : " to thaw"), limit,
                           [&] { return event_is("frozen", on ? '1' : '0'); });
  if (waited || !on) return waited;
  std::set<pid_t> running;
  for (pid_t pid : processes()) {
    auto state = process_status_field(pid, "State");
    if (!state.empty() && state[0] == 'R') running.insert(pid);
  }
  if (running.empty()) return {};
  return fail_as(ErrorCode::kTimeout, "{}; still running: {}", waited.error().message,
                 describe_processes(running));
}

Status Cgroup::remove() const {
  if (!exists()) return {};
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(path_, error)) {
    std::error_code ignored;
    if (!entry.is_directory(ignored)) continue;
    if (auto removed = Cgroup(entry.path().string()).remove(); !removed) return removed;
  }
  // A cgroup whose last process has just ended may be busy for an instant.
  int reason = 0;
  auto waited = wait_until("the cgroup " + path_ + " to go", 3s, [&] {
    if (rmdir(path_.c_str()) == 0 || errno == ENOENT) return true;
    reason = errno;
    return reason != EBUSY;
  });
  if (!waited) return waited;
  if (exists()) return fail("cannot remove the cgroup {}: {}", path_, strerror(reason));
  return {};
}

std::string process_status_field(pid_t pid, const std::string& key) {
  std::ifstream file(fmt::format("/proc/{}/status", pid));
  std::string line;
  while (std::getline(file, line)) {
    if (line.compare(0, key.size() + 1, key + ":") != 0) continue;
    auto start = line.find_first_not_of(" \t", key.size() + 1);
    return start == std::string::npos ? "" : line.substr(start);
  }
  return "";
}

std::string describe_processes(const std::set<pid_t>& pids) {
  std::string text;
  for (pid_t pid : pids) {
    auto state = process_status_field(pid, "State");
    text += fmt::format("{}{} {} ({})", text.empty() ? "" : ", ", process_status_field(pid, "Name"), pid,
                        state.empty() ? "gone" : state.substr(0, 1));
  }
  return text.empty() ? "none" : text;
}

}  // namespace baton::lab
