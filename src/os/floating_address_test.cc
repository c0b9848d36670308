// Floating addresses in a private network: two ends of a cable, the far one being the foreign machine.
#include "src/os/floating_address.h"

#include <gtest/gtest.h>

#include <optional>

#include "src/os/arp_socket.h"
#include "src/os/test_namespace.h"

namespace baton {
namespace {

constexpr const char* kFarMac = "02:00:00:00:00:02";

/// near0 (10.9.0.1/24) in this namespace, far0 in another one, held by a sleeping process whose number is in
/// /run/far.
void with_cable(const std::function<void()>& body) {
  in_namespaces(CLONE_NEWNET | CLONE_NEWPID, [&] {
    shell_or_fail(
        "mount -t tmpfs run /run && ip link set lo up &&"
        "{ unshare -n sleep 1000 & echo $! >/run/far; } &&"
        "ip link add near0 type veth peer name far0 address 02:00:00:00:00:02 &&"
        "ip addr add 10.9.0.1/24 dev near0 && ip link set near0 up &&"
        "until [ \"$(readlink /proc/$(cat /run/far)/ns/net)\" != \"$(readlink /proc/self/ns/net)\" ]; do :; "
        "done;"
        "ip link set far0 netns $(cat /run/far)");
    shell_or_fail("nsenter -t $(cat /run/far) -n ip link set far0 up");
    body();
  });
}

InterfaceAddress address(const char* text) { return *parse_interface_address(text); }

Status acquire(EventLoop& loop, FloatingAddress& floating, std::vector<MacAddress> former = {}) {
  std::optional<Status> outcome;
  floating.acquire(std::move(former), [&](Status status) { outcome = status; });
  EXPECT_FALSE(outcome.has_value()) << "called back from inside acquire()";
  EXPECT_TRUE(loop.run_until([&] { return outcome.has_value(); }, 5s));
  return outcome ? *outcome : Status(fail("no answer"));
}

TEST(FloatingAddress, TakenAnnouncedAdoptedReleased) {
  with_cable([] {
    EventLoop loop;
    shell_or_fail(
        "nsenter -t $(cat /run/far) -n sh -c 'ip addr add 10.9.0.2/24 dev far0; "
        "ip neigh replace 10.9.0.10 lladdr 02:00:00:00:00:77 dev far0 nud stale'");
    int changes = 0;
    auto monitor = NetworkMonitor::open(loop, [&] { ++changes; });
    ASSERT_TRUE(monitor.has_value());
    EXPECT_EQ(find_interface_for(address("10.9.0.10/24"))->name, "near0");
    EXPECT_FALSE(find_interface_for(address("10.8.0.10/24")).has_value());

    FloatingAddress floating(loop, "near0", address("10.9.0.10/24"));
    const Instant begin = EventLoop::now();
    auto taken = acquire(loop, floating);
    ASSERT_TRUE(taken.has_value()) << taken.error().message;
    EXPECT_GE(EventLoop::now() - begin, 30ms);
    EXPECT_LT(EventLoop::now() - begin, 400ms);
    EXPECT_TRUE(floating.presence()->address);
    EXPECT_TRUE(floating.presence()->carrier);
    // The neighbour's stale entry is corrected by the announcement.
    const std::string look = "nsenter -t $(cat /run/far) -n ip neigh show 10.9.0.10 | grep -q " +
                             find_interface("near0")->mac.text();
    EXPECT_TRUE(loop.run_until([&] { return ::system(look.c_str()) == 0; }, 3s));

    FloatingAddress restarted(loop, "near0", address("10.9.0.10/24"));
    const Instant again = EventLoop::now();
    EXPECT_TRUE(acquire(loop, restarted).has_value());
    EXPECT_LT(EventLoop::now() - again, 60ms);  // no probes
    restarted.announce_again();

    const int before = changes;
    EXPECT_TRUE(restarted.release().has_value());
    EXPECT_TRUE(restarted.release().has_value());
    EXPECT_FALSE(restarted.presence()->address);
    EXPECT_TRUE(loop.run_until([&] { return changes > before; }, 2s));
    shell_or_fail("nsenter -t $(cat /run/far) -n ip link set far0 down");
    EXPECT_TRUE(loop.run_until([&] { return !restarted.presence()->carrier; }, 2s));
  });
}

TEST(FloatingAddress, AForeignHolderIsNamedUnlessItIsTheFormerOwner) {
  with_cable([] {
    EventLoop loop;
    shell_or_fail("nsenter -t $(cat /run/far) -n ip addr add 10.9.0.10/24 dev far0");
    FloatingAddress floating(loop, "near0", address("10.9.0.10/24"));
    auto refused = acquire(loop, floating);
    ASSERT_FALSE(refused.has_value());
    EXPECT_EQ(refused.error().code, ErrorCode::kConflict);
    EXPECT_NE(refused.error().message.find("10.9.0.10/24"), std::string::npos);
    EXPECT_NE(refused.error().message.find(kFarMac), std::string::npos) << refused.error().message;
    EXPECT_FALSE(floating.presence()->address);
    EXPECT_TRUE(acquire(loop, floating, {*parse_mac_address(kFarMac)}).has_value());
    EXPECT_TRUE(floating.presence()->address);
  });
}

TEST(FloatingAddress, WhatWasLookedForAheadIsTakenAtOnceOrRefused) {
  with_cable([] {
    EventLoop loop;
    FloatingAddress floating(loop, "near0", address("10.9.0.10/24"));
    auto wait = [&](Duration time) {
      bool over = false;
      auto timer = loop.after(time, [&] { over = true; });
      EXPECT_TRUE(loop.run_until([&] { return over; }, 5s));
    };
    Duration least = 5s;  // on a busy machine some take longer for other reasons
    for (int tries = 0; tries < 20 && least >= 25ms; ++tries) {
      floating.look_ahead();
      wait(60ms);
      const Instant begin = EventLoop::now();
      EXPECT_TRUE(acquire(loop, floating).has_value());
      least = std::min(least, EventLoop::now() - begin);
      EXPECT_TRUE(floating.release().has_value());
    }
    EXPECT_LT(least, 25ms) << "the probes were sent before";

    // Another server that looks ahead, or was about to take it some time ago, is no conflict.
    floating.look_ahead();
    shell_or_fail(
        "nsenter -t $(cat /run/far) -n python3 -c 'import socket; s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW); "
        "s.bind((\"far0\", 0)); mac = bytes([2, 0, 0, 0, 0, 2]); "
        "s.send(b\"\\xff\" * 6 + mac + bytes([8, 6, 0, 1, 8, 0, 6, 4, 0, 1]) + mac + bytes(10) + bytes([10, 9, 0, 10]))'");
    wait(60ms);
    EXPECT_TRUE(acquire(loop, floating).has_value());
    EXPECT_TRUE(floating.release().has_value());

    // In the middle of the probes: their rest is waited for.
    floating.look_ahead();
    const Instant middle = EventLoop::now();
    EXPECT_TRUE(acquire(loop, floating).has_value());
    EXPECT_GE(EventLoop::now() - middle, 30ms);
    EXPECT_TRUE(floating.release().has_value());

    shell_or_fail("nsenter -t $(cat /run/far) -n ip addr add 10.9.0.10/24 dev far0");
    floating.look_ahead();
    wait(60ms);
    EXPECT_EQ(acquire(loop, floating).error().code, ErrorCode::kConflict);
    floating.look_ahead();
    wait(60ms);
    EXPECT_TRUE(acquire(loop, floating, {*parse_mac_address(kFarMac)}).has_value());
  });
}

TEST(FloatingAddress, MissingInterfacesAndReleaseDuringProbes) {
  with_cable([] {
    EventLoop loop;
    FloatingAddress nowhere(loop, "none0", address("10.9.0.10/24"));
    EXPECT_EQ(acquire(loop, nowhere).error().code, ErrorCode::kNotFound);
    EXPECT_TRUE(nowhere.release().has_value());
    EXPECT_FALSE(nowhere.presence()->address);

    FloatingAddress floating(loop, "near0", address("10.9.0.11/24"));
    std::optional<Status> outcome;
    floating.acquire({}, [&](Status status) { outcome = status; });
    EXPECT_TRUE(floating.release().has_value());
    ASSERT_TRUE(outcome.has_value());
    EXPECT_FALSE(outcome->has_value());
    bool later = false;
    auto timer = loop.after(150ms, [&] { later = true; });  // longer than all probes
    EXPECT_TRUE(loop.run_until([&] { return later; }, 1s));
    EXPECT_FALSE(floating.presence()->address);

    shell_or_fail("ip link set near0 down");
    EXPECT_EQ(acquire(loop, floating).error().code, ErrorCode::kUnavailable);
    shell_or_fail("ip link add plain0 type veth peer name plain1 && ip link set plain0 arp off up");
    FloatingAddress silent(loop, "plain0", address("10.9.0.12/24"));
    EXPECT_TRUE(acquire(loop, silent).has_value());
    FloatingAddress twice(loop, "lo", address("10.9.0.12/24"));
    EXPECT_EQ(acquire(loop, twice).error().code, ErrorCode::kConflict);
  });
}

TEST(NetworkAddress, ParsingAndNetworks) {
  EXPECT_EQ(address("10.9.0.10/24").text(), "10.9.0.10/24");
  EXPECT_TRUE(address("10.9.0.10/23").network_holds(address("10.9.1.1/32")));
  EXPECT_FALSE(address("10.9.0.10/24").network_holds(address("10.9.1.1/24")));
  for (const char* bad : {"10.9.0.10", "10.9.0/24", "10.9.0.10/33", "10.9.0.10/", "10.9.0.10/2x", "127.0.0.1/8",
                          "224.0.0.1/8", "fe80::1/64", ""}) {
    EXPECT_FALSE(parse_interface_address(bad).has_value()) << bad;
  }
  EXPECT_EQ(parse_mac_address(kFarMac)->text(), kFarMac);
  EXPECT_FALSE(parse_mac_address("02:00:00:00:00").has_value());
}

TEST(ArpSocket, PacketsSurviveTheirEncoding) {
  ArpPacket packet{
      ArpPacket::kReply, *parse_mac_address(kFarMac), {}, address("10.9.0.1/24"), address("10.9.0.2/24")};
  auto decoded = decode_arp(encode_arp(packet));
  ASSERT_TRUE(decoded.has_value());
  EXPECT_EQ(decoded->operation, ArpPacket::kReply);
  EXPECT_EQ(decoded->sender_mac.text(), kFarMac);
  EXPECT_TRUE(decoded->target.same_address(address("10.9.0.2/32")));
  EXPECT_FALSE(decode_arp(Bytes(27)).has_value());
  EXPECT_FALSE(decode_arp(Bytes(28)).has_value());
}

}  // namespace
}  // namespace baton
