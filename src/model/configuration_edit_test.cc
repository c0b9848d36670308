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

}  // namespace
}  // namespace baton
