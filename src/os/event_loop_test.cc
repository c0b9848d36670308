// EventLoop: what fires, in which order, and that a handle may die anywhere.
#include "src/os/event_loop.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <optional>
#include <thread>

#include "src/os/owned_fd.h"

namespace baton {
namespace {

struct Pipe {
  Pipe() {
    int ends[2];
    EXPECT_EQ(::pipe2(ends, O_CLOEXEC), 0);
    read_end = OwnedFd(ends[0]);
    write_end = OwnedFd(ends[1]);
  }
  OwnedFd read_end, write_end;
};

TEST(EventLoop, TimersFireInOrderAndNotEarly) {
  EventLoop loop;
  std::string order;
  const Instant start = EventLoop::now();
  auto second = loop.after(20ms, [&] { order += "b"; });
  auto first = loop.after(5ms, [&] { order += "a"; });
  auto never = loop.at(kNever, [&] { order += "x"; });
  EXPECT_TRUE(loop.run_until([&] { return order.size() == 2; }, 2s));
  EXPECT_EQ(order, "ab");
  EXPECT_GE(EventLoop::now() - start, 20ms);
  EXPECT_FALSE(first.active());
}

TEST(EventLoop, ReadableRepeatsWhileUnread) {
  EventLoop loop;
  Pipe pipe;
  int calls = 0;
  ASSERT_EQ(::write(pipe.write_end.get(), "x", 1), 1);
  auto one = loop.watch_readable(pipe.read_end.get(), [&] { ++calls; });
  auto other = loop.watch_readable(pipe.read_end.get(), [&] { ++calls; });
  EXPECT_TRUE(loop.run_until([&] { return calls >= 6; }, 2s));
  bool writable = false;
  auto third = loop.watch_writable(pipe.write_end.get(), [&] { writable = true; });
  EXPECT_TRUE(loop.run_until([&] { return writable; }, 2s));
}

TEST(EventLoop, HandleDestroyedInsideItsOwnCallback) {
  EventLoop loop;
  Pipe pipe;
  ASSERT_EQ(::write(pipe.write_end.get(), "x", 1), 1);
  auto token = std::make_shared<int>(0);
  std::weak_ptr<int> weak = token;
  std::optional<EventLoop::Handle> handle;
  handle = loop.watch_readable(pipe.read_end.get(), [&handle, token] {
    handle.reset();
    ++*token;  // captured state lives until the callback returns
  });
  token.reset();
  EXPECT_TRUE(loop.run_until([&] { return weak.expired(); }, 2s));
}

TEST(EventLoop, CancelledCallbackIsNotCalled) {
  EventLoop loop;
  bool called = false, end = false;
  EventLoop::Handle victim;
  auto killer = loop.after(1ms, [&] { victim.cancel(); });
  victim = loop.after(1ms, [&] { called = true; });
  auto last = loop.after(20ms, [&] { end = true; });
  EXPECT_TRUE(loop.run_until([&] { return end; }, 2s));
  EXPECT_FALSE(called);
}

TEST(EventLoop, HandleMayOutliveTheLoop) {
  EventLoop::Handle handle;
  {
    EventLoop loop;
    handle = loop.after(1h, [] {});
  }
  EXPECT_FALSE(handle.active());
}

TEST(EventLoop, PostFromOtherThreadAndStop) {
  EventLoop loop;
  std::string order;
  std::thread thread([&] {
    loop.post([&] { order += "1"; });
    loop.post([&] { order += "2"; });
    loop.post([&] { loop.stop(); });
  });
  loop.run();
  thread.join();
  EXPECT_EQ(order, "12");
}

TEST(EventLoop, Signal) {
  EventLoop loop;
  int seen = 0;
  auto handle = loop.on_signal(SIGUSR1, [&] { ++seen; });
  ::kill(::getpid(), SIGUSR1);
  EXPECT_TRUE(loop.run_until([&] { return seen == 1; }, 2s));
  ::kill(::getpid(), SIGUSR1);
  EXPECT_TRUE(loop.run_until([&] { return seen == 2; }, 2s));
}

}  // namespace
}  // namespace baton
