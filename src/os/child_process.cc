// ChildProcess: between clone and exec only async-signal-safe calls are made, from data prepared before
// (Launch).
#include "src/os/child_process.h"

#include <fcntl.h>
#include <linux/sched.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>

#include "src/os/owned_fd.h"
#include "src/os/system_users.h"

namespace baton {

namespace {

constexpr int kFirstPassedFd = 3;
constexpr int kHighFd = 100;  // above all passed descriptors
constexpr Duration kHungAfterKill = 2s;

enum class Stage : int { kControlGroup, kLogFile, kDescriptors, kUser, kDirectory, kExec };

const char* stage_text(int stage) {
  switch (static_cast<Stage>(stage)) {
    case Stage::kControlGroup:
      return "cannot enter its control group";
    case Stage::kLogFile:
      return "cannot open its log file";
    case Stage::kDescriptors:
      return "cannot set up its descriptors";
    case Stage::kUser:
      return "cannot become its user";
    case Stage::kDirectory:
      return "cannot enter its working directory";
    case Stage::kExec:
      return "cannot execute it";
  }
  return "unknown stage";
}

struct StartError {
  int stage;
  int error_number;
};

/// Everything the child needs, prepared before it exists.
struct Launch {
  std::vector<char*> argv;
  std::vector<std::string> environment_text;
  std::vector<char*> environment;
  std::optional<SystemUser> user;
  OwnedFd control_group;        // the directory
  OwnedFd control_group_procs;  // used when clone3 cannot do it
  OwnedFd dev_null;
  OwnedFd input;  // its standard input
  OwnedFd error_read, error_write;
  OwnedFd output_read, output_write;
  std::vector<OwnedFd> passed;
  bool join_control_group_by_hand = false;
};

void set_variable(std::vector<std::string>& environment, const std::string& variable) {
  const std::string prefix = variable.substr(0, variable.find('=') + 1);
  std::erase_if(environment, [&](const std::string& other) { return other.starts_with(prefix); });
  environment.push_back(variable);
}

Status make_pipe(OwnedFd& read_end, OwnedFd& write_end) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return fail("cannot make a pipe: {}", errno_text());
  OwnedFd low_write(ends[1]);
  read_end = OwnedFd(ends[0]);
  write_end = OwnedFd(::fcntl(ends[1], F_DUPFD_CLOEXEC, kHighFd));
  if (!write_end) return fail("cannot make a pipe: {}", errno_text());
  ::fcntl(read_end.get(), F_SETFL, O_NONBLOCK);
  return {};
}

Status open_control_group(const std::string& path, Launch& launch) {
  launch.control_group = OwnedFd(::open(path.c_str(), O_DIRECTORY | O_CLOEXEC));
  launch.control_group_procs = OwnedFd(::open((path + "/cgroup.procs").c_str(), O_WRONLY | O_CLOEXEC));
  if (launch.control_group && launch.control_group_procs) return {};
  return fail("cannot open control group {}: {}", path, errno_text());
}

/// In memory, so that a secret is in no list of processes and on no disk.
Status make_input(const std::string& text, Launch& launch) {
  launch.input = OwnedFd(text.empty() ? ::open("/dev/null", O_RDONLY | O_CLOEXEC) : ::memfd_create("input", MFD_CLOEXEC));
  const bool written = launch.input && ::pwrite(launch.input.get(), text.data(), text.size(), 0) == ssize_t(text.size());
  if (text.empty() ? bool(launch.input) : written) return {};
  return fail("cannot make a child's standard input: {}", errno_text());
}

Result<Launch> prepare(ChildOptions& options) {
  if (options.argv.empty() || options.argv[0].empty()) return fail("a command without a program cannot be run");
  Launch launch;
  auto& environment = launch.environment_text;
  environment = {"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C.UTF-8"};
  if (!options.user.empty()) {
    auto user = find_system_user(options.user);
    if (!user) return pass(user);
    set_variable(environment, "HOME=" + user->home);
    set_variable(environment, "USER=" + user->name);
    set_variable(environment, "LOGNAME=" + user->name);
    launch.user = std::move(*user);
  } else {
    set_variable(environment, "HOME=/root");
  }
  for (const auto& variable : options.environment) set_variable(environment, variable);
  for (auto& text : environment) launch.environment.push_back(text.data());
  launch.environment.push_back(nullptr);
  for (auto& text : options.argv) launch.argv.push_back(text.data());
  launch.argv.push_back(nullptr);
  if (!options.control_group.empty()) {
    auto opened = open_control_group(options.control_group, launch);
    if (!opened) return pass(opened);
  }
  launch.dev_null = OwnedFd(::open("/dev/null", O_RDWR | O_CLOEXEC));
  if (!launch.dev_null) return fail("cannot open /dev/null: {}", errno_text());
  auto made = make_input(options.input, launch);
  if (made) made = make_pipe(launch.error_read, launch.error_write);
  if (made && options.output == ChildOptions::Output::kCapture) {
    made = make_pipe(launch.output_read, launch.output_write);
  }
  if (!made) return pass(made);
  for (int fd : options.passed_descriptors) {
    launch.passed.emplace_back(::fcntl(fd, F_DUPFD_CLOEXEC, kHighFd));
    if (!launch.passed.back()) return fail("cannot pass descriptor {} on: {}", fd, errno_text());
  }
  return launch;
}

[[noreturn]] void give_up(const Launch& launch, Stage stage) {
  StartError error{static_cast<int>(stage), errno};
  ssize_t ignored = ::write(launch.error_write.get(), &error, sizeof error);
  static_cast<void>(ignored);
  ::_exit(127);
}

void reset_signals() {
  const unsigned long standard[4] = {};  // as the kernel has it: SIG_DFL, no flags, no mask. Newer ones of glibc take a lock for SIGABRT
  for (int number = 1; number < NSIG; ++number) ::syscall(SYS_rt_sigaction, number, standard, nullptr, sizeof(uint64_t));
  sigset_t none;
  ::sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
}

int output_descriptor(const ChildOptions& options, const Launch& launch) {
  switch (options.output) {
    case ChildOptions::Output::kCapture:
      return launch.output_write.get();
    case ChildOptions::Output::kDiscard:
      return launch.dev_null.get();
    case ChildOptions::Output::kLogFile:
      break;
  }
  return ::open(options.log_file.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0640);
}

/// By the kernel's calls: those of glibc would see to the other threads, too, which a child does not have, and wait for a lock that one of
/// them may have held (of the threads' stacks: nptl_setxid) for ever.
bool become(const SystemUser& user) {
  return ::syscall(SYS_setgroups, user.groups.size(), user.groups.data()) == 0 && ::syscall(SYS_setgid, user.group_id) == 0 &&
         ::syscall(SYS_setuid, user.user_id) == 0;
}

/// The child's way from clone to exec. No memory is allocated here.
[[noreturn]] void run_child(const ChildOptions& options, Launch& launch) {
  options.new_session ? static_cast<void>(::setsid()) : static_cast<void>(::setpgid(0, 0));
  reset_signals();
  ::umask(022);
  if (launch.join_control_group_by_hand && ::write(launch.control_group_procs.get(), "0", 1) != 1) {
    give_up(launch, Stage::kControlGroup);
  }
  int output = output_descriptor(options, launch);
  if (output < 0) give_up(launch, Stage::kLogFile);
  if (options.output == ChildOptions::Output::kLogFile && launch.user) {
    if (::fchown(output, launch.user->user_id, launch.user->group_id) != 0) give_up(launch, Stage::kLogFile);
  }
  if (::dup2(launch.input.get(), 0) < 0 || ::dup2(output, 1) < 0 || ::dup2(output, 2) < 0) {
    give_up(launch, Stage::kDescriptors);
  }
  int next = kFirstPassedFd;
  for (const auto& fd : launch.passed) {
    if (::dup2(fd.get(), next++) < 0) give_up(launch, Stage::kDescriptors);
  }
  if (::syscall(SYS_close_range, next, ~0U, 4U /* CLOSE_RANGE_CLOEXEC */) != 0)
    give_up(launch, Stage::kDescriptors);
  if (options.may_lock_memory) {
    rlimit unlimited{RLIM_INFINITY, RLIM_INFINITY};
    ::setrlimit(RLIMIT_MEMLOCK, &unlimited);  // refused in some containers: the program says so itself
  }
  if (launch.user) {
    if (!become(*launch.user)) give_up(launch, Stage::kUser);
  }
  if (::chdir(options.working_directory.c_str()) != 0) give_up(launch, Stage::kDirectory);
  environ = launch.environment.data();
  ::execvp(launch.argv[0], launch.argv.data());
  give_up(launch, Stage::kExec);
}

/// clone3 by hand: glibc has no wrapper. Returns the process number (0 in the child) or -1.
pid_t clone_with_pidfd(int control_group_fd, int& pidfd) {
  clone_args arguments{};
  arguments.flags = CLONE_PIDFD;
  arguments.pidfd = reinterpret_cast<uint64_t>(&pidfd);
  arguments.exit_signal = SIGCHLD;
  if (control_group_fd >= 0) {
    arguments.flags |= CLONE_INTO_CGROUP;
    arguments.cgroup = static_cast<uint64_t>(control_group_fd);
  }
  return static_cast<pid_t>(::syscall(SYS_clone3, &arguments, sizeof arguments));
}

struct Started {
  pid_t pid = -1;
  OwnedFd pidfd;
};

/// Forks with all signals blocked, so that no handler of ours ever runs in the child.
Result<Started> start(const ChildOptions& options, Launch& launch) {
  sigset_t all, before;
  ::sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &before);
  int pidfd = -1;
  pid_t pid = clone_with_pidfd(launch.control_group.get(), pidfd);
  if (pid < 0) {  // an old kernel or a seccomp filter
    launch.join_control_group_by_hand = static_cast<bool>(launch.control_group);
    pid = ::fork();
    if (pid > 0) pidfd = static_cast<int>(::syscall(SYS_pidfd_open, pid, 0));
  }
  if (pid == 0) run_child(options, launch);
  int error_number = errno;
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  if (pid < 0) return fail("cannot start {}: {}", options.argv[0], errno_text(error_number));
  if (pidfd < 0) {
    ::kill(pid, SIGKILL);
    ::waitpid(pid, nullptr, 0);
    return fail("cannot watch {}: {}", options.argv[0], errno_text(error_number));
  }
  return Started{pid, OwnedFd(pidfd)};
}

}  // namespace

