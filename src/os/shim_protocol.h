// What batond and a shim say to each other: the service's specification (argument of the shim) and JSON lines
// over a unix socket. batond: {"command": "status" | "stop" | "kill" | "forget"}. The shim, at each connection,
// at each change and in answer to "status": ShimReport as one object. Plain values, any thread.
#pragma once

#include <signal.h>
#include <sys/types.h>

#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "src/base/result.h"
#include "src/base/time.h"

namespace baton {

constexpr int kShimListeningFd = 3;  // the socket, bound by batond: a connection can never come too early

struct ServiceSpec {
  std::string name;  // letters, digits, '.', '_', '-'; it is part of file names
  std::vector<std::string> argv;
  std::vector<std::string> environment;  // NAME=value
  std::string user;                      // empty: root
  std::string working_directory = "/";
  std::string control_group;    // directory; made by batond before the start
  std::string log_file;         // stdout and stderr are appended
  int stop_signal = SIGTERM;    // to the main process
  Duration stop_timeout = 20s;  // then everything is killed
  std::string status_file;      // the last report is written here at the end; empty: nowhere
};

/// The state of a service under its shim.
struct ShimReport {
  enum class State { kRunning, kStopping, kEnded };
  State state = State::kRunning;
  pid_t main_process = 0;
  bool group_empty = false;  // nothing of the service is left, not only its main process
  // Once kEnded, of the main process:
  bool exited = false;
  int status = 0;
  int signal = 0;
  int64_t at_ns = 0;        // CLOCK_MONOTONIC of the end
  std::string start_error;  // not empty: the program never ran
  bool killed_after_timeout = false;
};

nlohmann::json to_json_value(const ServiceSpec& spec);
Result<ServiceSpec> service_spec_from(const std::string& json_text);
std::string to_line(const ShimReport& report);
Result<ShimReport> shim_report_from(const std::string& line);

/// "ended with status 1", "was killed by signal 9 (Killed)", ...
std::string describe(const ShimReport& report);

/// Takes complete lines out of `buffer`.
std::vector<std::string> take_lines(std::string& buffer);

struct ShimPaths {
  std::string runtime_directory = "/run/baton";
  std::string socket(const std::string& name) const { return runtime_directory + "/shim-" + name + ".sock"; }
  std::string spec(const std::string& name) const { return runtime_directory + "/shim-" + name + ".json"; }
  std::string log(const std::string& name) const { return runtime_directory + "/shim-" + name + ".log"; }
};

}  // namespace baton
