// Two ends of a mirror connect in one process, on two loopback addresses.
#include "src/mirror/mirror_connect.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <cstring>

namespace baton::mirror {
namespace {

uint16_t g_port = 17931;  // another for each test: the kernel takes a ring, and what it polls, apart later

struct End {
  End(Ring& ring, uint32_t self, uint32_t peer, uint8_t key) {
    MirrorConnect::Settings settings;
    settings.mirror = "db.data";
    settings.self = ServerId(self);
    settings.peer = ServerId(peer);
    settings.listen_address = "127.0.0." + std::to_string(self);
    settings.peer_addresses = {"127.0.0." + std::to_string(peer)};
    settings.port = g_port;
    settings.key.bytes.fill(key);
    connect = std::make_unique<MirrorConnect>(
        ring, pool, settings, [this](Event event) { events.push_back(std::move(event)); },
        [this](const std::string& text) { notes += text + "\n"; });
  }
  template <class Kind>
  size_t count() const {
    size_t number = 0;
    for (const Event& event : events) number += std::holds_alternative<Kind>(event);
    return number;
  }
  ConnectionId up() const {
    for (auto event = events.rbegin(); event != events.rend(); ++event) {
      if (const auto* link = std::get_if<LinkUp>(&*event)) return link->connection;
    }
    return 0;
  }

  BufferPool pool;
  std::vector<Event> events;
  std::string notes;
  std::unique_ptr<MirrorConnect> connect;
};

class MirrorConnectTest : public ::testing::Test {
 protected:
  void SetUp() override {
    ++g_port;
    auto ring = Ring::create();
    ASSERT_TRUE(ring) << ring.error().message;
    ring_ = std::move(*ring);
  }
  void start(uint8_t key_a = 1, uint8_t key_b = 1) {
    a_ = std::make_unique<End>(*ring_, 1, 2, key_a);
    b_ = std::make_unique<End>(*ring_, 2, 1, key_b);
    a_->connect->listen();
    b_->connect->listen();
  }
  bool until(const std::function<bool()>& done) {
    return ring_->run_until(
        [&] {
          a_->connect->flush();
          b_->connect->flush();
          return done();
        },
        5s);
  }
  void TearDown() override {
    // What is still under way refers to the ends: it is run out first.
    if (a_) a_->connect->want(false);
    if (a_) a_->connect->close(a_->up(), "");
    if (b_) b_->connect->close(b_->up(), "");
    if (ring_) ring_->run_until([] { return false; }, 1200ms);
    a_.reset();
    b_.reset();
    ring_.reset();
  }

