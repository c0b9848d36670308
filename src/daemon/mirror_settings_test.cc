// A mirror daemon's settings from the configuration, and when they may change.
#include "src/daemon/mirror_settings.h"

#include <gtest/gtest.h>

#include "src/model/configuration_toml.h"

namespace baton {
namespace {

Configuration configuration(const std::string& mirror_lines, const std::string& timing = "lan") {
  const std::string text = R"([cluster]
name = "pair"
timing = ")" + timing + R"("
[server.server1]
id = 1
interconnects = ["10.0.1.1", "10.0.2.1", "10.0.3.1"]
[server.server2]
id = 2
interconnects = ["10.0.1.2", "10.0.2.2", "10.0.3.2"]
[server.witness]
id = 3
role = "witness"
interconnects = ["10.0.1.3", "10.0.2.3", "10.0.3.3"]
[group.db]
servers = ["server1", "server2"]
[group.db.mirror.data]
store = "/dev/sdb"
size = "512 MiB"
)" + mirror_lines;
  auto parsed = parse_configuration(text);
  EXPECT_TRUE(parsed) << parsed.error().message;
  return *parsed;
}

mirror_control::DaemonSettings settings(const Configuration& all) {
  return make_mirror_settings(all, ServerId(1), all.groups[0], all.groups[0].resources[0],
                              {"/etc/baton", "/var/lib/baton", "/nowhere/run"});
}

TEST(MirrorSettings, AreTakenFromTheConfiguration) {
  const auto made = settings(configuration("protocol = \"B\"\nrate = \"50MB/s\"\nencrypt = false\nmetadata = \"/dev/sdc\"\n"));
  EXPECT_EQ(made.listen_address, "10.0.1.1");
  EXPECT_EQ(made.more_listen_addresses, std::vector<std::string>{"10.0.2.1"});
  EXPECT_EQ(made.peer_addresses, (std::vector<std::string>{"10.0.1.2", "10.0.2.2"}));
  EXPECT_EQ(made.protocol, MirrorProtocol::kB);
  EXPECT_EQ(made.rate_limit, 50000000u);
  EXPECT_FALSE(made.encrypt);
  EXPECT_EQ(made.metadata, "/dev/sdc");
  EXPECT_EQ(made.certificate_file, "/var/lib/baton/tls/db.data/server.pem");
  EXPECT_EQ(made.nbd_socket, "/nowhere/run/nbd/db.data.sock");
  EXPECT_EQ(made.fault_file, "");
  EXPECT_EQ(made.link_timeout, 1000ms);
  EXPECT_EQ(made.path_timeout, 300ms);
  EXPECT_EQ(settings(configuration("", "fast")).path_timeout, 150ms);
  EXPECT_EQ(settings(configuration("", "wan")).link_timeout, 4800ms);
  EXPECT_EQ(settings(configuration("")).metadata, "/var/lib/baton/mirror/db.data.meta");
}

TEST(MirrorSettings, OnlySomeChangesNeedARestart) {
  const auto before = settings(configuration(""));
  EXPECT_EQ(settings_that_need_a_restart(before, before), "");
  auto after = settings(configuration("rate = \"50MB/s\"\n"));
  after.size_bytes *= 2;
  EXPECT_EQ(settings_that_need_a_restart(before, after), "");
  after = settings(configuration("protocol = \"A\"\npeer_timeout = \"2 s\"\n"));
  EXPECT_EQ(settings_that_need_a_restart(before, after), "protocol, peer_timeout");
  after = before;
  after.store = "/dev/sdd";
  EXPECT_EQ(settings_that_need_a_restart(before, after), "settings");
}

TEST(MirrorSettings, ARestartWaitsUntilTheGroupHasSettledElsewhere) {
  GroupState group;
  group.wanted = true;
  EXPECT_FALSE(may_restart_mirror(group, ServerId(1))) << "it may be started here any moment";
  group.wanted = false;
  EXPECT_TRUE(may_restart_mirror(group, ServerId(1)));
  group.wanted = true;
  group.phase = GroupPhase::kStarting;
  group.owner = ServerId(2);
  EXPECT_FALSE(may_restart_mirror(group, ServerId(1)));
  group.phase = GroupPhase::kStarted;
  EXPECT_TRUE(may_restart_mirror(group, ServerId(1)));
  EXPECT_FALSE(may_restart_mirror(group, ServerId(2)));
}

}  // namespace
}  // namespace baton
