// EventLoop over Boost.Asio's epoll reactor; the only file here that includes Asio. A registration is shared by
// its handle and by the pending Asio operation; the loop knows all of them, so that either may die first.
#include "src/os/event_loop.h"

#include <fcntl.h>
#include <time.h>

#include <algorithm>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/signal_set.hpp>
#include <boost/asio/steady_timer.hpp>
#include <optional>
#include <unordered_set>

#include "src/base/assert.h"
#include "src/os/event_loop_asio.h"

namespace baton {

namespace asio = boost::asio;
using boost::system::error_code;

struct EventLoop::Registration : std::enable_shared_from_this<EventLoop::Registration> {
  Registration(EventLoop::Impl& the_loop, Callback the_callback);
  virtual ~Registration() = default;
  virtual void arm() = 0;
  /// Destroys the Asio object, which must not outlive the loop as this registration may.
  virtual void close() = 0;

  /// Idempotent; breaks cycles through what the callback captured.
  void cancel();

  void fired(const error_code& error, bool again) {
    if (loop == nullptr || error) return;
    if (!again) forget();
    Callback running = std::move(callback);
    running();
    if (loop == nullptr || !again) return;
    callback = std::move(running);
    arm();
  }

  void forget();

  EventLoop::Impl* loop;  // null once cancelled
  Callback callback;
};

struct EventLoop::Impl {
  asio::io_context io{1};
  asio::executor_work_guard<asio::io_context::executor_type> work{io.get_executor()};
  std::unordered_set<Registration*> registrations;

  Handle add(std::shared_ptr<Registration> registration) {
    registration->arm();
    return Handle(std::move(registration));
  }
};

EventLoop::Registration::Registration(EventLoop::Impl& the_loop, Callback the_callback)
    : loop(&the_loop), callback(std::move(the_callback)) {
  loop->registrations.insert(this);
}

void EventLoop::Registration::forget() {
  if (loop == nullptr) return;
  loop->registrations.erase(this);
  loop = nullptr;
  close();
}

void EventLoop::Registration::cancel() {
  auto self = weak_from_this().lock();
  if (loop == nullptr) return;
  forget();
  Callback dropped = std::move(callback);
  callback = nullptr;
}

namespace {

struct DescriptorWatch final : EventLoop::Registration {
  DescriptorWatch(EventLoop::Impl& the_loop, int fd, asio::posix::stream_descriptor::wait_type the_type,
                  EventLoop::Callback the_callback)
      : Registration(the_loop, std::move(the_callback)),
        descriptor(std::in_place, the_loop.io),
        type(the_type) {
    int copy = ::fcntl(fd, F_DUPFD_CLOEXEC, 0);
    BATON_ASSERT(copy >= 0);
    error_code error;
    descriptor->assign(copy, error);
    BATON_ASSERT(!error);
  }
  void arm() override {
    auto self = shared_from_this();
    descriptor->async_wait(type, [self](const error_code& error) { self->fired(error, true); });
  }
  void close() override { descriptor.reset(); }

  std::optional<asio::posix::stream_descriptor> descriptor;
  asio::posix::stream_descriptor::wait_type type;
};

struct Timer final : EventLoop::Registration {
  Timer(EventLoop::Impl& the_loop, Instant when, EventLoop::Callback the_callback)
      : Registration(the_loop, std::move(the_callback)),
        timer(std::in_place, the_loop.io, std::chrono::steady_clock::time_point(when.time_since_epoch())) {}
  void arm() override {
    auto self = shared_from_this();
    timer->async_wait([self](const error_code& error) { self->fired(error, false); });
  }
  void close() override { timer.reset(); }

  std::optional<asio::steady_timer> timer;
};

struct SignalWatch final : EventLoop::Registration {
  SignalWatch(EventLoop::Impl& the_loop, int signal_number, EventLoop::Callback the_callback)
      : Registration(the_loop, std::move(the_callback)), signals(std::in_place, the_loop.io, signal_number) {}
  void arm() override {
    auto self = shared_from_this();
    signals->async_wait([self](const error_code& error, int) { self->fired(error, true); });
  }
  void close() override { signals.reset(); }

  std::optional<asio::signal_set> signals;
};

}  // namespace

EventLoop::Handle& EventLoop::Handle::operator=(Handle&& other) noexcept {
  if (this != &other) {
    cancel();
    registration_ = std::move(other.registration_);
  }
  return *this;
}

void EventLoop::Handle::cancel() {
  auto registration = std::move(registration_);
  if (registration) registration->cancel();
}

bool EventLoop::Handle::active() const { return registration_ && registration_->loop != nullptr; }

EventLoop::EventLoop() : impl_(std::make_unique<Impl>()) {}

EventLoop::~EventLoop() {
  while (!impl_->registrations.empty()) (*impl_->registrations.begin())->cancel();
}

EventLoop::Handle EventLoop::watch_readable(int fd, Callback callback) {
  return impl_->add(std::make_shared<DescriptorWatch>(*impl_, fd, asio::posix::stream_descriptor::wait_read,
                                                      std::move(callback)));
}

EventLoop::Handle EventLoop::watch_writable(int fd, Callback callback) {
  return impl_->add(std::make_shared<DescriptorWatch>(*impl_, fd, asio::posix::stream_descriptor::wait_write,
                                                      std::move(callback)));
}

EventLoop::Handle EventLoop::at(Instant when, Callback callback) {
  if (when == kNever) return {};
  return impl_->add(std::make_shared<Timer>(*impl_, when, std::move(callback)));
}

EventLoop::Handle EventLoop::after(Duration delay, Callback callback) {
  if (delay == Duration::max()) return {};
  return at(now() + delay, std::move(callback));
}

EventLoop::Handle EventLoop::on_signal(int signal_number, Callback callback) {
  return impl_->add(std::make_shared<SignalWatch>(*impl_, signal_number, std::move(callback)));
}

void EventLoop::post(Callback callback) { asio::post(impl_->io, std::move(callback)); }

void EventLoop::run() {
  impl_->io.restart();
  impl_->io.run();
}

void EventLoop::stop() { impl_->io.stop(); }

bool EventLoop::run_until(const std::function<bool()>& done, Duration limit) {
  const Instant end = now() + limit;
  impl_->io.restart();
  while (!done()) {
    const Duration left = end - now();
    if (left <= Duration::zero()) return false;
    impl_->io.run_one_for(std::min<Duration>(left, 5ms));  // what is waited for may be outside the loop
    if (impl_->io.stopped()) return done();
  }
  return true;
}

Instant EventLoop::now() {
  timespec time{};
  ::clock_gettime(CLOCK_MONOTONIC, &time);
  return Instant(std::chrono::seconds(time.tv_sec) + std::chrono::nanoseconds(time.tv_nsec));
}

asio::io_context& asio_context_of(EventLoop& loop) { return loop.impl().io; }

}  // namespace baton
