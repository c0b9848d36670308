// Ring: the mirror daemon's one event loop, on io_uring: disk, sockets, polls and timers. Everything begun during a
// round is submitted in one system call, which also waits (or looks, see busy_wait.h). One thread; callbacks run from run().
#pragma once

#include <liburing.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <vector>

#include "src/base/result.h"
#include "src/base/time.h"
#include "src/mirror/busy_wait.h"
#include "src/mirror/inline_callback.h"

namespace baton::mirror {

class Ring {
 public:
  /// Called once with what the system call of that kind would return, or -errno.
  using Callback = InlineCallback;
  /// Names an operation under way, for cancel(). Never 0.
  using Operation = uint64_t;
  using Timer = uint64_t;

  static Result<std::unique_ptr<Ring>> create();
  ~Ring();
  Ring(const Ring&) = delete;
  Ring& operator=(const Ring&) = delete;

  // Memory and descriptors given to an operation must stay until its callback.
  Operation read(int fd, void* data, uint32_t size, uint64_t offset, Callback callback);
  Operation write(int fd, const void* data, uint32_t size, uint64_t offset, Callback callback);
  Operation writev(int fd, const iovec* parts, unsigned count, Callback callback);
  Operation fdatasync(int fd, Callback callback);
  Operation fallocate(int fd, int mode, uint64_t offset, uint64_t size, Callback callback);
  /// In a thread of the kernel's: whatever it waits for, the loop does not.
  Operation madvise(void* memory, size_t size, int advice, Callback callback);
  /// Once, with the events that came.
  Operation poll(int fd, short events, Callback callback);
  /// Waits until `fd` is readable, then reads from its stream; a spurious wake-up gives -EAGAIN.
  Operation poll_and_readv(int fd, const iovec* parts, unsigned count, Callback callback);
  /// REQUIRES: a blocking socket (the ring does not block on it).
  Operation receive(int socket, void* data, uint32_t size, Callback callback);
  Operation send_message(int socket, const msghdr* message, Callback callback);

  /// Asks for an early end: the callback still comes, with -ECANCELED or with what had been done by then.
  void cancel(Operation operation);

  Timer at(Instant when, std::function<void()> callback);
  Timer after(Duration delay, std::function<void()> callback) { return at(now() + delay, std::move(callback)); }
  /// Harmless for one that has fired.
  void cancel_timer(Timer timer);

  /// Runs until stop(). Before each wait `before_wait` is called; it returns when it wants to be called again at the
  /// latest (kNever: when something happens).
  void run(const std::function<Instant()>& before_wait);
  void stop() { stopped_ = true; }
  /// Runs until `done`, which is asked every few milliseconds, is true; false if `limit` passed first. For tests.
  bool run_until(const std::function<bool()>& done, Duration limit);

  /// CLOCK_MONOTONIC.
  static Instant now();

 private:
  struct Slot {
    Callback callback;
    Operation name = 0;
    uint32_t next_free = 0;
  };

  Ring() = default;
  io_uring_sqe* next_entry();
  Operation begin(io_uring_sqe* entry, Callback callback);
  void submit_and_wait(Duration limit);
  bool look(Instant start, Duration limit);
  void wait(Instant deadline);
  void reap();
  void run_timers();
  void run_once(Instant deadline);

  io_uring ring_{};
  bool ready_ = false;
  bool stopped_ = false;
  bool several_processors_ = false;
  std::deque<Slot> slots_;  // grows when needed, never shrinks: addresses stay
  uint32_t free_slot_ = 0;  // index + 1 of the first free slot; 0: none
  uint32_t uses_ = 0;
  std::map<std::pair<Instant, Timer>, std::function<void()>> timers_;
  std::map<Timer, Instant> timer_times_;
  Timer last_timer_ = 0;
  BusyWait busy_wait_;
};

}  // namespace baton::mirror