/// Keeps itself alive through the pidfd's watch until the process has been reaped.
struct ChildProcess::State : std::enable_shared_from_this<ChildProcess::State> {
  State(EventLoop& the_loop, ChildOptions the_options) : loop(the_loop), options(std::move(the_options)) {}

  void watch() {
    auto self = shared_from_this();
    exit_watch = loop.watch_readable(pidfd.get(), [self] { self->reap(); });
    if (output) output_watch = loop.watch_readable(output.get(), [this] { drain(256 * 1024); });
    if (options.deadline) deadline_timer = loop.after(*options.deadline, [this] { passed_deadline(); });
  }

  /// Reads at most `limit` bytes of output, so that a chatty child cannot starve the loop.
  void drain(size_t limit) {
    char buffer[64 * 1024];
    while (output && limit > 0) {
      ssize_t count = ::read(output.get(), buffer, std::min(limit, sizeof buffer));
      if (count < 0 && errno == EINTR) continue;
      if (count < 0 && errno == EAGAIN) return;
      if (count <= 0) {
        output_watch.cancel();
        output.close();
        return;
      }
      tail.append(buffer, static_cast<size_t>(count));
      if (tail.size() > 2 * options.captured_bytes) tail.erase(0, tail.size() - options.captured_bytes);
      limit -= static_cast<size_t>(count);
    }
  }

