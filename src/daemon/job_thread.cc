// JobThread's queue. The jobs run without the lock.
#include "src/daemon/job_thread.h"

#include <pthread.h>

namespace baton {

JobThread::JobThread(const std::string& name, std::function<void()> idle, Duration every)
    : idle_(std::move(idle)), every_(every), thread_([this] { work(); }) {
  ::pthread_setname_np(thread_.native_handle(), name.substr(0, 15).c_str());
}

JobThread::~JobThread() {
  {
    std::lock_guard lock(mutex_);
    ending_ = true;
  }
  changed_.notify_one();
  thread_.join();
}

void JobThread::run(std::function<void()> job) {
  {
    std::lock_guard lock(mutex_);
    jobs_.push_back(std::move(job));
  }
  changed_.notify_one();
}

void JobThread::work() {
  std::unique_lock lock(mutex_);
  while (true) {
    const auto wake = [this] { return ending_ || !jobs_.empty(); };
    if (idle_ == nullptr) {
      changed_.wait(lock, wake);
    } else if (!changed_.wait_for(lock, every_, wake)) {
      lock.unlock();
      idle_();
      lock.lock();
      continue;
    }
    if (jobs_.empty()) return;
    auto job = std::move(jobs_.front());
    jobs_.pop_front();
    lock.unlock();
    job();
    job = nullptr;  // what it captured is destroyed here, not under the lock
    lock.lock();
  }
}

}  // namespace baton
