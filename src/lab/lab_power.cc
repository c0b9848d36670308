// Power on and off; see lab_power.h. One thread.
#include "src/lab/lab_power.h"

#include <sched.h>
#include <signal.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>

#include "src/lab/lab_disks.h"
#include "src/lab/lab_loops.h"
#include "src/lab/lab_mounts.h"
#include "src/lab/lab_network.h"
#include "src/lab/lab_state.h"
#include "src/lab/lab_wait.h"

namespace baton::lab {
namespace fs = std::filesystem;
namespace {

constexpr auto kReadyDeadline = 10s;
constexpr auto kKillDeadline = 15s;
constexpr auto kLoopGrace = 3s;

std::string namespace_of(pid_t pid, const char* kind) {
  char text[64] = "";
  auto link = fmt::format("/proc/{}/ns/{}", pid, kind);
  return readlink(link.c_str(), text, sizeof text - 1) > 0 ? text : "";
}

}  // namespace

pid_t find_switch_holder() {
  auto cgroup = Cgroup::at(kSwitchName);
  if (!cgroup) return 0;
  auto pids = cgroup->own_processes();
  return pids.empty() ? 0 : pids.front();
}

std::set<pid_t> processes_of(const Cgroup& cgroup) {
  auto all = cgroup.processes();
  auto space = namespace_of(find_init(cgroup), "pid");
  if (space.empty() || space == namespace_of(getpid(), "pid")) return all;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator("/proc", error)) {
    pid_t pid = atoi(entry.path().filename().c_str());
    if (pid > 0 && !all.count(pid) && namespace_of(pid, "pid") == space) all.insert(pid);
  }
  return all;
}

Result<Started> start_member(const Lab& lab, const Member& member) {
  auto cgroup = Cgroup::at(member.name);
  if (!cgroup) return pass(cgroup);
  for (const char* part : {"etc", "log", "srv", "disk"}) {
    if (auto made = make_directories(member.directory() + "/" + part); !made) return pass(made);
  }
  std::vector<std::string> command = {member.programs + "/baton-lab-init", "--name", member.name, "--directory",
                                      member.directory()};
  bool on_volatile = lab.volatile_disks && member.has_disk();
  command.insert(command.end(), {"--disk", on_volatile ? member.disk_mount() : member.directory() + "/disk"});
  command.insert(command.end(), {"--daemon", lab.daemon_of(member)});
  uint64_t spaces = CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWPID | CLONE_NEWIPC | CLONE_NEWUTS;
  return start_detached(*cgroup, spaces, command, member.directory() + "/log/init.log");
}

Status finish_member(pid_t holder, Member& member, Started& started) {
  if (auto ready = wait_ready(member.name, started, kReadyDeadline); !ready) return ready;
  member.init_pid = started.pid;
  member.off = false;
  member.paused = false;
  return connect_member(holder, member);
}

Result<PowerCut> cut_power(const Lab& lab, Member& member, uint64_t seed) {
  auto cgroup = Cgroup::at(member.name);
  if (!cgroup) return pass(cgroup);
  pid_t holder = find_switch_holder();
  member.off = true;
  member.paused = false;
  // Down before anything dies: no FIN, RST or ARP answer may flatter the peers' detection.
  if (holder != 0) take_ports_down(holder, member);
  // Then all programs stop where they are: none may react to the lost links or to the aborted exports. No need
  // to wait, what hangs in the kernel stops on its way out of it.
  (void)write_file(cgroup->path() + "/cgroup.freeze", "1");
  auto processes = processes_of(*cgroup);
  auto mounts = own_mounts(processes);
  auto loops = loops_of(processes, mounts, {member.directory(), member.disk_mount()});
  // Exports go before their users: a process that waits for a frozen mirror cannot be killed, and no dirty page
  // may reach the peer or the disk any more.
  auto aborted = abort_fuse(mounts.fuse_connections);
  if (pid_t init = find_init(*cgroup); init != 0) kill(init, SIGKILL);
  if (auto killed = cgroup->kill_all(kKillDeadline); !killed) return pass(killed);
  if (!aborted) return pass(aborted);
  auto gone = wait_until("processes of " + member.name + " outside its cgroup to end", kKillDeadline, [&] {
    for (pid_t pid : processes) {
      auto state = process_status_field(pid, "State");
      if (!state.empty() && state[0] != 'Z' && state[0] != 'X' &&
          namespace_of(pid, "pid") != namespace_of(getpid(), "pid")) {
        return false;
      }
    }
    return true;
  });
  if (!gone) return pass(gone);
  if (!mounts.fuse_connections.empty()) loops.merge(dead_loops());
  if (auto reclaimed = reclaim_loops(loops, kLoopGrace); !reclaimed) return pass(reclaimed);
  if (holder != 0) disconnect_member(holder, member);
  if (auto removed = cgroup->remove(); !removed) return pass(removed);
  member.init_pid = 0;
  PowerCut cut{.seed = seed};
  if (lab.volatile_disks && member.has_disk()) {
    auto losses = command_disk(member, fmt::format("lose {}", seed));
    if (!losses) return pass(losses);
    cut.losses = *losses;
  }
  return cut;
}

}  // namespace baton::lab