  std::unique_ptr<End> a_;
  std::unique_ptr<End> b_;
  std::unique_ptr<Ring> ring_;
};

TEST_F(MirrorConnectTest, CarriesMessagesAndData) {
  start();
  a_->connect->want(true);
  ASSERT_TRUE(until([&] { return a_->up() != 0 && b_->up() != 0; }));

  const int writes = 3000;
  std::vector<BufferId> buffers;
  for (uint32_t bytes : {4096u, 65536u, 1u << 20}) {
    buffers.push_back(a_->pool.allocate(bytes));
    std::memset(a_->pool.data(buffers.back()), static_cast<int>(bytes >> 12), bytes);
  }
  const uint64_t counts[] = {1, 16, 256};
  for (uint64_t i = 0; i < writes; ++i) {
    const size_t kind = i % 50 == 0 ? 2 : i % 5 == 0 ? 1 : 0;
    a_->connect->send(a_->up(), WriteData{i, {i, counts[kind]}}, buffers[kind]);
    a_->connect->send(a_->up(), Ping{}, 0);
  }
  for (BufferId buffer : buffers) a_->pool.release(buffer);  // the queue keeps them
  uint64_t next = 0;
  ASSERT_TRUE(until([&] {
    for (const Event& event : std::exchange(b_->events, {})) {
      const auto* received = std::get_if<MessageReceived>(&event);
      if (received == nullptr || !std::holds_alternative<WriteData>(received->message)) continue;
      const auto& write = std::get<WriteData>(received->message);
      EXPECT_EQ(write.sequence, next++);
      const uint8_t* data = b_->pool.data(received->buffer);
      const auto expected = static_cast<uint8_t>(write.range.count);
      EXPECT_EQ(data[0], expected);
      EXPECT_EQ(data[write.range.count * kBlockBytes - 1], expected);
      b_->pool.release(received->buffer);
    }
    return next == writes;
  }));
  ASSERT_TRUE(until([&] { return a_->pool.in_use() == 0; }));
  EXPECT_EQ(b_->pool.in_use(), 0u);
}

TEST_F(MirrorConnectTest, AnotherKeyGetsNowhere) {
  start(1, 9);
  a_->connect->want(true);
  ASSERT_TRUE(until([&] { return !b_->notes.empty() && !a_->notes.empty(); }));
  EXPECT_NE(b_->notes.find("127.0.0.1"), std::string::npos) << b_->notes;
  EXPECT_NE(b_->notes.find("key"), std::string::npos) << b_->notes;
  EXPECT_EQ(a_->up(), 0u);
  EXPECT_EQ(b_->up(), 0u);
}

TEST_F(MirrorConnectTest, TheLastWordArrivesAndTheConnectionComesBack) {
  start();
  a_->connect->want(true);
  ASSERT_TRUE(until([&] { return a_->up() != 0 && b_->up() != 0; }));
  b_->connect->send(b_->up(), HelloRefused{Permit(9), "newer"}, 0);
  b_->connect->close(b_->up(), "refused");
  ASSERT_TRUE(until([&] { return a_->count<LinkDown>() == 1; }));
  EXPECT_EQ(a_->count<MessageReceived>(), 1u);
  EXPECT_EQ(b_->count<LinkDown>(), 1u);
  ASSERT_TRUE(until([&] { return a_->count<LinkUp>() == 2 && b_->count<LinkUp>() == 2; }));
  EXPECT_GT(a_->up(), 1u);
}

TEST_F(MirrorConnectTest, SilentAndTalkativeStrangersAreCutOff) {
  start();
  std::vector<OwnedFd> strangers;
  for (int i = 0; i < 14; ++i) {
    strangers.emplace_back(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(g_port);
    inet_pton(AF_INET, "127.0.0.2", &address.sin_addr);
    ASSERT_EQ(::connect(strangers.back().get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
    const std::string noise(i % 2 == 0 ? 0 : 5000, 'x');
    EXPECT_EQ(send(strangers.back().get(), noise.data(), noise.size(), MSG_NOSIGNAL), static_cast<ssize_t>(noise.size()));
  }
  a_->connect->want(true);
  ASSERT_TRUE(until([&] { return a_->up() != 0; }));  // the peer gets through all the same
  for (OwnedFd& stranger : strangers) {
    char buffer[4096];
    ASSERT_TRUE(until([&] {
      const ssize_t size = recv(stranger.get(), buffer, sizeof buffer, MSG_DONTWAIT);
      return size == 0 || (size < 0 && errno != EAGAIN);
    }));
  }
  EXPECT_EQ(b_->count<LinkUp>(), 1u);
}

TEST_F(MirrorConnectTest, APeerThatIsAwayIsTriedAgain) {
  a_ = std::make_unique<End>(*ring_, 1, 2, 1);
  b_ = std::make_unique<End>(*ring_, 2, 1, 1);
  a_->connect->listen();
  a_->connect->want(true);
  ASSERT_TRUE(until([&] { return !a_->notes.empty(); }));
  EXPECT_NE(a_->notes.find("127.0.0.2"), std::string::npos);
  b_->connect->listen();
  EXPECT_TRUE(until([&] { return a_->up() != 0 && b_->up() != 0; }));
}

}  // namespace
}  // namespace baton::mirror
