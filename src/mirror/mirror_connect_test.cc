// Two ends of a mirror connect with one path, without TLS.
#include "src/mirror/mirror_connect_test_pair.h"

namespace baton::mirror {
namespace {

using MirrorConnectTest = MirrorConnectPair;

TEST_F(MirrorConnectTest, CarriesMessagesAndData) {
  start();
  ASSERT_TRUE(connect());

  const int writes = 3000;
  std::vector<BufferId> buffers;
  for (uint32_t bytes : {4096u, 65536u, 1u << 20}) {
    buffers.push_back(a_->pool.allocate(bytes));
    std::memset(a_->pool.data(buffers.back()), static_cast<int>(bytes >> 12), bytes);
  }
  const uint64_t counts[] = {1, 16, 256};
  for (uint64_t i = 0; i < writes; ++i) {
    const size_t kind = i % 50 == 0 ? 2 : i % 5 == 0 ? 1 : 0;
    a_->connect->send(a_->up, WriteData{i, {i, counts[kind]}, 0}, buffers[kind]);
    a_->connect->send(a_->up, Ping{}, 0);
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
  auto other = settings(2, 1);
  other.key.bytes.fill(9);
  start(settings(1, 2), other);
  a_->connect->want(true);
  ASSERT_TRUE(until([&] { return !b_->notes.empty() && !a_->notes.empty(); }));
  EXPECT_NE(b_->notes.find("127.0.0.1"), std::string::npos) << b_->notes;
  EXPECT_NE(b_->notes.find("key"), std::string::npos) << b_->notes;
  EXPECT_EQ(a_->up, 0u);
  EXPECT_EQ(b_->up, 0u);
}

TEST_F(MirrorConnectTest, TheLastWordArrivesAndTheConnectionComesBack) {
  start();
  ASSERT_TRUE(connect());
  b_->connect->send(b_->up, HelloRefused{Permit(9), "newer"}, 0);
  b_->connect->close(b_->up, "refused");
  ASSERT_TRUE(until([&] { return a_->count<LinkDown>() == 1; }));
  EXPECT_EQ(a_->count<MessageReceived>(), 1u);
  EXPECT_EQ(b_->count<LinkDown>(), 1u);
  ASSERT_TRUE(until([&] { return a_->count<LinkUp>() == 2 && b_->count<LinkUp>() == 2; }));
  EXPECT_GT(a_->up, 1u);
}

TEST_F(MirrorConnectTest, SilentAndTalkativeStrangersAreCutOff) {
  start();
  std::vector<OwnedFd> strangers;
  for (int i = 0; i < 14; ++i) {
    strangers.emplace_back(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    const auto address = test_address("127.0.0.2", port_);
    ASSERT_EQ(::connect(strangers.back().get(), reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
    const std::string noise(i % 2 == 0 ? 0 : 5000, 'x');
    EXPECT_EQ(send(strangers.back().get(), noise.data(), noise.size(), MSG_NOSIGNAL), static_cast<ssize_t>(noise.size()));
  }
  a_->connect->want(true);
  ASSERT_TRUE(until([&] { return a_->up != 0; }));  // the peer gets through all the same
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
  a_ = std::make_unique<TestEnd>(*ring_, settings(1, 2));
  b_ = std::make_unique<TestEnd>(*ring_, settings(2, 1));
  a_->connect->listen();
  a_->connect->want(true);
  ASSERT_TRUE(until([&] { return !a_->notes.empty(); }));
  EXPECT_NE(a_->notes.find("127.0.0.2"), std::string::npos);
  b_->connect->listen();
  EXPECT_TRUE(until([&] { return a_->up != 0 && b_->up != 0; }));
}

TEST_F(MirrorConnectTest, AProcessThatEndsEndsTheConnectionAtOnce) {
  start();
  ASSERT_TRUE(connect());
  b_->connect.reset();
  ASSERT_TRUE(until([&] { return a_->up == 0; }, 300ms));
  b_ = std::make_unique<TestEnd>(*ring_, settings(2, 1));
  b_->connect->listen();
  ASSERT_TRUE(until([&] { return a_->up == 2 && b_->up == 1; }));
}

TEST_F(MirrorConnectTest, BothSidesMayWantIt) {
  for (int round = 0; round < 5; ++round) {
    start();
    b_->connect->want(true);
    ASSERT_TRUE(connect());
    // It settles on one session that carries messages.
    a_->events.clear();
    b_->events.clear();
    TestStream stream(*a_, *b_);
    stream.limit = 100;
    ASSERT_TRUE(until([&] {
      if (a_->up == 0 || b_->up == 0 || a_->count<LinkUp>() + b_->count<LinkUp>() > 0) return false;
      stream.turn();
      return HasFatalFailure() || stream.done() == 100;
    })) << a_->notes << b_->notes;
    a_->connect.reset();
    b_->connect.reset();
    ring_->run_until([] { return false; }, 1100ms);
    a_.reset();
    b_.reset();
  }
}

TEST_F(MirrorConnectTest, ReadsOfThePeersDiskCarryWhatWasAskedFor) {
  start();
  ASSERT_TRUE(connect());
  a_->connect->send(a_->up, ReadPeer{7, {40, 3}}, 0);
  a_->connect->send(a_->up, ReadPeer{8, {50, 1}}, 0);
  ASSERT_TRUE(until([&] { return b_->count<MessageReceived>() == 2; }));
  const BufferId buffer = b_->pool.allocate(16384);
  std::memset(b_->pool.data(buffer), 0x5A, 16384);
  b_->connect->send(b_->up, PeerData{7, 3, true}, buffer);
  b_->connect->send(b_->up, PeerData{8, 1, false}, 0);
  b_->pool.release(buffer);
  ASSERT_TRUE(until([&] { return a_->count<MessageReceived>() == 2; }));
  const auto& first = std::get<MessageReceived>(a_->events[1]);
  EXPECT_EQ(std::get<PeerData>(first.message).sequence, 7u);
  EXPECT_GE(a_->pool.capacity(first.buffer), 3 * kBlockBytes);
  EXPECT_EQ(a_->pool.data(first.buffer)[3 * kBlockBytes - 1], 0x5A);
  const auto& second = std::get<MessageReceived>(a_->events[2]);
  EXPECT_FALSE(std::get<PeerData>(second.message).ok);
  EXPECT_EQ(second.buffer, 0u);
}

TEST_F(MirrorConnectTest, AStreamOneWayNeedsLittleMemory) {
  start();
  ASSERT_TRUE(connect());
  const uint64_t writes = 40000;
  uint64_t sent = 0;
  uint64_t received = 0;
  uint64_t most = 0;
  ASSERT_TRUE(until([&] {
    // Nothing goes back but what the transport itself says.
    for (; sent < writes && a_->connect->unacknowledged_bytes() < (4u << 20); ++sent) {
      const BufferId buffer = a_->pool.allocate(kBlockBytes);
      a_->connect->send(a_->up, WriteData{sent, {sent, 1}, 0}, buffer);
      a_->pool.release(buffer);
    }
    most = std::max(most, a_->connect->unacknowledged_bytes());
    for (const Event& event : std::exchange(b_->events, {})) {
      if (const auto* message = std::get_if<MessageReceived>(&event)) {
        ++received;
        b_->pool.release(message->buffer);
      }
    }
    return received == writes;
  }));
  EXPECT_LE(most, 5u << 20);
  EXPECT_LE(a_->pool.reserved_bytes() + b_->pool.reserved_bytes(), 24u << 20);
  ASSERT_TRUE(until([&] { return a_->pool.in_use() == 0; }));
}

TEST_F(MirrorConnectTest, CompressedDataArrivesAsItWas) {
  auto a = settings(1, 2);
  a.compress = true;
  start(a, settings(2, 1));
  ASSERT_TRUE(connect());
  TestStream stream(*a_, *b_);
  stream.limit = 2000;
  ASSERT_TRUE(until([&] {
    stream.turn();
    return HasFatalFailure() || stream.done() == 2000;
  }));
}

}  // namespace
}  // namespace baton::mirror
