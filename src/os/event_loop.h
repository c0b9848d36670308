// EventLoop: the one loop of batond (and of baton-shim): descriptors, timers, signals and posted calls.
// Everything runs on the thread that calls run(); only post() and stop() may be called from other threads.
// Times are CLOCK_MONOTONIC. No callback may block: what can hang runs in helper_process.h or worker_thread.h.
#pragma once

#include <functional>
#include <memory>

#include "src/base/time.h"

namespace baton {

class EventLoop {
 public:
  using Callback = std::function<void()>;
  struct Impl;
  struct Registration;

  /// One watch or timer. Destroying it cancels: its callback is not called afterwards, also when it is
  /// destroyed inside that callback. It may outlive the loop.
  class [[nodiscard]] Handle {
   public:
    Handle() = default;
    explicit Handle(std::shared_ptr<Registration> registration) : registration_(std::move(registration)) {}
    Handle(Handle&&) noexcept = default;
    Handle& operator=(Handle&& other) noexcept;
    ~Handle() { cancel(); }
    void cancel();
    /// False when empty, cancelled, or a timer that has fired.
    bool active() const;

   private:
    std::shared_ptr<Registration> registration_;
  };

  EventLoop();
  ~EventLoop();
  EventLoop(const EventLoop&) = delete;
  EventLoop& operator=(const EventLoop&) = delete;

  /// Calls `callback` whenever `fd` is readable (or at its end), for as long as it stays so. The descriptor is
  /// duplicated, so several watches may share one and the caller may close its own at any time; it is set
  /// non-blocking. REQUIRES: something that can be polled, so no regular file.
  Handle watch_readable(int fd, Callback callback);
  Handle watch_writable(int fd, Callback callback);

  /// Calls `callback` once at `when` (at once if that has passed; kNever: never).
  Handle at(Instant when, Callback callback);
  Handle after(Duration delay, Callback callback);

  /// Calls `callback` at each delivery of a signal, which from now on no longer kills the process.
  Handle on_signal(int signal_number, Callback callback);

  /// Calls `callback` soon, from the loop's thread, in the order of posting. Any thread.
  void post(Callback callback);

  /// Runs until stop(), also while there is nothing to wait for.
  void run();
  /// Makes run() return after the callback in progress. Any thread.
  void stop();
  /// Runs until `done` returns true (true) or `limit` has passed (false). For tests and small tools.
  bool run_until(const std::function<bool()>& done, Duration limit);

  static Instant now();

  Impl& impl() { return *impl_; }

 private:
  std::unique_ptr<Impl> impl_;
};

}  // namespace baton
