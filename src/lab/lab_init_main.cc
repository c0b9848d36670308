// baton-lab-init: pid 1 of a lab member. Builds the member's view, reports, waits to be let go, then reaps, and
// starts and restarts batond once there is a cluster.toml. As `baton-lab-init hold` it only keeps the switches'
// network namespace. One thread, one poll loop.
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/inotify.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <map>
#include <string>

#include "src/lab/lab_init_mounts.h"
#include "src/lab/lab_process.h"
#include "src/lab/lab_state.h"
#include "src/lab/lab_wait.h"

namespace baton::lab {
namespace {

constexpr const char* kConfiguration = "/etc/baton/cluster.toml";
constexpr const char* kStopped = "/run/baton/stopped";  // an orderly shutdown: until the power is cut
constexpr const char* kDaemonLog = "/var/log/baton/batond.log";
constexpr int kQuickEnds = 5;                     // more ends than this...
constexpr int64_t kQuickWindow = 10'000'000'000;  // ...within this time...
constexpr int64_t kBackoff = 1'000'000'000;       // ...and the next start waits this long

void say(const std::string& line) {
  auto text = line + "\n";
  (void)!write(kReadyDescriptor, text.data(), text.size());
}

void quiet_ipv6(bool disable) {
  for (const char* scope : {"all", "default"}) {
    auto base = fmt::format("/proc/sys/net/ipv6/conf/{}/", scope);
    if (access(base.c_str(), F_OK) != 0) continue;
    (void)write_file(base + "accept_dad", "0");
    (void)write_file(base + "accept_ra", "0");
    (void)write_file(base + "router_solicitations", "0");
    if (disable) (void)write_file(base + "disable_ipv6", "1");
  }
}

// As far as the machine lets it: without CAP_SYS_RESOURCE up to the hard limit.
void raise_limit(__rlimit_resource which, rlim_t wanted) {
  rlimit limit{wanted, wanted};
  if (setrlimit(which, &limit) == 0 || getrlimit(which, &limit) != 0) return;
  limit.rlim_cur = std::min(limit.rlim_max, wanted);
  setrlimit(which, &limit);
}

void raise_limits() {
  raise_limit(RLIMIT_MEMLOCK, RLIM_INFINITY);
  raise_limit(RLIMIT_NOFILE, 1 << 20);
}

/// Keeps batond running while there is a configuration.
class Keeper {
 public:
  explicit Keeper(std::string daemon) : daemon_(std::move(daemon)) {}

  bool wants_start() const { return pid_ == 0 && access(kConfiguration, F_OK) == 0 && access(kStopped, F_OK) != 0; }
  /// How long until a wanted start may happen; 0: now.
  int64_t pause_ns(int64_t now) const { return std::max<int64_t>(0, not_before_ - now); }

  void start() {
    pid_ = fork();
    if (pid_ < 0) {
      fprintf(stderr, "cannot fork: %s\n", strerror(errno));
      pid_ = 0;
      not_before_ = monotonic_ns() + kBackoff;
    }
    if (pid_ != 0) return;
    setsid();
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, nullptr);
    int log = open(kDaemonLog, O_WRONLY | O_CREAT | O_APPEND, 0644);
    if (log >= 0) {
      dup2(log, 1);
      dup2(log, 2);
    }
    execl(daemon_.c_str(), daemon_.c_str(), nullptr);
    dprintf(2, "cannot run %s: %s\n", daemon_.c_str(), strerror(errno));
    _exit(127);
  }

  void ended(pid_t pid, int status, int64_t now) {
    if (pid != pid_) return;
    pid_ = 0;
    fprintf(stderr, "%s (pid %d) ended: %s %d\n", daemon_.c_str(), int(pid),
            WIFEXITED(status) ? "exit status" : "signal",
            WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status));
    ends_.push_back(now);
    while (!ends_.empty() && ends_.front() < now - kQuickWindow) ends_.pop_front();
    not_before_ = ends_.size() > kQuickEnds ? now + kBackoff : now;
  }

 private:
  std::string daemon_;
  pid_t pid_ = 0;
  int64_t not_before_ = 0;
  std::deque<int64_t> ends_;
};

void reap(Keeper& keeper) {
  int status;
  pid_t pid;
  while ((pid = waitpid(-1, &status, WNOHANG)) > 0) keeper.ended(pid, status, monotonic_ns());
}

[[noreturn]] void run(Keeper& keeper, int signals, int changes) {
  while (true) {
    int64_t pause = -1;
    if (keeper.wants_start()) {
      pause = keeper.pause_ns(monotonic_ns());
      if (pause == 0) {
        keeper.start();
        pause = -1;
      }
    }
    pollfd entries[] = {{signals, POLLIN, 0}, {changes, POLLIN, 0}};
    poll(entries, 2, pause < 0 ? -1 : int(pause / 1'000'000) + 1);
    char drain[4096];
    if (entries[0].revents & POLLIN) (void)!read(signals, drain, sizeof drain);
    if (entries[1].revents & POLLIN) (void)!read(changes, drain, sizeof drain);
    reap(keeper);
  }
}

int run_member(const MemberView& view, const std::string& daemon) {
  quiet_ipv6(false);
  if (auto built = build_member_view(view); !built) {
    say(built.error().message);
    return 1;
  }
  raise_limits();
  sigset_t mask;
  sigemptyset(&mask);
  sigaddset(&mask, SIGCHLD);
  sigprocmask(SIG_SETMASK, &mask, nullptr);
  int signals = signalfd(-1, &mask, SFD_NONBLOCK | SFD_CLOEXEC);
  int changes = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
  inotify_add_watch(changes, "/etc/baton", IN_CLOSE_WRITE | IN_MOVED_TO);
  say("ready");
  close(kReadyDescriptor);
  char letter;
  Keeper keeper(daemon);
  // Until it is let go: the links come, the cluster is created. If the lab command dies, so does the member.
  pollfd entries[] = {{kGoDescriptor, POLLIN, 0}, {signals, POLLIN, 0}};
  while (poll(entries, 2, -1) >= 0 || errno == EINTR) {
    reap(keeper);
    if (entries[0].revents != 0) break;
    signalfd_siginfo drained;
    (void)!read(signals, &drained, sizeof drained);
  }
  if (read(kGoDescriptor, &letter, 1) != 1) return 1;
  close(kGoDescriptor);
  run(keeper, signals, changes);
}

int run_holder() {
  quiet_ipv6(true);
  prctl(PR_SET_NAME, "lab-switch");
  say("ready");
  close(kReadyDescriptor);
  while (true) pause();
}

}  // namespace
}  // namespace baton::lab

int main(int count, char** arguments) {
  using namespace baton::lab;
  if (count == 2 && strcmp(arguments[1], "hold") == 0) return run_holder();
  std::map<std::string, std::string> given;
  for (int i = 1; i + 1 < count; i += 2) given[arguments[i]] = arguments[i + 1];
  if (!given.count("--name") || !given.count("--directory") || !given.count("--disk") ||
      !given.count("--daemon")) {
    fprintf(stderr, "baton-lab-init is started by `baton lab`; use that.\n");
    return 2;
  }
  MemberView view{.name = given["--name"], .directory = given["--directory"], .disk = given["--disk"]};
  return run_member(view, given["--daemon"]);
}