  void passed_deadline() {
    timed_out = true;
    kill_all();
    deadline_timer = loop.after(kHungAfterKill, [this] {
      ChildEnd end;
      end.hung = true;
      report(std::move(end));
    });
  }

  void kill_all() {
    if (pid <= 0) return;
    ::kill(-pid, SIGKILL);
    ::syscall(SYS_pidfd_send_signal, pidfd.get(), SIGKILL, nullptr, 0);
    if (options.control_group.empty() || options.shares_control_group) return;
    OwnedFd file(::open((options.control_group + "/cgroup.kill").c_str(), O_WRONLY | O_CLOEXEC));
    ssize_t ignored = file ? ::write(file.get(), "1", 1) : 0;
    static_cast<void>(ignored);
  }

  void reap() {
    siginfo_t info{};
    int outcome = ::waitid(static_cast<idtype_t>(3 /* P_PIDFD */), static_cast<id_t>(pidfd.get()), &info,
                           WEXITED | WNOHANG);
    if (outcome == 0 && info.si_pid == 0) return;
    auto self = shared_from_this();
    exit_watch.cancel();
    pid = -1;
    ChildEnd end;
    if (outcome == 0) {
      end.exited = info.si_code == CLD_EXITED;
      (end.exited ? end.status : end.signal) = info.si_status;
    }
    StartError error{};
    if (::read(error_read.get(), &error, sizeof error) == sizeof error) {
      end.start_error = fmt::format("{}: {}", stage_text(error.stage), errno_text(error.error_number));
      if (static_cast<Stage>(error.stage) == Stage::kLogFile) end.start_error += " (" + options.log_file + ")";
    }
    drain(1024 * 1024);
    report(std::move(end));
  }

