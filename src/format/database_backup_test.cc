// Backups as text: what is written is read again; what is damaged, cut off, or of another kind is an error that says so.
#include <gtest/gtest.h>

#include "src/format/database_backup.h"

namespace baton {
namespace {

constexpr const char* kText = "[cluster]\nname = \"demo\"\n[server.server1]\nid = 1\ninterconnects = [\"10.0.0.1\"]\n";

DatabaseBackup sample() {
  DatabaseBackup backup{"demo", "server1", 1700000000123, 3, "0123456789abcdef", "", {}};
  backup.entries.push_back({65, 1, 1, 0, 0, StartEpoch{ServerId{1}}});
  backup.entries.push_back({65, 2, 1, 9, 17, ApplyConfiguration{0, kText, "a \xff b", 3}});
  backup.entries.push_back({129, 3, 1, 0, 0, StartEpoch{ServerId{1}}});
  return backup;
}

std::string text_of(const DatabaseBackup& backup) { return backup_to_json(backup).dump(1); }

std::string problem_with(const std::string& text) {
  const auto read = backup_from_text(text);
  return read ? "" : read.error().message;
}

TEST(DatabaseBackup, IsReadAsItWasWritten) {
  const auto read = backup_from_text(text_of(sample()));
  ASSERT_TRUE(read.has_value()) << read.error().message;
  EXPECT_EQ(read->entries, sample().entries);
  EXPECT_EQ(std::tuple(read->cluster, read->server, read->made_ms, read->format_level, read->key_fingerprint, read->key),
            std::tuple("demo", "server1", 1700000000123, 3U, "0123456789abcdef", ""));
  EXPECT_EQ(state_of(*read).configuration_text, kText);
  EXPECT_EQ(text_of(sample()).find("\"key\""), std::string::npos);
}

TEST(DatabaseBackup, CutOffAnywhereIsAnError) {
  const std::string text = text_of(sample());
  for (size_t length = 0; length < text.size(); length += 7) EXPECT_NE(problem_with(text.substr(0, length)), "") << length;
  EXPECT_NE(problem_with(text.substr(0, text.size() - 2)).find("damaged or cut off"), std::string::npos);
  EXPECT_EQ(problem_with(""), "it is empty");
}

TEST(DatabaseBackup, AnyFlippedDigitIsSeen) {
  const std::string text = text_of(sample());
  for (size_t place = text.find("\"body\"") + 8; place < text.size(); ++place) {
    if (!isalnum(static_cast<unsigned char>(text[place]))) continue;
    std::string other = text;
    other[place] = other[place] == '1' ? '2' : '1';
    EXPECT_NE(problem_with(other), "") << place;
  }
}

TEST(DatabaseBackup, OtherKindsAndLaterVersionsSaySo) {
  EXPECT_NE(problem_with("{}").find("no backup of a cluster database"), std::string::npos);
  EXPECT_NE(problem_with("\x7f" "ELF").find("no backup of a cluster database"), std::string::npos);
  auto json = backup_to_json(sample());
  json["version"] = 2;
  EXPECT_NE(problem_with(json.dump()).find("of version 2, this Baton reads version 1"), std::string::npos);
  DatabaseBackup later = sample();
  later.format_level = kFormatLevel + 1;
  EXPECT_NE(problem_with(text_of(later)).find("level 4, this Baton knows level 3"), std::string::npos) << problem_with(text_of(later));
  DatabaseBackup empty = sample();
  empty.entries.pop_back();
  empty.entries.pop_back();
  EXPECT_NE(problem_with(text_of(empty)).find("no configuration"), std::string::npos);
  DatabaseBackup gap = sample();
  gap.entries.erase(gap.entries.begin());
  EXPECT_NE(problem_with(text_of(gap)).find("not in order"), std::string::npos);
}

TEST(DatabaseBackup, WhatWasRecordedTwiceCountsOnce) {
  DatabaseBackup backup = sample();
  backup.entries.push_back({129, 4, 1, 9, 17, ApplyConfiguration{1, kText, "again", 3}});
  EXPECT_EQ(state_of(backup).configuration_version, 1U);
}

TEST(RestoreOrder, RoundTrips) {
  const RestoreOrder order{77, {1, 3}, 1700000000123, "root", true, text_of(sample())};
  const auto read = read_restore_order(write_restore_order(order));
  ASSERT_TRUE(read.has_value()) << read.error().message;
  EXPECT_EQ(std::tuple(read->random, read->survivors, read->wall_ms, read->author, read->had_database, read->backup),
            std::tuple(order.random, order.survivors, order.wall_ms, order.author, order.had_database, order.backup));
  EXPECT_FALSE(read_restore_order("{}").has_value());
  EXPECT_FALSE(read_restore_order(write_restore_order(order).substr(0, 90)).has_value());
}

}  // namespace
}  // namespace baton
