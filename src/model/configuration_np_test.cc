// How network partitions are resolved: what `np` may say of which cluster, and what it is when nothing is said.
#include <gtest/gtest.h>

#include "src/model/configuration_toml.h"

namespace baton {
namespace {

std::string text(const std::string& np, int servers, bool witness) {
  std::string made = "[cluster]\nname = \"c\"\n" + np;
  for (int id = 1; id <= servers + (witness ? 1 : 0); ++id) {
    const bool is_witness = id > servers;
    made += fmt::format("[server.s{}]\nid = {}\n{}interconnects = [\"10.0.1.{}\"]\n", id, id,
                        is_witness ? "role = \"witness\"\n" : "", id);
  }
  return made;
}

NpKind kind_of(const std::string& np, int servers, bool witness) {
  const auto read = parse_configuration(text(np, servers, witness));
  EXPECT_TRUE(read.has_value()) << read.error().message;
  return read ? read->np : NpKind::kMajority;
}

/// The only problem's text.
std::string problem_of(const std::string& np, int servers, bool witness) {
  const auto problems = check_configuration(text(np, servers, witness));
  EXPECT_EQ(problems.size(), 1u);
  return problems.empty() ? "" : problems.front().message;
}

TEST(ConfigurationNp, FollowsFromTheServers) {
  EXPECT_EQ(kind_of("", 2, true), NpKind::kWitness);
  EXPECT_EQ(kind_of("", 4, true), NpKind::kWitness);
  EXPECT_EQ(kind_of("", 3, false), NpKind::kMajority);
  EXPECT_EQ(kind_of("", 2, false), NpKind::kOperator);
  EXPECT_EQ(kind_of("", 1, false), NpKind::kMajority);
  EXPECT_EQ(kind_of("np = \"majority\"\n", 2, false), NpKind::kMajority);
}

TEST(ConfigurationNp, ReadsHowLongToWait) {
  const auto read = parse_configuration(text("np_wait = \"90 s\"\n", 2, false));
  ASSERT_TRUE(read.has_value()) << read.error().message;
  EXPECT_EQ(read->np_wait, milliseconds(90000));
}

TEST(ConfigurationNp, ReadsTheDiskOfTwoServers) {
  const auto read = parse_configuration(text("np = \"disk\"\nnp_disk = \"/dev/disk/by-id/wwn-1\"\n", 2, false));
  ASSERT_TRUE(read.has_value()) << read.error().message;
  EXPECT_EQ(read->np, NpKind::kDisk);
  EXPECT_EQ(read->np_disk, "/dev/disk/by-id/wwn-1");
  EXPECT_EQ(read->level, 3u);
}

TEST(ConfigurationNp, ReadsTheTargetsOfTwoServers) {
  const auto read = parse_configuration(text("np = \"ping\"\nping_targets = [\"192.0.2.1\", \"2001:DB8::0:1\"]\nnp_wait = \"90 s\"\n", 2, false));
  ASSERT_TRUE(read.has_value()) << read.error().message;
  EXPECT_EQ(read->np, NpKind::kPing);
  EXPECT_EQ(read->ping_targets, (std::vector<std::string>{"192.0.2.1", "2001:db8::1"}));
  EXPECT_EQ(read->level, 3u);
  EXPECT_NE(warning_of(read->np), "");
}

TEST(ConfigurationNp, RefusesWhatDoesNotFit) {
  const auto says = [](const std::string& problem, const std::string& part) {
    EXPECT_NE(problem.find(part), std::string::npos) << problem;
  };
  says(problem_of("np = \"operator\"\n", 2, true), "for two servers without a witness, here are 2 servers and a witness");
  says(problem_of("np = \"operator\"\n", 3, false), "here are 3 servers");
  says(problem_of("np = \"witness\"\n", 2, false), "no server has role = \"witness\"");
  says(problem_of("np = \"ping\"\n", 2, false), "needs ping_targets");
  says(problem_of("np = \"ping\"\nping_targets = []\n", 2, false), "1 to 8 addresses");
  const std::string ping = "np = \"ping\"\nping_targets = ";
  says(problem_of(ping + "[\"192.0.2.1\"]\n", 3, false), "here are 3 servers");
  says(problem_of(ping + "[\"router\"]\n", 2, false), "\"router\" is no address of a host");
  says(problem_of(ping + "[\"fe80::1\"]\n", 2, false), "no address of a host");
  says(problem_of(ping + "[\"10.0.1.2\"]\n", 2, false), "is an address of s2 itself");
  says(problem_of(ping + "[\"192.0.2.1\", \"192.0.2.1\"]\n", 2, false), "named twice");
  says(problem_of(ping + "[\"2001:db8::1\", \"2001:db8:0::1\"]\n", 2, false), "2001:db8::1 is named twice");
  says(problem_of("ping_targets = [\"192.0.2.1\"]\n", 2, false), "belong to np = \"ping\"");
  const std::string group = "[group.g]\nservers = [\"s1\", \"s2\"]\n[group.g.address.ip]\naddress = \"192.0.2.7\"\n";
  const auto floating = check_configuration(text("public_lan = \"192.0.2.0/24\"\n" + ping + "[\"192.0.2.7\"]\n", 2, false) + group);
  ASSERT_EQ(floating.size(), 1u);
  says(floating.front().message, "already that of [cluster] ping_targets");
  says(problem_of("np_wait = \"90 s\"\n", 2, true), "belongs to np = \"operator\"");
  says(problem_of("np = \"disk\"\n", 2, false), "needs np_disk");
  says(problem_of("np = \"disk\"\nnp_disk = \"sdb\"\n", 2, false), "no absolute path");
  says(problem_of("np = \"disk\"\nnp_disk = \"/dev/sdb\"\n", 2, true), "here are 2 servers and a witness");
  says(problem_of("np_disk = \"/dev/sdb\"\n", 2, false), "belongs to np = \"disk\"");
  says(problem_of("np = \"quorum\"\n", 2, false), "unknown way");
}

}  // namespace
}  // namespace baton
