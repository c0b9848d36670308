// WorkerThread: a thread for library calls that may hang (corosync's IPC has no time-out, /proc of a stuck
// process). Jobs run there one after the other; answers come back through EventLoop::post. Owned by the loop's
// thread.
#pragma once

#include <functional>
#include <memory>

#include "src/os/event_loop.h"

namespace baton {

class WorkerThread {
 public:
  WorkerThread();
  /// Drops the jobs not begun. One that runs is not waited for: it must own what it uses.
  ~WorkerThread();
  WorkerThread(const WorkerThread&) = delete;
  WorkerThread& operator=(const WorkerThread&) = delete;

  void run(std::function<void()> job);

 private:
  struct Shared;
  std::shared_ptr<Shared> shared_;
};

/// The way from another thread back to a loop that may be gone by then. Copies share one door; any thread
/// posts, the loop's thread closes it, at the latest before the loop dies.
class LoopDoor {
 public:
  explicit LoopDoor(EventLoop& loop);
  void post(std::function<void()> callback) const;
  /// Nothing is posted afterwards, and what has been posted already is not called any more.
  void close();

 private:
  struct Shared;
  std::shared_ptr<Shared> shared_;
};

}  // namespace baton
