// The server over a disk in memory, with a client that speaks the wire format by hand.
#include "src/mirror/nbd_server.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <algorithm>
#include <cstring>
#include <filesystem>

namespace baton::mirror {
namespace {

constexpr uint64_t kSize = 64 << 20;

class NbdServerTest : public ::testing::Test {
 protected:
  void SetUp() override {
    auto ring = Ring::create();
    ASSERT_TRUE(ring) << ring.error().message;
    ring_ = std::move(*ring);
    server_ = std::make_unique<NbdServer>(
        *ring_, pool_, NbdExport{"db.disk", "", kSize, 0}, kNbdSocketRequests,
        [this](const ClientRequest& request) { serve(request); },
        [this](const std::string& text) { noted_ += text; });
  }

  void TearDown() override {
    server_->abort();
    for (const ClientRequest& request : held_) release(request);
    run_until([] { return false; }, 20ms);
    server_.reset();
    EXPECT_EQ(pool_.in_use(), 0u);
  }

  void serve(const ClientRequest& request) {
    seen_.push_back(request);
    most_data_ = std::max(most_data_, pool_.in_use());
    if (frozen_) return held_.push_back(request);
    ring_->after(Duration::zero(), [this, request] { answer(request, !failing_); });
  }

  void answer(const ClientRequest& request, bool ok) {
    const uint64_t at = request.range.first * kBlockBytes;
    const uint64_t size = request.range.count * kBlockBytes;
    if (request.kind == RequestKind::kRead) std::memcpy(pool_.data(request.buffer), disk_.data() + at, size);
    if (request.kind == RequestKind::kWrite) std::memcpy(disk_.data() + at, pool_.data(request.buffer), size);
    if (request.kind == RequestKind::kZero) std::memset(disk_.data() + at, 0, size);
    release(request);
    server_->complete(request.id, ok);
  }
  void release(const ClientRequest& request) {
    if (request.buffer != 0) pool_.release(request.buffer);
  }
  void answer_held(bool ok = true) {
    frozen_ = false;
    for (const ClientRequest& request : std::exchange(held_, {})) answer(request, ok);
  }

  bool run_until(const std::function<bool()>& done, Duration limit = 5s) {
    return ring_->run_until(
        [&] {
          server_->flush();
          return done();
        },
        limit);
  }

  /// A client in transmission, with simple replies.
  int connect() {
    int sockets[2];
    EXPECT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets), 0);
    server_->serve(OwnedFd(sockets[0]));
    clients_.emplace_back(sockets[1]);
    return sockets[1];
  }

  void send_bytes(int socket, const Bytes& bytes) {
    size_t sent = 0;
    ASSERT_TRUE(run_until([&] {
      const ssize_t size =
          ::send(socket, bytes.data() + sent, bytes.size() - sent, MSG_DONTWAIT | MSG_NOSIGNAL);
      if (size > 0) sent += static_cast<size_t>(size);
      return sent == bytes.size();
    }));
  }
  static Bytes request(uint16_t command, uint64_t offset, uint32_t length, uint16_t flags = 0,
                       uint64_t cookie = 7) {
    Bytes bytes;
    nbd_put<uint32_t>(bytes, kNbdRequestMagic);
    nbd_put<uint16_t>(bytes, flags);
    nbd_put<uint16_t>(bytes, command);
    nbd_put<uint64_t>(bytes, cookie);
    nbd_put<uint64_t>(bytes, offset);
    nbd_put<uint32_t>(bytes, length);
    return bytes;
  }
  Bytes receive(int socket, size_t size) {
    Bytes bytes(size);
    size_t got = 0;
    EXPECT_TRUE(run_until([&] {
      const ssize_t more = recv(socket, bytes.data() + got, size - got, MSG_DONTWAIT);
      if (more > 0) got += static_cast<size_t>(more);
      return got == size;
    }));
    return bytes;
  }
  uint32_t reply_error(int socket, uint64_t cookie = 7) {
    const Bytes reply = receive(socket, 16);
    EXPECT_EQ(nbd_load<uint32_t>(reply.data()), kNbdSimpleReplyMagic);
    EXPECT_EQ(nbd_load<uint64_t>(&reply[8]), cookie);
    return nbd_load<uint32_t>(&reply[4]);
  }
  bool hung_up(int socket) {
    return run_until([&] {
      char byte = 0;
      return recv(socket, &byte, 1, MSG_DONTWAIT) == 0;
    });
  }

  std::unique_ptr<Ring> ring_;
  BufferPool pool_;
  Bytes disk_ = Bytes(kSize);
  std::unique_ptr<NbdServer> server_;
  std::vector<OwnedFd> clients_;
  std::vector<ClientRequest> seen_;
  std::vector<ClientRequest> held_;
  size_t most_data_ = 0;
  bool frozen_ = false;
  bool failing_ = false;
  std::string noted_;
};

