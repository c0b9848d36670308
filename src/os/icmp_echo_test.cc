// Echoes in a private network: to this machine's own addresses, to a far end of a cable, to nobody.
#include "src/os/icmp_echo.h"

#include <gtest/gtest.h>

#include <set>

#include "src/os/test_namespace.h"

namespace baton {
namespace {

struct Asked {
  EventLoop loop;
  std::set<std::pair<uint64_t, std::string>> answers;
  IcmpEcho echo{loop, [this](uint64_t number, const std::string& address) { answers.emplace(number, address); }};
};

TEST(IcmpEcho, HearsWhoAnswersByBothFamilies) {
  in_namespaces(CLONE_NEWNET, [] {
    shell_or_fail("ip link set lo up && ip addr add 192.0.2.1/32 dev lo && ip -6 addr add 2001:db8::1/128 dev lo");
    Asked asked;
    EXPECT_TRUE(asked.echo.send("192.0.2.1", 7).has_value());
    EXPECT_TRUE(asked.echo.send("2001:db8::1", 7).has_value());
    EXPECT_TRUE(asked.echo.send("192.0.2.1", uint64_t{1} << 40).has_value());
    EXPECT_TRUE(asked.loop.run_until([&] { return asked.answers.size() == 3; }, 5s));
    EXPECT_TRUE(asked.answers.contains({7, "2001:db8::1"}));
    EXPECT_TRUE(asked.answers.contains({uint64_t{1} << 40, "192.0.2.1"}));
  });
}

TEST(IcmpEcho, HearsNothingOfAnothersEchoes) {
  in_namespaces(CLONE_NEWNET, [] {
    shell_or_fail("ip link set lo up");
    Asked one;
    IcmpEcho other{one.loop, [](uint64_t, const std::string&) {}};
    EXPECT_TRUE(one.echo.send("127.0.0.1", 1).has_value());
    EXPECT_TRUE(other.send("127.0.0.1", 2).has_value());
    EXPECT_TRUE(one.echo.send("127.0.0.1", 3).has_value());
    EXPECT_TRUE(one.loop.run_until([&] { return one.answers.contains({3, "127.0.0.1"}); }, 5s));
    EXPECT_FALSE(one.answers.contains({2, "127.0.0.1"}));
  });
}

TEST(IcmpEcho, KnowsAnAddressOfTheMachineItself) {
  in_namespaces(CLONE_NEWNET, [] {
    shell_or_fail("ip link set lo up && ip addr add 192.0.2.1/32 dev lo && ip -6 addr add 2001:db8::1/128 dev lo && "
                  "ip link add far type veth peer name end && ip addr add 198.51.100.1/24 dev far && ip link set far up");
    EXPECT_TRUE(is_own_address("192.0.2.1"));
    EXPECT_TRUE(is_own_address("2001:db8::1"));
    EXPECT_TRUE(is_own_address("198.51.100.1"));
    EXPECT_FALSE(is_own_address("198.51.100.2"));
    EXPECT_FALSE(is_own_address("203.0.113.1"));
    EXPECT_FALSE(is_own_address("router"));
  });
}

TEST(IcmpEcho, SaysWhyNothingCouldBeSent) {
  in_namespaces(CLONE_NEWNET, [] {
    Asked asked;
    const auto sent = asked.echo.send("192.0.2.1", 1);
    ASSERT_FALSE(sent.has_value());
    EXPECT_EQ(sent.error().message, "Network is unreachable");
    EXPECT_FALSE(asked.echo.send("router", 1).has_value());
  });
}

}  // namespace
}  // namespace baton
