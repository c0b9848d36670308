// ChildProcess: starts a program and reports its end. Watched by pidfd, so no signal handler is involved and
// process numbers are never mistaken. What the program prints is drained and its end kept, or goes to a log
// file. Everything that can block (opening the log, changing directory, exec) happens in the child. One thread:
// the loop's.
#pragma once

#include <sys/types.h>

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "src/base/result.h"
#include "src/base/time.h"
#include "src/os/event_loop.h"

namespace baton {

struct ChildOptions {
  enum class Output { kCapture, kLogFile, kDiscard };

  std::vector<std::string> argv;         // argv[0] without a slash is looked up in PATH
  std::vector<std::string> environment;  // NAME=value; added to PATH, HOME, USER and LOGNAME, may override them
  std::string user;                      // from /etc/passwd, with its groups from /etc/group; empty: unchanged
  std::string working_directory = "/";
  std::string control_group;  // a cgroup v2 directory the child is born in; empty: Baton's own
  bool shares_control_group = false;  // with others: its deadline leaves them alone
  bool new_session = false;   // for children that outlive Baton; all others get a process group of their own
  Output output = Output::kCapture;
  std::string log_file;                 // for kLogFile: appended to, created if missing
  size_t captured_bytes = 16 * 1024;    // for kCapture: how much of the end of the output is kept
  std::string input;                    // what it reads from its standard input; nothing else does
  std::vector<int> passed_descriptors;  // become 3, 4, ... in the child; all others are closed
  bool may_lock_memory = false;         // RLIMIT_MEMLOCK unlimited
  std::optional<Duration> deadline;     // then SIGKILL to its group (and control group, if it has one of its own)
};

/// How a child ended.
struct ChildEnd {
  bool timed_out = false;
  bool hung = false;    // killed at its deadline, but stuck in the kernel: it is reaped later, unreported
  bool exited = false;  // true: `status` counts; false: killed by `signal`
  int status = 0;
  int signal = 0;
  std::string start_error;  // not empty: the program never ran, and this is why
  std::string output;       // the end of what it printed
  Duration took{};
};

/// "ended with status 3", "was killed by signal 9 (Killed)", "could not be started: ...".
std::string describe(const ChildEnd& end);

class ChildProcess {
 public:
  using EndCallback = std::function<void(const ChildEnd&)>;

  ChildProcess() = default;
  ChildProcess(ChildProcess&&) noexcept = default;
  ChildProcess& operator=(ChildProcess&& other) noexcept;
  /// Forgets the child: it goes on running (a deadline still holds), is still reaped, and `on_end` is not
  /// called.
  ~ChildProcess() { forget(); }

  /// Starts the program. `on_end` is called exactly once, from the loop, also if exec fails (start_error).
  /// Errors: unknown user, no such control group, no memory or descriptors.
  static Result<ChildProcess> spawn(EventLoop& loop, ChildOptions options, EndCallback on_end);

  bool running() const;
  pid_t pid() const;
  /// Sends a signal to the process itself; without effect once it has ended.
  void send_signal(int signal_number);
  /// SIGKILL to its process group and, if it has one of its own, control group.
  void kill_all();
  /// As the destructor.
  void forget();

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace baton