Bytes pattern(size_t size) {
  Bytes bytes(size);
  for (size_t i = 0; i < size; ++i) bytes[i] = static_cast<uint8_t>(i * 31 + i / 4096);
  return bytes;
}

TEST_F(NbdServerTest, LargeRequestsAreCutAndJoined) {
  const int client = connect();
  const Bytes data = pattern(5 << 20);
  Bytes write = request(kNbdWrite, 8192, 5 << 20);
  write.insert(write.end(), data.begin(), data.end());
  send_bytes(client, write);
  EXPECT_EQ(reply_error(client), kNbdOk);
  EXPECT_EQ(seen_.size(), 5u);
  for (const ClientRequest& piece : seen_) EXPECT_LE(piece.range.count, kMaxRequestBlocks);
  EXPECT_EQ(std::memcmp(disk_.data() + 8192, data.data(), data.size()), 0);
  send_bytes(client, request(kNbdRead, 8192, 5 << 20));
  EXPECT_EQ(reply_error(client), kNbdOk);
  EXPECT_EQ(receive(client, 5 << 20), data);
}

TEST_F(NbdServerTest, ManyRequestsInOneReceive) {
  const int client = connect();
  Bytes burst;
  for (uint64_t i = 0; i < 500; ++i) {
    const Bytes one = request(i % 2 == 0 ? kNbdWrite : kNbdRead, i / 2 * 4096, 4096, 0, i);
    burst.insert(burst.end(), one.begin(), one.end());
    if (i % 2 == 0) burst.resize(burst.size() + 4096, static_cast<uint8_t>(i));
  }
  send_bytes(client, burst);
  std::vector<bool> answered(500);
  for (int i = 0; i < 500; ++i) {
    const Bytes reply = receive(client, 16);
    const auto cookie = nbd_load<uint64_t>(&reply[8]);
    ASSERT_LT(cookie, 500u);
    EXPECT_FALSE(answered[cookie]);
    answered[cookie] = true;
    if (cookie % 2 == 1) receive(client, 4096);
  }
}

TEST_F(NbdServerTest, FlushFuaZeroesAndTrim) {
  const int client = connect();
  disk_[4096] = 1;
  Bytes write = request(kNbdWrite, 0, 4096, kNbdFua);
  write.resize(write.size() + 4096, 9);
  send_bytes(client, write);
  EXPECT_EQ(reply_error(client), kNbdOk);
  EXPECT_TRUE(seen_.back().force_unit_access);
  send_bytes(client, request(kNbdWriteZeroes, 4096, 4096, kNbdNoHole | kNbdFua));
  EXPECT_EQ(reply_error(client), kNbdOk);
  ASSERT_EQ(seen_.size(), 3u);
  EXPECT_FALSE(seen_[1].unmap);
  EXPECT_EQ(seen_[2].kind, RequestKind::kFlush);  // what FUA comes to for zeroes
  EXPECT_EQ(disk_[4096], 0);
  send_bytes(client, request(kNbdTrim, 0, 48 << 20));
  EXPECT_EQ(reply_error(client), kNbdOk);
  EXPECT_EQ(seen_.size(), 5u);
  EXPECT_TRUE(seen_[3].unmap);
  EXPECT_EQ(seen_[3].range.count, kMaxZeroBlocks);
}

