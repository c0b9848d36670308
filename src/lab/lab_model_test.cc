// Names, addresses and numbers of the practice cluster.
#include "src/lab/lab_model.h"

#include <gtest/gtest.h>

#include <sstream>

#include "src/lab/lab_mounts.h"
#include "src/lab/lab_network.h"
#include "src/lab/lab_state.h"
#include "src/lab/lab_status.h"
#include "src/lab/lab_wait.h"

namespace baton::lab {
namespace {

TEST(LabModel, MembersHaveTheirAddressesAndShortPortNames) {
  auto members = plan_members(kMaximumServers, true);
  ASSERT_EQ(members.size(), size_t(kMaximumServers) + 2);
  EXPECT_EQ(members[0].links[0].address, "10.88.1.11");
  EXPECT_EQ(members[0].links[1].address, "10.88.0.11");
  EXPECT_EQ(members[16].links[0].address, "10.88.1.9");
  EXPECT_EQ(members[17].links.size(), 1u);
  EXPECT_EQ(members[17].links[0].address, "10.88.0.100");
  for (const auto& member : members) {
    for (const auto& link : member.links) EXPECT_LE(member.port(link).size(), 15u);
  }
}

TEST(LabState, SurvivesEncoding) {
  Lab lab{.complete = true, .volatile_disks = true, .programs = "/usr/bin", .members = plan_members(3, true)};
  lab.members[1].links[0].fault = LinkFault::kSilent;
  lab.members[2].off = true;
  lab.members[2].programs = "/usr/local/bin";
  auto again = decode_state(encode_state(lab));
  ASSERT_TRUE(again) << again.error().message;
  EXPECT_EQ(encode_state(*again), encode_state(lab));
  EXPECT_FALSE(decode_state("{}"));
  EXPECT_FALSE(decode_state("half a fi"));
}

TEST(LabNetwork, PortsFollowFaultsPauseAndPower) {
  auto member = plan_members(1, false)[0];
  EXPECT_NE(port_commands(member).find("link set server1-ic0 master interconnect"), std::string::npos);
  member.links[0].fault = LinkFault::kCut;
  member.links[1].fault = LinkFault::kSilent;
  EXPECT_EQ(port_commands(member),
            "link set server1-ic0 down\nlink set server1-lan0 nomaster\nlink set server1-lan0 up\n");
  member.off = true;
  EXPECT_EQ(port_commands(member), "link set server1-ic0 down\nlink set server1-lan0 down\n");
}

TEST(LabMounts, ReadsMountinfoWithEscapesAndOptionalFields) {
  auto mount = parse_mountinfo_line("80 25 0:42 / /mnt/a\\040b rw,nosuid shared:7 master:1 - fuse.x disk rw");
  EXPECT_EQ(mount.minor, 42u);
  EXPECT_EQ(mount.point, "/mnt/a b");
  EXPECT_EQ(mount.type, "fuse.x");
  EXPECT_EQ(mount.source, "disk");
  EXPECT_TRUE(parse_mountinfo_line("rubbish").type.empty());
}

TEST(LabStatus, TheTableFitsEightyColumns) {
  Lab lab{.volatile_disks = true, .members = plan_members(16, true)};
  for (auto& member : lab.members) member.links[0].fault = LinkFault::kSilent;
  std::istringstream lines(status_table(lab));
  for (std::string line; std::getline(lines, line);) EXPECT_LE(line.size(), 80u) << line;
}

TEST(LabWait, SaysWhatItWaitedFor) {
  auto waited = wait_until("rain", 5ms, [] { return false; });
  ASSERT_FALSE(waited);
  EXPECT_EQ(waited.error().code, ErrorCode::kTimeout);
  EXPECT_NE(waited.error().message.find("rain"), std::string::npos);
}

}  // namespace
}  // namespace baton::lab
