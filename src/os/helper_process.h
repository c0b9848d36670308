// Helper processes: everything that can hang (mount, fsck, umount, ...) runs in one, with a deadline, so that
// the loop never waits. One thread: the loop's.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "src/base/result.h"
#include "src/os/event_loop.h"

namespace baton {

struct HelperRequest {
  std::string purpose;  // what is waited for, for messages: "mounting /dev/loop0 on /data"
  std::vector<std::string> argv;
  Duration deadline = 30s;
  std::string user;                          // empty: as Baton runs
  std::vector<std::string> environment;      // NAME=value, added
  std::vector<int> accepted_statuses = {0};  // exit statuses that are no error
  std::string input;                         // what it reads from its standard input
};

struct HelperOutput {
  int status = 0;
  std::string output;  // stdout and stderr as printed, the last 16 KiB
  Duration took{};
};

using HelperCallback = std::function<void(Result<HelperOutput>)>;

/// Runs a command; `callback` is called exactly once, from the loop, never from inside this call. An error says
/// what was waited for, which command, how it ended and its last lines; its code is kTimeout after the
/// deadline. A command that cannot even be killed (stuck in the kernel) is reported two seconds after the
/// deadline.
void run_helper(EventLoop& loop, HelperRequest request, HelperCallback callback);

/// From now on helpers run in this control group, which exists: the next batond finds there what has outlived this one.
void keep_helpers_in(const std::string& control_group);

/// ... but those that are begun while this lives, and those begun from their callbacks, in this one (empty: no other).
class HelperPlace {
 public:
  explicit HelperPlace(std::string control_group);
  ~HelperPlace();
  HelperPlace(const HelperPlace&) = delete;
  HelperPlace& operator=(const HelperPlace&) = delete;

 private:
  std::string before_;
};

/// The last three lines of a log, for messages; empty if they cannot be read within a second: the file may be on a filesystem that hangs.
void read_last_lines(EventLoop& loop, const std::string& log_file, std::function<void(const std::string& lines)> callback);

/// The last `lines` lines of `text`, joined by " | ".
std::string last_lines(const std::string& text, size_t lines = 5);

}  // namespace baton