TEST_F(NbdServerTest, RefusedWritesLeaveTheStreamInOrder) {
  const int client = connect();
  Bytes bytes = request(kNbdWrite, 512, 200'000);
  bytes.resize(bytes.size() + 200'000);
  const Bytes next = request(kNbdFlush, 0, 0, 0, 8);
  bytes.insert(bytes.end(), next.begin(), next.end());
  send_bytes(client, bytes);
  EXPECT_EQ(reply_error(client), kNbdEinval);
  EXPECT_EQ(reply_error(client, 8), kNbdOk);
}

TEST_F(NbdServerTest, DataUnderWayIsBounded) {
  frozen_ = true;
  const int client = connect();
  for (uint64_t i = 0; i < 60; ++i) send_bytes(client, request(kNbdRead, i << 20, 1 << 20, 0, i));
  run_until([] { return false; }, 50ms);
  EXPECT_LE(pool_.bytes_in_use(), 18u << 20);
  EXPECT_GE(held_.size(), 8u);
  answer_held();
  for (uint64_t i = 0; i < 60; ++i) {
    receive(client, 16 + (1 << 20));
  }
}

TEST_F(NbdServerTest, FailuresAreToldAndAHalfReadEndsTheConnection) {
  failing_ = true;
  const int client = connect();
  send_bytes(client, request(kNbdRead, 0, 4096));
  EXPECT_EQ(reply_error(client), kNbdEio);
  failing_ = false;
  frozen_ = true;
  // A short one is joined first: the failure can still be told.
  send_bytes(client, request(kNbdRead, 0, 2 << 20));
  ASSERT_TRUE(run_until([&] { return held_.size() == 2; }));
  answer(held_[1], true);
  answer(held_[0], false);
  held_.clear();
  EXPECT_EQ(reply_error(client), kNbdEio);
  // A long one is under way to the client already.
  send_bytes(client, request(kNbdRead, 0, 8 << 20));
  ASSERT_TRUE(run_until([&] { return held_.size() == 1; }));
  for (const ClientRequest& piece : std::exchange(held_, {})) answer(piece, true);
  receive(client, 16 + (1 << 20));
  ASSERT_TRUE(run_until([&] { return held_.size() == 1; }));
  for (const ClientRequest& piece : std::exchange(held_, {})) answer(piece, false);
  EXPECT_TRUE(hung_up(client));
}

TEST_F(NbdServerTest, DisconnectIsAnsweredFirst) {
  frozen_ = true;
  const int client = connect();
  send_bytes(client, request(kNbdFlush, 0, 0));
  send_bytes(client, request(kNbdDisconnect, 0, 0));
  ASSERT_TRUE(run_until([&] { return held_.size() == 1; }));
  answer_held();
  EXPECT_EQ(reply_error(client), kNbdOk);
  EXPECT_TRUE(hung_up(client));
  EXPECT_TRUE(run_until([&] { return server_->connections() == 0; }));
}

TEST_F(NbdServerTest, CloseAnswersWhatIsUnderWay) {
  frozen_ = true;
  const int busy = connect();
  const int idle = connect();
  send_bytes(busy, request(kNbdFlush, 0, 0));
  ASSERT_TRUE(run_until([&] { return held_.size() == 1; }));
  std::optional<Status> closed;
  server_->close([&](Status status) { closed = status; });
  EXPECT_TRUE(hung_up(idle));
  send_bytes(busy, request(kNbdRead, 0, 4096, 0, 8));
  EXPECT_EQ(reply_error(busy, 8), kNbdEshutdown);
  EXPECT_FALSE(closed);
  answer_held();
  EXPECT_EQ(reply_error(busy), kNbdOk);
  EXPECT_TRUE(hung_up(busy));
  ASSERT_TRUE(run_until([&] { return closed.has_value(); }));
  EXPECT_TRUE(*closed);
}

TEST_F(NbdServerTest, NothingIsAnsweredAfterAnAbort) {
  frozen_ = true;
  const int client = connect();
  Bytes write = request(kNbdWrite, 0, 4096);
  write.resize(write.size() + 4096);
  send_bytes(client, write);
  ASSERT_TRUE(run_until([&] { return held_.size() == 1; }));
  server_->abort();
  answer_held();  // too late, and harmless
  EXPECT_TRUE(hung_up(client));
  EXPECT_EQ(server_->under_way(), 0u);
  // Its number means nobody when it is given out again.
  const int next = connect();
  frozen_ = true;
  send_bytes(next, request(kNbdFlush, 0, 0));
  ASSERT_TRUE(run_until([&] { return held_.size() == 1; }));
  EXPECT_NE(held_[0].id, seen_[0].id);
  server_->complete(seen_[0].id, true);
  EXPECT_EQ(server_->under_way(), 1u);
}

TEST_F(NbdServerTest, ClientsThatVanishLeaveNothing) {
  frozen_ = true;
  const int client = connect();
  Bytes write = request(kNbdWrite, 0, 2 << 20);
  write.resize(write.size() + (1 << 20) + 70'000);
  send_bytes(client, write);
  ASSERT_TRUE(run_until([&] { return held_.size() == 1; }));
  clients_.clear();
  EXPECT_TRUE(run_until([&] { return server_->connections() == 0; }));
  answer_held();
  EXPECT_EQ(server_->under_way(), 0u);
}

TEST_F(NbdServerTest, TheSocketIsRootsAlone) {
  char pattern_text[] = "/var/tmp/baton-nbd-XXXXXX";
  const std::string directory = mkdtemp(pattern_text);
  const std::string path = directory + "/nbd";
  ASSERT_TRUE(server_->listen(path));
  struct stat status {};
  ASSERT_EQ(stat(path.c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0600u);
  std::optional<Status> closed;
  server_->close([&](Status result) { closed = result; });
  ASSERT_TRUE(run_until([&] { return closed.has_value(); }));
  EXPECT_NE(access(path.c_str(), F_OK), 0);
  std::filesystem::remove_all(directory);
}

}  // namespace
}  // namespace baton::mirror
