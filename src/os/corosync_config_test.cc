// corosync.conf: the golden text, and what is refused.
#include "src/os/corosync_config.h"

#include <gtest/gtest.h>

namespace baton {
namespace {

EngineConfig two_servers() {
  EngineConfig config;
  config.cluster_name = "demo";
  config.self = ServerId(1);
  config.nodes = {{ServerId(1), "server1", {"10.1.0.1", "10.2.0.1"}},
                  {ServerId(2), "server2", {"10.1.0.2", "10.2.0.2"}}};
  config.links = {{.priority = 2}, {.priority = 1, .port = 6000}};
  config.timing = *engine_timing("lan");
  config.key_file = "/run/baton/corosync/authkey";
  config.state_directory = "/var/lib/baton/corosync";
  config.log_file = "/var/log/baton/corosync.log";
  return config;
}

constexpr const char* kGolden = R"(# Written by batond at each start; changes made here are lost.
totem {
    version: 2
    cluster_name: demo
    transport: knet
    link_mode: active
    crypto_model: openssl
    crypto_cipher: aes256
    crypto_hash: sha256
    keyfile: /run/baton/corosync/authkey
    token: 380
    token_coefficient: 0
    consensus: 456
    join: 30
    token_retransmits_before_loss_const: 4
    seqno_unchanged_const: 2
    miss_count_const: 1
    interface {
        linknumber: 0
        knet_link_priority: 2
        mcastport: 5405
        knet_ping_interval: 200
        knet_ping_timeout: 600
        knet_pong_count: 2
    }
    interface {
        linknumber: 1
        knet_link_priority: 1
        mcastport: 6000
        knet_ping_interval: 200
        knet_ping_timeout: 600
        knet_pong_count: 2
    }
}
nodelist {
    node {
        nodeid: 1
        name: server1
        ring0_addr: 10.1.0.1
        ring1_addr: 10.2.0.1
    }
    node {
        nodeid: 2
        name: server2
        ring0_addr: 10.1.0.2
        ring1_addr: 10.2.0.2
    }
}
system {
    state_dir: /var/lib/baton/corosync
    sched_rr: yes
    priority: max
    move_to_root_cgroup: auto
}
logging {
    to_stderr: no
    to_syslog: no
    to_logfile: yes
    logfile: /var/log/baton/corosync.log
    timestamp: hires
}
)";

TEST(CorosyncConfig, Golden) {
  auto text = corosync_configuration(two_servers());
  ASSERT_TRUE(text.has_value()) << text.error().message;
  EXPECT_EQ(*text, kGolden);
}

TEST(CorosyncConfig, ALinkGoesBeforeAnAddressOfItChanges) {
  const auto present = addresses_in(kGolden);
  EXPECT_EQ(present.at(ServerId(2)).at(1), "10.2.0.2");
  auto config = two_servers();
  EXPECT_FALSE(take_changed_links_out(config, present)) << "nothing differs";
  config.nodes[1].addresses[1] = "10.2.0.9";
  config.nodes.push_back({ServerId(3), "server3", {"10.1.0.3", "10.2.0.3"}});
  auto first = config;
  EXPECT_TRUE(take_changed_links_out(first, present));
  const auto between = corosync_configuration(first);
  ASSERT_TRUE(between.has_value()) << between.error().message;
  EXPECT_EQ(between->find("10.2.0"), std::string::npos) << *between;
  EXPECT_EQ(between->find("linknumber: 1"), std::string::npos) << *between;
  EXPECT_NE(between->find("ring0_addr: 10.1.0.3"), std::string::npos) << *between;
  auto second = config;
  EXPECT_FALSE(take_changed_links_out(second, addresses_in(*between))) << "it has gone";
  EXPECT_EQ(second.nodes[1].addresses[1], "10.2.0.9");
  config.nodes[0].addresses[0] = "10.1.0.9";
  EXPECT_FALSE(take_changed_links_out(config, present)) << "one has to stay";
  first.nodes[1].addresses[1] = "10.2.0.9";
  EXPECT_FALSE(corosync_configuration(first).has_value()) << "a link that only one has";
}

TEST(CorosyncConfig, WhoMakesTheNewRingAgreesFirst) {
  auto config = two_servers();
  config.self = ServerId(2);
  EXPECT_NE(corosync_configuration(config)->find("    consensus: 464\n"), std::string::npos);
}

TEST(CorosyncConfig, EveryProfileIsSafe) {
  for (const char* name : {"fast", "lan", "wan"}) {
    auto config = two_servers();
    config.timing = *engine_timing(name);
    EXPECT_TRUE(corosync_configuration(config).has_value()) << name;
  }
  EXPECT_EQ(engine_timing("lan")->detection_ms(), 836u);
  EXPECT_FALSE(engine_timing("quick").has_value());
}

TEST(CorosyncConfig, Refusals) {
  auto refused = [](auto change) {
    auto config = two_servers();
    change(config);
    auto text = corosync_configuration(config);
    return text ? std::string() : text.error().message;
  };
  EXPECT_NE(refused([](auto& config) { config.nodes[1].id = ServerId(1); }).find("used twice"),
            std::string::npos);
  EXPECT_NE(refused([](auto& config) { config.nodes[1].addresses.pop_back(); }).find("has 1 interconnect"),
            std::string::npos);
  EXPECT_NE(refused([](auto& config) { config.nodes[1].addresses[0] = "10.1.0.1"; }).find("used twice"),
            std::string::npos);
  EXPECT_NE(refused([](auto& config) { config.cluster_name = "a\n}"; }).find("unfit"), std::string::npos);
  EXPECT_NE(refused([](auto& config) { config.timing.ping_timeout_ms = 150; }).find("ping time-out"),
            std::string::npos);
  EXPECT_NE(refused([](auto& config) { config.timing.consensus_ms = 400; }).find("1.2 times"),
            std::string::npos);
  EXPECT_NE(refused([](auto& config) { config.links.clear(); }).find("1 to 8"), std::string::npos);
}

}  // namespace
}  // namespace baton
