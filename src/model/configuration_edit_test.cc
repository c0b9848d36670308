// One value changes, the rest of the file stays.
#include "src/model/configuration_edit.h"

#include <gtest/gtest.h>

#include "src/model/configuration_toml.h"

namespace baton {
namespace {

std::string text(const std::string& mirror) {
  return R"(# our cluster
[cluster]
name = "pair"
[server.server1]
id = 1
interconnects = ["10.0.1.1"]
[server.server2]
id = 2
interconnects = ["10.0.1.2"]
[group.db]
servers = ["server1", "server2"]
)" + mirror;
}

const std::string kMirror = "[group.db.mirror.data]\n  size = \"512 MiB\"  # enough\n  store = \"/dev/sdb\"\n";

TEST(ConfigurationEdit, AValueIsReplaced) {
  const auto edited = set_mirror_value(text(kMirror), "db", "data", "size", "1 GiB");
  ASSERT_TRUE(edited) << edited.error().message;
  EXPECT_EQ(*edited, text("[group.db.mirror.data]\n  size = \"1 GiB\"  # enough\n  store = \"/dev/sdb\"\n"));
}

TEST(ConfigurationEdit, AnAbsentOneIsAddedBelowTheSize) {
  const auto edited = set_mirror_value(text(kMirror), "db", "data", "rate", "50MB/s");
  ASSERT_TRUE(edited) << edited.error().message;
  EXPECT_EQ(*edited, text("[group.db.mirror.data]\n  size = \"512 MiB\"  # enough\n  rate = \"50MB/s\"\n"
                          "  store = \"/dev/sdb\"\n"));
  const auto again = set_mirror_value(*edited, "db", "data", "rate", "auto");
  ASSERT_TRUE(again) << again.error().message;
  EXPECT_EQ(parse_configuration(*again)->groups[0].resources[0].mirror.rate, 0u);
}

TEST(ConfigurationEdit, ANumberAndAFileWithoutALastNewlineAreUnderstood) {
  const auto edited = set_mirror_value(text("[group.db.mirror.data]\nstore = \"/dev/sdb\"\nrate = 0\nsize = \"1 GiB\""),
                                       "db", "data", "rate", "auto");
  ASSERT_TRUE(edited) << edited.error().message;
  EXPECT_NE(edited->find("rate = \"auto\"\n"), std::string::npos);
  const auto added = set_mirror_value(text("[group.db.mirror.data]\nstore = \"/dev/sdb\"\nsize = \"1 GiB\""), "db", "data",
                                      "rate", "50MB/s");
  ASSERT_TRUE(added) << added.error().message;
}

TEST(ConfigurationEdit, WhatItCannotChangeIsRefused) {
  EXPECT_FALSE(set_mirror_value(text(kMirror), "db", "none", "size", "1 GiB"));
  EXPECT_FALSE(set_mirror_value(text(kMirror), "db", "data", "size", "many"));
  EXPECT_FALSE(set_mirror_value("nonsense", "db", "data", "size", "1 GiB"));
  const auto inline_table = text("mirror.data = { size = \"1 GiB\", store = \"/dev/sdb\" }\n");
  ASSERT_TRUE(parse_configuration(inline_table)) << parse_configuration(inline_table).error().message;
  EXPECT_FALSE(set_mirror_value(inline_table, "db", "data", "rate", "50MB/s"));
  EXPECT_TRUE(set_mirror_value(inline_table, "db", "data", "size", "2 GiB"));
}

constexpr const char* kServers = "[cluster]\nname = \"x\"\n\n# the first\n[server.one]\nid = 1\ninterconnects = [\"10.0.1.1\"]\n"
                                 "\n# the second\n[server.two]\nid = 2\ninterconnects = [\"10.0.1.2\"]\n";

TEST(ConfigurationEdit, AServerComesAndGoes) {
  ServerConfiguration three;
  three.name = "three";
  three.id = ServerId{7};
  three.interconnects = {"10.0.1.3"};
  const auto with = add_server(kServers, three);
  ASSERT_TRUE(with.has_value()) << with.error().message;
  const auto parsed = parse_configuration(*with);
  ASSERT_EQ(parsed->servers.size(), 3u);
  EXPECT_EQ(parsed->server("three")->id, ServerId{7});
  EXPECT_FALSE(add_server(*with, three).has_value()) << "the name is taken";
  three.name = "four";
  EXPECT_FALSE(add_server(*with, three).has_value()) << "the id and the address are taken";
  three.id = ServerId{8};
  three.interconnects = {"10.0.1.4", "10.0.2.4"};
  EXPECT_FALSE(add_server(*with, three).has_value()) << "a link more than the others";
  const auto without = remove_server(*with, "One");
  ASSERT_TRUE(without.has_value()) << without.error().message;
  EXPECT_EQ(parse_configuration(*without)->servers.size(), 2u);
  EXPECT_FALSE(remove_server(*with, "nobody").has_value());
  const std::string group = *with + "[group.g]\nservers = [\"two\"]\n[group.g.service.s]\ncommand = [\"/bin/true\"]\n";
  const auto named = remove_server(group, "two");
  ASSERT_FALSE(named.has_value());
  EXPECT_NE(named.error().message.find("group g names two"), std::string::npos);
}

}  // namespace
}  // namespace baton
