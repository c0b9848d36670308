// Keeps the logs of services, scripts and programs from filling the disk, however much they print: they append to their files by
// themselves, so that they can outlive batond. The loop's thread; files are touched on a thread of its own.
#pragma once

#include <memory>
#include <string>

#include "src/base/time.h"
#include "src/os/event_loop.h"
#include "src/os/worker_thread.h"

namespace baton {

struct LogLimits {
  uint64_t bytes = 16 << 20;  // a log that has more is cut to nothing
  uint64_t kept = 4 << 20;    // ... and its last part kept in LOG.1
  Duration interval = 2s;
};

class LogLimit {
 public:
  LogLimit(EventLoop& loop, std::string directory, LogLimits limits = {});
  ~LogLimit();
  LogLimit(const LogLimit&) = delete;
  LogLimit& operator=(const LogLimit&) = delete;

 private:
  void look();

  EventLoop& loop_;
  std::string directory_;
  LogLimits limits_;
  LoopDoor door_;
  WorkerThread worker_;
  EventLoop::Handle timer_;
};

/// Cuts the logs in a directory that are too long. May wait for the disk: for threads that may.
void cut_long_logs(const std::string& directory, const LogLimits& limits);

}  // namespace baton
