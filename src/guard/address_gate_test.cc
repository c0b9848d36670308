// The gate in a network namespace of its own: a gated address lets packets through exactly as long as its lease lasts,
// whatever becomes of the process that opened it.
#include "src/guard/address_gate.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include "src/os/event_loop.h"
#include "src/os/test_namespace.h"

namespace baton::guard {
namespace {

constexpr const char* kAddress = "10.9.9.9";

sockaddr_in address(const char* text) {
  sockaddr_in value{};
  value.sin_family = AF_INET;
  value.sin_port = htons(7000);
  ::inet_pton(AF_INET, text, &value.sin_addr);
  return value;
}

/// Whether a packet from the address leaves.
bool passes() {
  const int fd = ::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  sockaddr_in from = address(kAddress);
  sockaddr_in to = address("127.0.0.1");
  EXPECT_EQ(::bind(fd, reinterpret_cast<sockaddr*>(&from), sizeof from), 0);
  const bool sent = ::sendto(fd, "x", 1, 0, reinterpret_cast<sockaddr*>(&to), sizeof to) == 1;
  ::close(fd);
  return sent;
}

bool becomes(bool wanted, Duration limit) {
  for (const Instant end = EventLoop::now() + limit; EventLoop::now() < end; ::usleep(1000))
    if (passes() == wanted) return true;
  return false;
}

void in_a_network(const std::function<void()>& body) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root";
  in_namespaces(CLONE_NEWNET, [&] {
    ASSERT_EQ(std::system("ip link set lo up && ip addr add 10.9.9.9/32 dev lo"), 0);
    body();
  });
}

TEST(AddressGate, OpensWithTheLeaseAndShutsWithItsEnd) {
  in_a_network([] {
    EXPECT_TRUE(passes());
    AddressGate gate;
    EXPECT_FALSE(gate.stands({kAddress}));
    gate.set({kAddress}, Instant{});
    gate.settle();
    ASSERT_EQ(gate.problem(), "");
    EXPECT_TRUE(gate.stands({kAddress}));
    EXPECT_FALSE(gate.stands({kAddress, "10.1.2.3"})) << "that one is not behind it";
    EXPECT_FALSE(passes()) << "no lease";
    const Instant until = EventLoop::now() + 400ms;
    gate.set({kAddress}, until);
    gate.settle();
    EXPECT_TRUE(passes());
    EXPECT_TRUE(becomes(false, 2s)) << "nobody has renewed it";
    EXPECT_LT(EventLoop::now(), until + 200ms);
    gate.set({kAddress}, EventLoop::now() + 10s);
    gate.settle();
    EXPECT_TRUE(passes());
    gate.set({kAddress}, Instant{});
    gate.settle();
    EXPECT_FALSE(passes()) << "withdrawn";
    gate.remove();
    EXPECT_TRUE(passes());
  });
}

TEST(AddressGate, OutlivesItsGuardAndIsTakenOver) {
  in_a_network([] {
    {
      AddressGate first;
      first.set({kAddress}, EventLoop::now() + 600ms);
      first.settle();
      ASSERT_EQ(first.problem(), "");
    }
    EXPECT_TRUE(passes());
    AddressGate second;
    second.set({kAddress}, EventLoop::now() + 10s);
    second.settle();
    EXPECT_TRUE(passes());
    EXPECT_FALSE(becomes(false, 800ms)) << "the second one renewed it";
  });
}

}  // namespace
}  // namespace baton::guard
