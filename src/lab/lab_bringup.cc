// `up`: see lab_lifecycle.h. Everything that can run side by side does: disks and members start at once, then
// the links are made, then the cluster is created in all servers at once, then the members are let go. One
// thread.
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <map>

#include "src/lab/lab_disks.h"
#include "src/lab/lab_lifecycle.h"
#include "src/lab/lab_network.h"
#include "src/lab/lab_places.h"
#include "src/lab/lab_power.h"
#include "src/lab/lab_state.h"
#include "src/lab/lab_wait.h"

namespace baton::lab {
namespace {

constexpr auto kDiskDeadline = 10s;
constexpr auto kCreateDeadline = 60s;

Result<Started> start_holder(const Lab& lab) {
  auto cgroup = Cgroup::at(kSwitchName);
  if (!cgroup) return pass(cgroup);
  return start_detached(*cgroup, CLONE_NEWNET, {lab.programs + "/baton-lab-init", "hold"},
                        std::string(kRunDirectory) + "/switch.log");
}

Status start_disks(const Lab& lab) {
  std::map<std::string, Started> disks;
  for (const auto& member : lab.members) {
    if (!member.has_disk()) continue;
    if (auto made = make_directories(member.directory() + "/disk"); !made) return made;
    auto disk = start_disk(lab, member);
    if (!disk) return pass(disk);
    disks[member.name] = *disk;
  }
  for (auto& [name, disk] : disks) {
    if (auto ready = wait_ready(name + "'s volatile disk", disk, kDiskDeadline); !ready) return ready;
    if (auto released = release(disk); !released) return released;
  }
  return {};
}

struct Creation {
  std::string name;
  pid_t pid;
  int output;
};

// In a child: `baton cluster create --as NAME` inside the member.
Result<Creation> start_creation(const Lab& lab, const Member& member) {
  auto cgroup = Cgroup::at(member.name);
  if (!cgroup) return pass(cgroup);
  Creation creation{.name = member.name, .pid = 0, .output = memfd_create("output", MFD_CLOEXEC)};
  if (creation.output < 0) return fail("memfd_create: {}", strerror(errno));
  creation.pid = fork();
  if (creation.pid < 0) return fail("cannot fork: {}", strerror(errno));
  if (creation.pid == 0) {
    dup2(creation.output, 1);
    dup2(creation.output, 2);
    auto status =
        execute_inside(member.init_pid, *cgroup,
                       {member.programs + "/baton", "cluster", "create", "--no-preflight", "--as", member.name}, member.programs);
    if (!status) dprintf(2, "%s\n", status.error().message.c_str());
    _exit(status ? *status : 125);
  }
  return creation;
}

Status create_cluster(const Lab& lab, const std::string& configuration) {
  std::vector<Creation> creations;
  const std::string text = read_file(configuration).value_or("");
  for (const auto& member : lab.members) {
    if (member.role == Role::kClient || !is_configured(text, member.name)) continue;
    auto creation = start_creation(lab, member);
    if (!creation) return pass(creation);
    creations.push_back(*creation);
  }
  Status result;
  for (const auto& creation : creations) {
    int status = 0;
    auto waited = wait_until("`baton cluster create` on " + creation.name, kCreateDeadline,
                             [&] { return waitpid(creation.pid, &status, WNOHANG) == creation.pid; });
    if (!waited) kill(creation.pid, SIGKILL);
    auto output = read_file(fmt::format("/proc/self/fd/{}", creation.output)).value_or("");
    close(creation.output);
    if (result && !waited) result = fail("{}; it said: {}", waited.error().message, output);
    if (result && waited && status != 0) {
      result = fail("`baton cluster create --as {}` failed (status {}): {}", creation.name,
                    WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status), output);
    }
  }
  return result;
}

Status build(Lab& lab, const UpOptions& options, const Progress& progress) {
  for (const char* directory : {kRunDirectory, kDataDirectory}) {
    if (auto made = make_directories(directory); !made) return made;
  }
  if (auto made = create_places(); !made) return made;
  if (auto written = write_hosts(lab); !written) return written;
  if (lab.configured) {
    if (auto placed = place_configuration(lab, options.configuration); !placed) return placed;
  }
  if (auto saved = save_state(lab); !saved) return saved;
  auto holder = start_holder(lab);
  if (!holder) return pass(holder);
  if (lab.volatile_disks) {
    if (auto started = start_disks(lab); !started) return started;
  }
  std::map<std::string, Started> members;
  for (const auto& member : lab.members) {
    auto started = start_member(lab, member);
    if (!started) return pass(started);
    members[member.name] = *started;
  }
  if (auto ready = wait_ready("the switches", *holder, 5s); !ready) return ready;
  if (auto released = release(*holder); !released) return released;
  if (auto created = create_switches(holder->pid); !created) return created;
  for (auto& member : lab.members) {
    if (auto finished = finish_member(holder->pid, member, members[member.name]); !finished) return finished;
  }
  if (lab.configured && options.create) {
    progress("creating the cluster");
    if (auto created = create_cluster(lab, options.configuration); !created) return created;
  }
  lab.complete = true;
  if (auto saved = save_state(lab); !saved) return saved;
  for (auto& [name, member] : members) {
    if (auto released = release(member); !released) return fail("{}: {}", name, released.error().message);
  }
  return {};
}

Status check_options(const UpOptions& options) {
  if (options.servers < 1 || options.servers > kMaximumServers) {
    return fail_as(ErrorCode::kInvalid, "--servers must be 1 to {}, not {}", kMaximumServers, options.servers);
  }
  if (!options.configuration.empty() && access(options.configuration.c_str(), R_OK) != 0) {
    return fail_as(ErrorCode::kInvalid, "cannot read the configuration {}: {}", options.configuration,
                   strerror(errno));
  }
  for (const char* program : {"baton-lab-init", "baton-lab-disk"}) {
    auto path = options.programs + "/" + program;
    if (access(path.c_str(), X_OK) != 0) return fail("{} is missing; build it first", path);
  }
  if (options.volatile_disks && access("/dev/fuse", R_OK | W_OK) != 0) {
    return fail("--volatile-disks needs /dev/fuse: {}; try `modprobe fuse`", strerror(errno));
  }
  return {};
}

}  // namespace

