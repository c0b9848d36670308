// An operation's user data is its slot's index and a use count, so that a late cancel cannot hit a later operation.
#include "src/mirror/ring.h"

#include <sched.h>
#include <time.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "src/base/assert.h"

namespace baton::mirror {
namespace {

constexpr unsigned kEntries = 1024;
constexpr unsigned kCompletions = 8192;
constexpr uint64_t kNoCallback = 0;

uint32_t slot_index(uint64_t name) { return static_cast<uint32_t>(name) - 1; }

/// Whoever has one processor only must not look: what it waits for needs that one.
bool several_processors() {
  cpu_set_t allowed;
  return sched_getaffinity(0, sizeof allowed, &allowed) != 0 || CPU_COUNT(&allowed) > 1;
}

/// Anything else means that the kernel no longer takes entries: nothing could ever be acknowledged again.
void check(int result) {
  BATON_ASSERT(result >= 0 || result == -ETIME || result == -EINTR || result == -EAGAIN || result == -EBUSY);
}

}  // namespace

Result<std::unique_ptr<Ring>> Ring::create() {
  std::unique_ptr<Ring> ring(new Ring());
  ring->several_processors_ = several_processors();
  // Best first: what an older kernel does not know it refuses with EINVAL.
  const unsigned choices[] = {IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_TASKRUN_FLAG,
                              IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG, 0};
  int error = 0;
  for (unsigned flags : choices) {
    io_uring_params parameters{};
    parameters.flags = flags | IORING_SETUP_CQSIZE;
    parameters.cq_entries = kCompletions;
    error = -io_uring_queue_init_params(kEntries, &ring->ring_, &parameters);
    if (error == 0) {
      ring->ready_ = true;
      return ring;
    }
    if (error != EINVAL) break;
  }
  return fail("cannot set up io_uring: {}. The kernel must be 5.11 or newer, and kernel.io_uring_disabled 0",
              std::strerror(error));
}

Ring::~Ring() {
  if (ready_) io_uring_queue_exit(&ring_);
}

Instant Ring::now() {
  timespec time{};
  clock_gettime(CLOCK_MONOTONIC, &time);
  return Instant(seconds(time.tv_sec) + Duration(time.tv_nsec));
}

io_uring_sqe* Ring::next_entry() {
  io_uring_sqe* entry = io_uring_get_sqe(&ring_);
  while (entry == nullptr) {
    io_uring_submit(&ring_);
    entry = io_uring_get_sqe(&ring_);
  }
  return entry;
}

Ring::Operation Ring::begin(io_uring_sqe* entry, Callback callback) {
  if (free_slot_ == 0) {
    slots_.emplace_back();
    free_slot_ = static_cast<uint32_t>(slots_.size());
  }
  const uint32_t number = free_slot_;
  Slot& slot = slots_[number - 1];
  free_slot_ = slot.next_free;
  slot.next_free = 0;
  slot.name = (static_cast<uint64_t>(++uses_) << 32) | number;
  slot.callback = std::move(callback);
  io_uring_sqe_set_data64(entry, slot.name);
  return slot.name;
}

Ring::Operation Ring::read(int fd, void* data, uint32_t size, uint64_t offset, Callback callback) {
  io_uring_sqe* entry = next_entry();
  io_uring_prep_read(entry, fd, data, size, offset);
  return begin(entry, std::move(callback));
}

Ring::Operation Ring::write(int fd, const void* data, uint32_t size, uint64_t offset, Callback callback) {
  io_uring_sqe* entry = next_entry();
  io_uring_prep_write(entry, fd, data, size, offset);
  return begin(entry, std::move(callback));
}

Ring::Operation Ring::writev(int fd, const iovec* parts, unsigned count, Callback callback) {
  io_uring_sqe* entry = next_entry();
  io_uring_prep_writev(entry, fd, parts, count, static_cast<uint64_t>(-1));
  return begin(entry, std::move(callback));
}

Ring::Operation Ring::fdatasync(int fd, Callback callback) {
  io_uring_sqe* entry = next_entry();
  io_uring_prep_fsync(entry, fd, IORING_FSYNC_DATASYNC);
  return begin(entry, std::move(callback));
}

Ring::Operation Ring::fallocate(int fd, int mode, uint64_t offset, uint64_t size, Callback callback) {
  io_uring_sqe* entry = next_entry();
  io_uring_prep_fallocate(entry, fd, mode, static_cast<off_t>(offset), static_cast<off_t>(size));
  return begin(entry, std::move(callback));
}

Ring::Operation Ring::madvise(void* memory, size_t size, int advice, Callback callback) {
  io_uring_sqe* entry = next_entry();
  io_uring_prep_madvise(entry, memory, static_cast<off_t>(size), advice);
  entry->flags |= IOSQE_ASYNC;
  return begin(entry, std::move(callback));
}

Ring::Operation Ring::poll(int fd, short events, Callback callback) {
  io_uring_sqe* entry = next_entry();
  io_uring_prep_poll_add(entry, fd, static_cast<unsigned>(events));
  return begin(entry, std::move(callback));
}

Ring::Operation Ring::poll_and_readv(int fd, const iovec* parts, unsigned count, Callback callback) {
  // The two must go in one submission, or the link between them is lost.
  if (io_uring_sq_space_left(&ring_) < 2) io_uring_submit(&ring_);
  io_uring_sqe* first = next_entry();
  io_uring_prep_poll_add(first, fd, POLLIN);
  first->flags |= IOSQE_IO_LINK;
  // The poll's own end is passed over; a cancel goes to it by the descriptor's read, which shares its chain.
  io_uring_sqe* second = next_entry();
  io_uring_prep_readv(second, fd, parts, count, static_cast<uint64_t>(-1));
  const Operation name = begin(second, std::move(callback));
  // Bit 31 of the slot number marks the poll of a chain: reap() ignores it, cancel() names it.
  io_uring_sqe_set_data64(first, name | (uint64_t{1} << 31));
  return name;
}

Ring::Operation Ring::receive(int socket, void* data, uint32_t size, Callback callback) {
  io_uring_sqe* entry = next_entry();
  io_uring_prep_recv(entry, socket, data, size, 0);
  return begin(entry, std::move(callback));
}

Ring::Operation Ring::send_message(int socket, const msghdr* message, Callback callback) {
  io_uring_sqe* entry = next_entry();
  io_uring_prep_sendmsg(entry, socket, message, MSG_NOSIGNAL);
  return begin(entry, std::move(callback));
}

void Ring::cancel(Operation operation) {
  for (const uint64_t name : {operation | (uint64_t{1} << 31), operation}) {
    io_uring_sqe* entry = next_entry();
    io_uring_prep_cancel64(entry, name, 0);
    io_uring_sqe_set_data64(entry, kNoCallback);
  }
}

Ring::Timer Ring::at(Instant when, std::function<void()> callback) {
  const Timer timer = ++last_timer_;
  timers_.emplace(std::make_pair(when, timer), std::move(callback));
  timer_times_.emplace(timer, when);
  return timer;
}

void Ring::cancel_timer(Timer timer) {
  auto found = timer_times_.find(timer);
  if (found == timer_times_.end()) return;
  timers_.erase({found->second, timer});
  timer_times_.erase(found);
}

/// Submits, and waits for a completion or until `limit` has passed.
void Ring::submit_and_wait(Duration limit) {
  __kernel_timespec time{};
  time.tv_sec = limit.count() / 1'000'000'000;
  time.tv_nsec = limit.count() % 1'000'000'000;
  io_uring_cqe* completion = nullptr;
  check(io_uring_submit_and_wait_timeout(&ring_, &completion, 1, &time, nullptr));
}

/// Submits, and looks for a completion for as long as `limit`; false: there is none yet. The processor is offered to
/// others all the time: the disk's and the client's own work needs it too.
bool Ring::look(Instant start, Duration limit) {
  check(io_uring_submit_and_get_events(&ring_));
  while (io_uring_cq_ready(&ring_) == 0) {
    if ((IO_URING_READ_ONCE(*ring_.sq.kflags) & IORING_SQ_TASKRUN) != 0) {
      check(io_uring_get_events(&ring_));
      if (io_uring_cq_ready(&ring_) != 0) break;
    }
    const Instant time = now();
    if (time - start >= limit) return false;
    sched_yield();
    const Instant after = now();
    if (after - time > BusyWait::kStolen) {
      busy_wait_.stolen(after);
      limit = Duration::zero();
    }
  }
  return true;
}

void Ring::wait(Instant deadline) {
  if (!timers_.empty()) deadline = std::min(deadline, timers_.begin()->first.first);
  const auto left = [deadline](Instant time) {
    return deadline == kNever ? Duration(seconds(3600)) : std::max(Duration::zero(), deadline - time);
  };
  const Instant start = now();
  const Duration budget = several_processors_ ? std::min(left(start), busy_wait_.budget(start)) : Duration::zero();
  if (budget == Duration::zero()) {
    submit_and_wait(left(start));
  } else if (!look(start, budget)) {
    submit_and_wait(left(now()));
  }
  busy_wait_.ended(now() - start);
}

void Ring::reap() {
  io_uring_cqe* completion = nullptr;
  while (io_uring_peek_cqe(&ring_, &completion) == 0 && completion != nullptr) {
    const uint64_t name = io_uring_cqe_get_data64(completion);
    const int result = completion->res;
    io_uring_cqe_seen(&ring_, completion);
    if (name == kNoCallback || (name & (uint64_t{1} << 31)) != 0) continue;
    Slot& slot = slots_.at(slot_index(name));
    BATON_ASSERT(slot.name == name);
    Callback callback = std::move(slot.callback);
    slot.name = 0;
    slot.next_free = free_slot_;
    free_slot_ = slot_index(name) + 1;
    callback(result);
  }
}

void Ring::run_timers() {
  const Instant time = now();
  while (!timers_.empty() && timers_.begin()->first.first <= time) {
    auto entry = timers_.extract(timers_.begin());
    timer_times_.erase(entry.key().second);
    entry.mapped()();
  }
}

void Ring::run_once(Instant deadline) {
  wait(deadline);
  reap();
  run_timers();
}

void Ring::run(const std::function<Instant()>& before_wait) {
  while (!stopped_) run_once(before_wait());
}

bool Ring::run_until(const std::function<bool()>& done, Duration limit) {
  const Instant deadline = now() + limit;
  while (!done()) {
    const Instant time = now();
    if (time >= deadline) return false;
    run_once(std::min(deadline, time + 5ms));
  }
  return true;
}

}  // namespace baton::mirror
