// For tests: two ends of a mirror connect in one process on loopback addresses, and a proxy that can break what is
// between them.
#pragma once

#include <arpa/inet.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>

#include <atomic>
#include <cstring>
#include <list>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "src/mirror/mirror_connect.h"

namespace baton::mirror {

inline sockaddr_in test_address(const std::string& text, uint16_t port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  inet_pton(AF_INET, text.c_str(), &address.sin_addr);
  return address;
}

/// Forwards TCP connections on a thread of its own. Paused, it forwards nothing and answers nothing, as a pulled cable.
class TestProxy {
 public:
  TestProxy(const std::string& listen, const std::string& target, uint16_t port) : target_(test_address(target, port)) {
    listener_ = OwnedFd(socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    const int yes = 1;
    setsockopt(listener_.get(), SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    const auto address = test_address(listen, port);
    EXPECT_EQ(bind(listener_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address), 0) << errno_text();
    EXPECT_EQ(::listen(listener_.get(), 16), 0);
    thread_ = std::thread([this] { run(); });
  }
  ~TestProxy() {
    stop_ = true;
    thread_.join();
  }
  void pause(bool paused) { paused_ = paused; }
  /// Connections are reset; new ones go through.
  void reset() { ++resets_; }

 private:
  struct Direction {
    int from = -1;
    int to = -1;
    std::string held;
    bool ended = false;
  };
  struct Link {
    OwnedFd near, far;
    Direction directions[2];
  };

  void run() {
    int resets_done = 0;
    while (!stop_) {
      if (resets_done != resets_) {
        resets_done = resets_;
        for (Link& link : links_) reset(link);
        links_.clear();
      }
      if (paused_) {
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
        continue;
      }
      std::vector<pollfd> polls = {{listener_.get(), POLLIN, 0}};
      for (Link& link : links_) {
        for (Direction& direction : link.directions) {
          if (!direction.held.empty()) polls.push_back({direction.to, POLLOUT, 0});
          else if (!direction.ended) polls.push_back({direction.from, POLLIN, 0});
        }
      }
      if (::poll(polls.data(), polls.size(), 2) <= 0) continue;
      accept_one();
      for (auto link = links_.begin(); link != links_.end();) {
        const bool good = move(link->directions[0]) && move(link->directions[1]);
        const bool over = link->directions[0].ended && link->directions[1].ended;
        if (!good) reset(*link);
        link = good && !over ? std::next(link) : links_.erase(link);
      }
    }
  }
  void accept_one() {
    OwnedFd near(accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (!near) return;
    OwnedFd far(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    if (::connect(far.get(), reinterpret_cast<const sockaddr*>(&target_), sizeof target_) != 0) return;
    const int yes = 1;
    setsockopt(near.get(), IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    setsockopt(far.get(), IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    fcntl(far.get(), F_SETFL, O_NONBLOCK);
    links_.emplace_back();
    Link& link = links_.back();
    link.near = std::move(near);
    link.far = std::move(far);
    link.directions[0] = {link.near.get(), link.far.get(), "", false};
    link.directions[1] = {link.far.get(), link.near.get(), "", false};
  }
  /// False: one side has reset it.
  bool move(Direction& direction) {
    if (direction.held.empty() && !direction.ended) {
      char buffer[65536];
      const ssize_t size = recv(direction.from, buffer, sizeof buffer, 0);
      if (size < 0) return errno == EAGAIN;
      if (size == 0) {
        direction.ended = true;
        shutdown(direction.to, SHUT_WR);
        return true;
      }
      direction.held.assign(buffer, static_cast<size_t>(size));
    }
    if (direction.held.empty()) return true;
    const ssize_t sent = send(direction.to, direction.held.data(), direction.held.size(), MSG_NOSIGNAL);
    if (sent < 0) return errno == EAGAIN;
    direction.held.erase(0, static_cast<size_t>(sent));
    return true;
  }
  static void reset(Link& link) {
    const linger at_once{1, 0};
    setsockopt(link.near.get(), SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    setsockopt(link.far.get(), SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
  }

  sockaddr_in target_;
  OwnedFd listener_;
  std::list<Link> links_;  // the thread's
  std::atomic<bool> paused_ = false;
  std::atomic<bool> stop_ = false;
  std::atomic<int> resets_ = 0;
  std::thread thread_;
};

/// One server's side.
struct TestEnd {
  TestEnd(Ring& ring, const MirrorConnect::Settings& settings)
      : connect(std::make_unique<MirrorConnect>(
            ring, pool, settings, [this](Event event) { take(std::move(event)); },
            [this](const std::string& text) { notes += text + "\n"; })) {}
  ~TestEnd() {
    for (const Event& event : events) {
      const auto* received = std::get_if<MessageReceived>(&event);
      if (received != nullptr && received->buffer != 0) pool.release(received->buffer);
    }
  }
  void take(Event event) {
    if (const auto* link = std::get_if<LinkUp>(&event)) up = link->connection;
    if (std::holds_alternative<LinkDown>(event)) up = 0;
    events.push_back(std::move(event));
  }
  template <class Kind>
  size_t count() const {
    size_t number = 0;
    for (const Event& event : events) number += std::holds_alternative<Kind>(event);
    return number;
  }
  bool noted(const std::string& text) const { return notes.find(text) != std::string::npos; }

  BufferPool pool;
  std::vector<Event> events;
  std::string notes;
  ConnectionId up = 0;  // 0: down
  std::unique_ptr<MirrorConnect> connect;
};

class MirrorConnectPair : public ::testing::Test {
 protected:
  void SetUp() override {
    // Another port for each test, as the kernel takes a ring, and what it polls, apart later; and for each process.
    static uint16_t next_port = static_cast<uint16_t>(17000 + getpid() * 61 % 12000);
    port_ = ++next_port;
    auto ring = Ring::create();
    ASSERT_TRUE(ring) << ring.error().message;
    ring_ = std::move(*ring);
  }
  void TearDown() override {
    // What is still under way refers to the ends' pools: it is run out first.
    if (a_) a_->connect.reset();
    if (b_) b_->connect.reset();
    if (ring_) ring_->run_until([] { return false; }, 1100ms);
    a_.reset();
    b_.reset();
    ring_.reset();
  }

  MirrorConnect::Settings settings(uint32_t self, uint32_t peer) const {
    MirrorConnect::Settings made;
    made.mirror = "db.data";
    made.self = ServerId(self);
    made.peer = ServerId(peer);
    made.listen_addresses = {fmt::format("127.0.0.{}", self)};
    made.peer_addresses = {fmt::format("127.0.0.{}", peer)};
    made.port = port_;
    made.key.bytes.fill(1);
    return made;
  }
  void start(const MirrorConnect::Settings& a, const MirrorConnect::Settings& b) {
    a_ = std::make_unique<TestEnd>(*ring_, a);
    b_ = std::make_unique<TestEnd>(*ring_, b);
    a_->connect->listen();
    b_->connect->listen();
  }
  void start() { start(settings(1, 2), settings(2, 1)); }
  bool until(const std::function<bool()>& done, Duration limit = 30s) {
    return ring_->run_until(
        [&] {
          if (a_ && a_->connect) a_->connect->flush();
          if (b_ && b_->connect) b_->connect->flush();
          return done();
        },
        limit);
  }
  bool connect() {
    a_->connect->want(true);
    return until([&] { return a_->up != 0 && b_->up != 0; });
  }

  uint16_t port_ = 0;
  std::unique_ptr<TestEnd> a_;
  std::unique_ptr<TestEnd> b_;
  std::unique_ptr<Ring> ring_;
};

/// Writes from one end, each answered by the other, and a stream of messages the other way: all in order, each once.
class TestStream {
 public:
  TestStream(TestEnd& from, TestEnd& to, uint64_t window = 32) : from_(from), to_(to), window_(window) {}

  /// Sends what the window allows and checks what has come.
  void turn() {
    for (; from_.up != 0 && sent_ - done_ < window_ && sent_ < limit; ++sent_) write(sent_);
    for (Event& event : std::exchange(to_.events, {})) {
      auto* received = std::get_if<MessageReceived>(&event);
      if (received == nullptr) continue;
      const auto& write = std::get<WriteData>(received->message);
      ASSERT_EQ(write.sequence, arrived_);
      check_data(write, received->buffer);
      to_.pool.release(received->buffer);
      to_.connect->send(to_.up, WriteReceived{arrived_}, 0);
      to_.connect->send(to_.up, WriteDone{arrived_, true}, 0);
      ++arrived_;
      const Instant now = Ring::now();
      if (last_arrival_ != Instant{}) longest_gap = std::max(longest_gap, now - last_arrival_);
      last_arrival_ = now;
    }
    for (Event& event : std::exchange(from_.events, {})) {
      auto* received = std::get_if<MessageReceived>(&event);
      if (received == nullptr) continue;
      if (const auto* early = std::get_if<WriteReceived>(&received->message)) {
        ASSERT_EQ(early->sequence, early_++);
      } else {
        ASSERT_EQ(std::get<WriteDone>(received->message).sequence, done_++);
      }
    }
  }
  uint64_t done() const { return done_; }
  bool quiet() const { return done_ == sent_; }

  uint64_t limit = UINT64_MAX;
  Duration longest_gap{};

 private:
  static uint64_t blocks(uint64_t number) { return number % 37 == 0 ? 64 : number % 5 == 0 ? 4 : 1; }

  void write(uint64_t number) {
    const uint64_t bytes = blocks(number) * kBlockBytes;
    const BufferId buffer = from_.pool.allocate(static_cast<uint32_t>(bytes));
    for (uint64_t offset = 0; offset < bytes; offset += kBlockBytes) {
      const uint64_t stamp = number * 1000 + offset / kBlockBytes;
      std::memcpy(from_.pool.data(buffer) + offset, &stamp, sizeof stamp);
    }
    from_.connect->send(from_.up, WriteData{number, {number, blocks(number)}, 0}, buffer);
    from_.pool.release(buffer);
  }
  void check_data(const WriteData& write, BufferId buffer) {
    ASSERT_EQ(write.range.count, blocks(write.sequence));
    for (uint64_t block = 0; block < write.range.count; ++block) {
      uint64_t stamp = 0;
      std::memcpy(&stamp, to_.pool.data(buffer) + block * kBlockBytes, sizeof stamp);
      ASSERT_EQ(stamp, write.sequence * 1000 + block);
    }
  }

  TestEnd& from_;
  TestEnd& to_;
  uint64_t window_;
  uint64_t sent_ = 0;
  uint64_t arrived_ = 0;
  uint64_t early_ = 0;
  uint64_t done_ = 0;
  Instant last_arrival_{};
};

}  // namespace baton::mirror