bool is_healthy(const Lab& lab) {
  if (!lab.complete || find_switch_holder() == 0) return false;
  for (const auto& member : lab.members) {
    auto cgroup = Cgroup::at(member.name);
    if (!cgroup) return false;
    if (!member.off && find_init(*cgroup) == 0) return false;
    auto disk = Cgroup::at(member.disk_cgroup());
    if (lab.volatile_disks && member.has_disk() && !(disk && disk->populated())) return false;
  }
  return true;
}

Result<Lab> bring_up(const UpOptions& options, const Progress& progress) {
  if (auto checked = check_options(options); !checked) return pass(checked);
  auto earlier = load_state();
  if (earlier && !options.replace && is_healthy(*earlier)) {
    return fail_as(ErrorCode::kConflict, "a lab is up already; end it with `baton lab down`, or use --replace");
  }
  auto root = Cgroup::at("");
  if (!root) return pass(root);
  if (root->exists() || access(kRunDirectory, F_OK) == 0 || access(kDataDirectory, F_OK) == 0) {
    progress("clearing an earlier lab away");
    if (auto cleared = clear_away(); !cleared) return pass(cleared);
  }
  Lab lab{.volatile_disks = options.volatile_disks,
          .configured = !options.configuration.empty(),
          .programs = options.programs,
          .daemon = options.daemon,
          .members = plan_members(options.servers, options.witness)};
  for (Member& member : lab.members) member.programs = options.servers_run.empty() ? options.programs : options.servers_run;
  progress(fmt::format("bringing up {} servers{} and a client", options.servers,
                       options.witness ? ", a witness" : ""));
  if (auto built = build(lab, options, progress); !built) {
    auto cleared = clear_away();
    if (!cleared)
      return fail("{}; and clearing away failed: {}", built.error().message, cleared.error().message);
    return pass(built);
  }
  return lab;
}

}  // namespace baton::lab
