// See worker_thread.h.
#include "src/os/worker_thread.h"

#include <signal.h>

#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>

namespace baton {

struct WorkerThread::Shared {
  std::mutex mutex;
  std::condition_variable changed;
  std::deque<std::function<void()>> jobs;
  bool stopping = false;

  void work() {
    std::unique_lock lock(mutex);
    for (;;) {
      changed.wait(lock, [this] { return stopping || !jobs.empty(); });
      if (stopping) return;
      auto job = std::move(jobs.front());
      jobs.pop_front();
      lock.unlock();
      job();
      job = nullptr;
      lock.lock();
    }
  }
};

WorkerThread::WorkerThread() : shared_(std::make_shared<Shared>()) {
  sigset_t all, before;  // signals belong to the loop's thread
  ::sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &before);
  std::thread([shared = shared_] { shared->work(); }).detach();
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

WorkerThread::~WorkerThread() {
  std::lock_guard lock(shared_->mutex);
  shared_->stopping = true;
  shared_->jobs.clear();
  shared_->changed.notify_all();
}

void WorkerThread::run(std::function<void()> job) {
  std::lock_guard lock(shared_->mutex);
  shared_->jobs.push_back(std::move(job));
  shared_->changed.notify_all();
}

struct LoopDoor::Shared {
  std::mutex mutex;
  EventLoop* loop = nullptr;  // null once closed
};

LoopDoor::LoopDoor(EventLoop& loop) : shared_(std::make_shared<Shared>()) { shared_->loop = &loop; }

void LoopDoor::post(std::function<void()> callback) const {
  std::lock_guard lock(shared_->mutex);
  if (shared_->loop == nullptr) return;
  // Only the loop's thread closes, so the check inside the posted call needs no lock held across the callback.
  shared_->loop->post([shared = shared_, callback = std::move(callback)] {
    std::unique_lock check(shared->mutex);
    const bool open = shared->loop != nullptr;
    check.unlock();
    if (open) callback();
  });
}

void LoopDoor::close() {
  std::lock_guard lock(shared_->mutex);
  shared_->loop = nullptr;
}

}  // namespace baton