  void report(ChildEnd end) {
    deadline_timer.cancel();
    end.timed_out = timed_out;
    end.took = EventLoop::now() - begin;
    if (tail.size() > options.captured_bytes) tail.erase(0, tail.size() - options.captured_bytes);
    end.output = tail;
    auto callback = std::move(on_end);
    on_end = nullptr;
    if (callback) callback(end);
    if (pid < 0) {
      output_watch.cancel();
      output.close();
    }
  }

  EventLoop& loop;
  ChildOptions options;
  EndCallback on_end;
  Instant begin = EventLoop::now();
  pid_t pid = -1;  // -1 once reaped
  OwnedFd pidfd, error_read, output;
  std::string tail;
  bool timed_out = false;
  EventLoop::Handle exit_watch, output_watch, deadline_timer;
};

std::string describe(const ChildEnd& end) {
  if (!end.start_error.empty()) return "could not be started: " + end.start_error;
  if (end.hung) return "was killed at its deadline but hangs in the kernel";
  if (end.timed_out) return "did not end in time and was killed";
  if (end.exited) return fmt::format("ended with status {}", end.status);
  return fmt::format("was killed by signal {} ({})", end.signal, ::strsignal(end.signal));
}

ChildProcess& ChildProcess::operator=(ChildProcess&& other) noexcept {
  if (this != &other) {
    forget();
    state_ = std::move(other.state_);
  }
  return *this;
}

Result<ChildProcess> ChildProcess::spawn(EventLoop& loop, ChildOptions options, EndCallback on_end) {
  auto state = std::make_shared<State>(loop, std::move(options));
  auto launch = prepare(state->options);
  if (!launch) return pass(launch);
  auto started = start(state->options, *launch);
  if (!started) return pass(started);
  state->pid = started->pid;
  state->pidfd = std::move(started->pidfd);
  state->error_read = std::move(launch->error_read);
  state->output = std::move(launch->output_read);
  state->on_end = std::move(on_end);
  state->watch();
  ChildProcess child;
  child.state_ = std::move(state);
  return child;
}

bool ChildProcess::running() const { return state_ && state_->pid > 0; }

pid_t ChildProcess::pid() const { return state_ ? state_->pid : -1; }

void ChildProcess::send_signal(int signal_number) {
  if (!running()) return;
  ::syscall(SYS_pidfd_send_signal, state_->pidfd.get(), signal_number, nullptr, 0);
}

void ChildProcess::kill_all() {
  if (state_) state_->kill_all();
}

void ChildProcess::forget() {
  if (state_) state_->on_end = nullptr;
  state_.reset();  // the pidfd's watch keeps it until the process has been reaped
}

}  // namespace baton
