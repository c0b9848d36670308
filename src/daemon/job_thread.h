// JobThread: a named thread that runs jobs one after the other in the order given. Unlike os/worker_thread.h it
// finishes what was given before it ends: its jobs write to disk. run() may be called from any thread.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <string>
#include <thread>

#include "src/base/time.h"

namespace baton {

class JobThread {
 public:
  /// `name` is what ps and gdb show (15 characters). `idle` runs on the thread whenever `every` passes without a job.
  explicit JobThread(const std::string& name, std::function<void()> idle = nullptr, Duration every = 1s);
  /// Runs all jobs given so far, then ends the thread.
  ~JobThread();
  JobThread(const JobThread&) = delete;
  JobThread& operator=(const JobThread&) = delete;

  void run(std::function<void()> job);

 private:
  void work();

  std::function<void()> idle_;
  Duration every_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::function<void()>> jobs_;
  bool ending_ = false;
  std::thread thread_;  // last: starts when everything else is there
};

}  // namespace baton
