// Logs as they are written: whole lines, cut to nothing, renamed, replaced; and what is no log.
#include "src/check/log_check.h"

#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>

namespace baton::check {
namespace {

class LogCheckTest : public testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/baton-log-XXXXXX";
    ASSERT_NE(mkdtemp(name), nullptr);
    directory_ = name;
    path_ = directory_ + "/app.log";
    write("FATAL: long ago\n");
    ASSERT_EQ(look().outcome, Outcome::kGood);
  }
  void TearDown() override { std::filesystem::remove_all(directory_); }

  void write(const std::string& text) { std::ofstream(path_, std::ios::app) << text; }
  CheckResult look(uint64_t bytes = 1 << 20, std::chrono::milliseconds time = std::chrono::seconds(10)) {
    return check_log(path_, "^(FATAL|PANIC):", position_, {.time = time, .bytes = bytes});
  }

  std::string directory_, path_;
  std::optional<ReadUpTo> position_;
};

TEST_F(LogCheckTest, EachNewLineIsReadOnce) {
  write("one\nFATAL: first\nFATAL: second\ntwo\n");
  EXPECT_EQ(look().text, path_ + " says: FATAL: first");
  EXPECT_EQ(look().text, path_ + " says: FATAL: second");
  EXPECT_EQ(look().text, "1 new line");
  EXPECT_EQ(look().text, "0 new lines");
}

TEST_F(LogCheckTest, ALineCountsWhenItIsWhole) {
  write("FAT");
  EXPECT_EQ(look().text, "0 new lines");
  write("AL: now");
  EXPECT_EQ(look().text, "0 new lines");
  write("\n");
  EXPECT_EQ(look().outcome, Outcome::kBad);
}

TEST_F(LogCheckTest, OneThatWasCutIsReadFromItsBeginning) {
  std::filesystem::resize_file(path_, 0);
  write("FATAL: new\n");
  EXPECT_EQ(look().outcome, Outcome::kBad);
}

TEST_F(LogCheckTest, OneThatWasRenamedIsReadToItsEndFirst) {
  write("one\nFATAL: the last of the old one, without an end");
  std::filesystem::rename(path_, directory_ + "/app.log.1");
  write("FATAL: the first of the new one\n");
  EXPECT_EQ(look().text, path_ + " says: FATAL: the last of the old one, without an end");
  EXPECT_EQ(look().text, path_ + " says: FATAL: the first of the new one");
  EXPECT_EQ(look().text, "0 new lines");
}

TEST_F(LogCheckTest, OneThatWasRenamedIsReadOnWhileTheNewOneIsEmpty) {
  std::filesystem::rename(path_, directory_ + "/app.log.1");
  write("");
  std::ofstream old(directory_ + "/app.log.1", std::ios::app);
  old << "one\nFATAL: half a l" << std::flush;
  EXPECT_EQ(look().text, "1 new line");
  old << "ine\n" << std::flush;
  EXPECT_EQ(look().text, path_ + " says: FATAL: half a line");
  write("FATAL: the first of the new one\n");
  EXPECT_EQ(look().text, path_ + " says: FATAL: the first of the new one");
}

TEST_F(LogCheckTest, OneThatWasCutAndHasGrownAgainIsReadFromItsBeginning) {
  std::filesystem::resize_file(path_, 0);
  write("FATAL: new, and longer than the one of before\n");
  EXPECT_EQ(look().outcome, Outcome::kBad);
}

TEST_F(LogCheckTest, ALookThatHasNoTimeGetsOnAllTheSame) {
  for (int line = 0; line < 5; ++line) write("a line\n");
  write("FATAL: at the end\n");
  int looks = 1;
  while (look(1 << 20, std::chrono::milliseconds(0)).outcome == Outcome::kGood && looks < 100) ++looks;
  EXPECT_EQ(looks, 6);
}

TEST_F(LogCheckTest, OneThatIsNotThereYetIsReadFromItsBeginning) {
  std::filesystem::remove(path_);
  position_.reset();
  EXPECT_EQ(look().outcome, Outcome::kCouldNotCheck);
  EXPECT_EQ(look().text, "cannot read " + path_ + ": No such file or directory");
  write("FATAL: first\n");
  EXPECT_EQ(look().outcome, Outcome::kBad);
}

TEST_F(LogCheckTest, ALookIsBoundedAndTheNextOneGoesOn) {
  for (int line = 0; line < 100; ++line) write("a line of twenty bytes\n");
  write("FATAL: at the end\n");
  int looks = 1;
  while (look(500).outcome == Outcome::kGood && looks < 100) ++looks;
  EXPECT_EQ(looks, 5);
  EXPECT_EQ(look(500).text, "0 new lines");
}

TEST_F(LogCheckTest, ALineWithoutAnEndIsPassed) {
  write(std::string(300000, 'x'));
  for (int looks = 0; looks < 4; ++looks) EXPECT_EQ(look(100000).outcome, Outcome::kGood);
  write("\nFATAL: after it\n");
  EXPECT_EQ(look(100000).outcome, Outcome::kBad);
}

TEST_F(LogCheckTest, BytesThatAreNoTextDoNotMatter) {
  write(std::string("\0\xff\nFATAL: \0 it\n", 16));
  EXPECT_EQ(look().outcome, Outcome::kBad);
}

TEST_F(LogCheckTest, WhatIsNoFileIsNotRead) {
  std::filesystem::remove(path_);
  ASSERT_EQ(mkfifo(path_.c_str(), 0600), 0);
  EXPECT_EQ(look().text, "cannot read " + path_ + ": it is no regular file");
  EXPECT_EQ(check_log(directory_, "x", position_).text, "cannot read " + directory_ + ": Is a directory");
  EXPECT_EQ(check_log(path_, "(", position_).outcome, Outcome::kCouldNotCheck);
}

TEST(ReadUpTo, IsText) {
  EXPECT_EQ(to_string(ReadUpTo{12, 34, 171}), "12:34:ab");
  EXPECT_EQ(parse_position("12:34:ab"), (ReadUpTo{12, 34, 171}));
  for (const char* text : {"", "12", "12:34", "12:34:", ":34:1", "12:34:ab ", "a:1:1"}) EXPECT_EQ(parse_position(text), std::nullopt) << text;
}

}  // namespace
}  // namespace baton::check
