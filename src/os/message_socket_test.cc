// One message each way: taken, refused, not taken in time.
#include "src/os/message_socket.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <thread>

#include "src/os/event_loop.h"
#include "src/os/owned_fd.h"

namespace baton {
namespace {

struct Listener {
  OwnedFd fd;
  uint16_t port = 0;
};

Listener listen_on(int type) {
  Listener listener{OwnedFd(::socket(AF_INET, type | SOCK_CLOEXEC, 0))};
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  EXPECT_EQ(::bind(listener.fd.get(), reinterpret_cast<const sockaddr*>(&address), size), 0);
  EXPECT_EQ(::getsockname(listener.fd.get(), reinterpret_cast<sockaddr*>(&address), &size), 0);
  if (type == SOCK_STREAM) {
    EXPECT_EQ(::listen(listener.fd.get(), 4), 0);
  }
  listener.port = ntohs(address.sin_port);
  return listener;
}

MessageTarget target(MessageTarget::Kind kind, uint16_t port) { return {kind, "127.0.0.1", port, ""}; }
using Kind = MessageTarget::Kind;

std::string read_all(int fd) {
  std::string text;
  char part[1000];
  for (ssize_t got = 1; got > 0;) {
    got = ::recv(fd, part, sizeof part, 0);
    if (got > 0) text.append(part, static_cast<size_t>(got));
  }
  return text;
}

TEST(MessageSocket, AReceiverByTcpHasReadItAll) {
  const Listener listener = listen_on(SOCK_STREAM);
  std::string got;
  std::thread receiver([&] {
    const OwnedFd connection(::accept(listener.fd.get(), nullptr, nullptr));
    got = read_all(connection.get());
  });
  const std::string large(3 << 20, 'x');
  const Status sent = send_message(target(Kind::kTcp, listener.port), large, 20s);
  receiver.join();
  EXPECT_TRUE(sent) << sent.error().message;
  EXPECT_EQ(got, large);
}

TEST(MessageSocket, OneThatReadsNothingHasNotTakenIt) {
  const Listener listener = listen_on(SOCK_STREAM);
  const Instant before = EventLoop::now();
  const Status sent = send_message(target(Kind::kTcp, listener.port), std::string(30 << 20, 'x'), 300ms);
  ASSERT_FALSE(sent);
  EXPECT_EQ(sent.error().code, ErrorCode::kTimeout);
  EXPECT_LT(EventLoop::now() - before, 20s);
}

TEST(MessageSocket, NobodyListens) {
  for (const auto& [kind, type] : {std::pair(Kind::kTcp, SOCK_STREAM), std::pair(Kind::kUdp, SOCK_DGRAM)}) {
    const uint16_t port = listen_on(type).port;
    const Status sent = send_message(target(kind, port), "hello", 5s);
    ASSERT_FALSE(sent);
    EXPECT_EQ(sent.error().message, "Connection refused");
  }
  EXPECT_FALSE(send_message({Kind::kLocal, "", 0, "/tmp/there-is-no-such-socket"}, "hello", 5s));
  EXPECT_FALSE(send_message({Kind::kUdp, "there-is-no-such-name.invalid", 9, ""}, "hello", 5s));
}

TEST(MessageSocket, ADatagram) {
  const Listener listener = listen_on(SOCK_DGRAM);
  EXPECT_TRUE(send_message(target(Kind::kUdp, listener.port), "hello", 5s));
  char got[100];
  EXPECT_EQ(std::string(got, static_cast<size_t>(::recv(listener.fd.get(), got, sizeof got, 0))), "hello");
}

}  // namespace
}  // namespace baton
