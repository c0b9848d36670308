// Starting processes for the lab: into a cgroup and new namespaces, inside a member's namespaces, or simply
// with their output caught. One thread; forks, so never to be called while other threads run.
#pragma once

#include <sys/types.h>

#include <functional>
#include <string>
#include <vector>

#include "src/base/result.h"
#include "src/base/time.h"
#include "src/lab/lab_cgroup.h"

namespace baton::lab {

/// A child that reports through a pipe: "ready", or what went wrong.
struct Started {
  pid_t pid = 0;
  int ready = -1;  // read end; the child writes one line and closes
  int go =
      -1;  // write end; the child waits for one byte where it has a second phase, closing it ends the child
};

/// The descriptors that a started program finds its two pipes at.
inline constexpr int kReadyDescriptor = 3;
inline constexpr int kGoDescriptor = 4;

/// Starts a program detached from the terminal, in `cgroup` from its first instruction, with new namespaces
/// (CLONE_NEW... flags), output appended to `log`.
Result<Started> start_detached(const Cgroup& cgroup, uint64_t namespaces,
                               const std::vector<std::string>& command, const std::string& log);

/// Waits for a started program's "ready". An error carries what it said.
Status wait_ready(const std::string& what, Started& started, Duration limit);
/// Lets it go on to its second phase.
Status release(Started& started);

/// Runs a command with `input` on its standard input, waits, and gives its output (standard error too). Exit
/// status other than 0 is an error with the output. `prepare` runs in the child before the program.
Result<std::string> run_command(const std::vector<std::string>& command, const std::string& input,
                                Duration limit, const std::function<Status()>& prepare = {});

/// The pid 1 of a member, as the host sees it, found by its cgroup; 0 when there is none.
pid_t find_init(const Cgroup& cgroup);

/// Runs a command inside a member's namespaces and cgroup, with the caller's terminal and files. Returns its
/// exit status (128 + signal if it was killed), or an error if it could not be started. Changes this process's
/// own pid namespace for children: call it last or in a child.
Result<int> execute_inside(pid_t init, const Cgroup& cgroup, const std::vector<std::string>& command,
                           const std::string& programs);

/// PATH and the rest of the environment of everything that runs in the lab.
std::vector<std::string> lab_environment(const std::string& programs, bool interactive);

}  // namespace baton::lab
