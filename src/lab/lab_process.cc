// Starting processes for the lab; see lab_process.h. One thread.
#include "src/lab/lab_process.h"

#include <fcntl.h>
#include <linux/sched.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "src/lab/lab_state.h"
#include "src/lab/lab_wait.h"

namespace baton::lab {
namespace {

std::vector<char*> pointers(const std::vector<std::string>& strings) {
  std::vector<char*> result;
  for (const auto& text : strings) result.push_back(const_cast<char*>(text.c_str()));
  result.push_back(nullptr);
  return result;
}

// fork() straight into a cgroup and new namespaces: no instant in which the child could be missed by a kill.
pid_t fork_into(int cgroup, uint64_t namespaces) {
  clone_args arguments{};
  arguments.flags = CLONE_INTO_CGROUP | namespaces;
  arguments.exit_signal = SIGCHLD;
  arguments.cgroup = uint64_t(cgroup);
  return pid_t(syscall(SYS_clone3, &arguments, sizeof arguments));
}

[[noreturn]] void become(const std::vector<std::string>& command, const std::vector<std::string>& environment) {
  auto arguments = pointers(command);
  auto variables = pointers(environment);
  for (const auto& variable : environment) {
    if (variable.compare(0, 5, "PATH=") == 0) setenv("PATH", variable.c_str() + 5, 1);
  }
  execvpe(arguments[0], arguments.data(), variables.data());
  dprintf(STDERR_FILENO, "cannot run %s: %s\n", arguments[0], strerror(errno));
  _exit(errno == ENOENT ? 127 : 126);
}

void close_others(unsigned first) { syscall(SYS_close_range, first, ~0U, 0); }

// The pipes' ends move to 3 and 4, the log to 1 and 2; everything else is closed.
void settle_descriptors(int ready, int go, const std::string& log) {
  int ready_copy = fcntl(ready, F_DUPFD, 100);
  int go_copy = fcntl(go, F_DUPFD, 100);
  int null = open("/dev/null", O_RDWR);
  int output = open(log.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0644);
  int output_copy = fcntl(output < 0 ? null : output, F_DUPFD, 100);
  dup2(null, 0);
  dup2(output_copy, 1);
  dup2(output_copy, 2);
  dup2(ready_copy, kReadyDescriptor);
  dup2(go_copy, kGoDescriptor);
  close_others(kGoDescriptor + 1);
}

std::string exit_text(int status) {
  if (WIFEXITED(status)) return fmt::format("exit status {}", WEXITSTATUS(status));
  return fmt::format("signal {}", WTERMSIG(status));
}

}  // namespace

std::vector<std::string> lab_environment(const std::string& programs, bool interactive) {
  std::vector<std::string> result = {
      "PATH=" + programs + ":/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root",
      "BATON_LAB=1"};
  // Corosync polls for what it does not accept yet while a membership forms: several of them at real-time priority would
  // leave nothing of the few processors that the lab's machines share, not even to deliver their own packets.
  if (getenv("BATON_REAL_TIME") == nullptr) result.push_back("BATON_REAL_TIME=no");
  for (char** entry = environ; *entry != nullptr; entry++) {
    std::string variable = *entry;
    auto name = variable.substr(0, variable.find('='));
    bool terminal = name == "TERM" || name == "COLUMNS" || name == "LINES";
    bool wanted = name == "LANG" || name.compare(0, 3, "LC_") == 0 || name == "ASAN_OPTIONS" ||
                  name == "UBSAN_OPTIONS" || name == "TSAN_OPTIONS" ||
                  (name.compare(0, 6, "BATON_") == 0 && name != "BATON_LAB");
    if (wanted || (interactive && terminal)) result.push_back(variable);
  }
  return result;
}

Result<Started> start_detached(const Cgroup& cgroup, uint64_t namespaces,
                               const std::vector<std::string>& command, const std::string& log) {
  if (auto made = cgroup.create(); !made) return pass(made);
  int ready[2], go[2];
  if (pipe2(ready, O_CLOEXEC) != 0) return fail("cannot create a pipe: {}", strerror(errno));
  if (pipe2(go, O_CLOEXEC) != 0) return fail("cannot create a pipe: {}", strerror(errno));
  int group = open(cgroup.path().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (group < 0) return fail("cannot open the cgroup {}: {}", cgroup.path(), strerror(errno));
  auto programs = command[0].substr(0, command[0].rfind('/'));
  pid_t child = fork_into(group, namespaces);
  if (child == 0) {
    setsid();
    for (int signal : {SIGINT, SIGQUIT, SIGHUP, SIGPIPE, SIGTERM}) ::signal(signal, SIG_DFL);
    settle_descriptors(ready[1], go[0], log);
    become(command, lab_environment(programs, false));
  }
  int error = errno;
  close(group);
  close(ready[1]);
  close(go[0]);
  if (child < 0) {
    close(ready[0]);
    close(go[1]);
    return fail("cannot start {}: {} (the lab needs root and Linux 5.7 or later)", command[0], strerror(error));
  }
  return Started{.pid = child, .ready = ready[0], .go = go[1]};
}

Status wait_ready(const std::string& what, Started& started, Duration limit) {
  std::string said;
  while (said.find('\n') == std::string::npos) {
    if (auto waited = wait_readable(what + " to be ready", limit, started.ready); !waited) return waited;
    char buffer[512];
    ssize_t count = read(started.ready, buffer, sizeof buffer);
    if (count <= 0) break;
    said.append(buffer, size_t(count));
  }
  close(started.ready);
  started.ready = -1;
  while (!said.empty() && said.back() == '\n') said.pop_back();
  if (said == "ready") return {};
  return fail("{} did not start: {}", what, said.empty() ? "it ended at once; see its log" : said);
}

Status release(Started& started) {
  auto before = ::signal(SIGPIPE, SIG_IGN);
  ssize_t count = write(started.go, "g", 1);
  ::signal(SIGPIPE, before);
  close(started.go);
  started.go = -1;
  if (count != 1) return fail("process {} ended before it could be let go", started.pid);
  return {};
}

Result<std::string> run_command(const std::vector<std::string>& command, const std::string& input,
                                Duration limit, const std::function<Status()>& prepare) {
  int in = memfd_create("input", MFD_CLOEXEC);
  int out[2];
  if (in < 0 || pipe2(out, O_CLOEXEC) != 0) return fail("cannot run {}: {}", command[0], strerror(errno));
  if (write(in, input.data(), input.size()) != ssize_t(input.size())) return fail("cannot hand over input");
  lseek(in, 0, SEEK_SET);
  pid_t child = fork();
  if (child == 0) {
    ::signal(SIGPIPE, SIG_DFL);
    dup2(in, 0);
    dup2(out[1], 1);
    dup2(out[1], 2);
    if (prepare) {
      if (auto prepared = prepare(); !prepared) {
        dprintf(2, "%s\n", prepared.error().message.c_str());
        _exit(125);
      }
    }
    auto arguments = pointers(command);
    execvp(arguments[0], arguments.data());
    dprintf(2, "cannot run %s: %s\n", arguments[0], strerror(errno));
    _exit(127);
  }
  int error = errno;
  close(in);
  close(out[1]);
  if (child < 0) return fail("cannot run {}: {}", command[0], strerror(error));
  std::string output;
  Status waited;
  char buffer[4096];
  ssize_t count = 1;
  while (count > 0 && (waited = wait_readable(command[0] + " to end", limit, out[0]))) {
    count = read(out[0], buffer, sizeof buffer);
    if (count > 0) output.append(buffer, size_t(count));
  }
  close(out[0]);
  if (!waited) kill(child, SIGKILL);
  int status = 0;
  waitpid(child, &status, 0);
  if (!waited) return fail_as(ErrorCode::kTimeout, "{}; it said: {}", waited.error().message, output);
  if (status != 0) return fail("{} failed ({}): {}", command[0], exit_text(status), output);
  return output;
}

pid_t find_init(const Cgroup& cgroup) {
  for (pid_t pid : cgroup.own_processes()) {
    auto pids = process_status_field(pid, "NSpid");
    auto last = pids.find_last_of(" \t");
    auto state = process_status_field(pid, "State");
    if (last != std::string::npos && pids.substr(last + 1) == "1" && !state.empty() && state[0] != 'Z')
      return pid;
  }
  return 0;
}

Result<int> execute_inside(pid_t init, const Cgroup& cgroup, const std::vector<std::string>& command,
                           const std::string& programs) {
  int process = int(syscall(SYS_pidfd_open, init, 0));
  if (process < 0) return fail("its init ({}) has gone: {}", init, strerror(errno));
  int group = open(cgroup.path().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (group < 0) return fail("cannot open the cgroup {}: {}", cgroup.path(), strerror(errno));
  if (setns(process, CLONE_NEWPID) != 0) return fail("cannot enter its pid namespace: {}", strerror(errno));
  auto environment = lab_environment(programs, true);
  pid_t child = fork_into(group, 0);
  if (child == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    ::signal(SIGPIPE, SIG_DFL);
    if (setns(process, CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS) != 0 || chdir("/") != 0) {
      dprintf(2, "cannot enter the namespaces of process %d: %s\n", int(init), strerror(errno));
      _exit(125);
    }
    close_others(3);
    become(command, environment);
  }
  if (child < 0) return fail("cannot start {}: {}", command[0], strerror(errno));
  for (int signal : {SIGINT, SIGQUIT, SIGTSTP}) ::signal(signal, SIG_IGN);
  int status = 0;
  while (waitpid(child, &status, 0) < 0) {
    if (errno != EINTR) return fail("cannot wait for {}: {}", command[0], strerror(errno));
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

}  // namespace baton::lab
