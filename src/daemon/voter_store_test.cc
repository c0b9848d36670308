// The voter's database across restarts, kills, full and failing disks, and every damage that must be noticed.
#include "src/daemon/voter_store.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "src/daemon/sqlite_faults.h"
#include "src/daemon/sqlite_file.h"
#include "src/daemon/voter_rows.h"
#include "src/os/event_loop.h"

namespace baton {
namespace {

class VoterStoreTest : public ::testing::Test {
 protected:
  VoterStoreTest() {
    std::string pattern = ::testing::TempDir() + "voter_store.XXXXXX";
    directory_ = ::mkdtemp(pattern.data());
    path_ = directory_ + "/database.sqlite";
  }
  ~VoterStoreTest() override {
    sqlite_faults().full = false;
    sqlite_faults().bad_sync = false;
    store_.reset();
    std::filesystem::remove_all(directory_);
  }

  Status open(ServerId self = ServerId(1)) {
    store_.reset();
    auto opened = VoterStore::open(path_, post(), self, faulty_sqlite_vfs());
    if (!opened) return pass(opened);
    store_ = std::move(*opened);
    return {};
  }

  VoterStore::Post post() {
    return [this](std::function<void()> call) { loop_.post(std::move(call)); };
  }

  /// Empty when it went well, else the error.
  std::string persist(const database::Persist& wanted) {
    std::optional<std::string> outcome;
    store_->persist(wanted, [&](bool ok, const std::string& error) { outcome = ok ? "" : "error: " + error; });
    EXPECT_TRUE(loop_.run_until([&] { return outcome.has_value(); }, 20s));
    return outcome.value_or("no answer");
  }

  std::string append(std::vector<uint64_t> indexes, const std::string& text = "x",
                     std::optional<uint64_t> keep_up_to = std::nullopt) {
    database::Persist wanted;
    wanted.keep_up_to = keep_up_to;
    for (uint64_t index : indexes) wanted.append.push_back(entry(index, text));
    return persist(wanted);
  }

  static database::Entry entry(uint64_t index, const std::string& text) {
    return {Epoch(65), index, ApplyConfiguration{index, text, "root"}, ServerId(1), index * 10, -5};
  }

  /// The log as "1x 2x 3y".
  std::string log() {
    const auto stored = store_->load();
    if (!stored) return stored.error().message;
    std::string text;
    for (const auto& item : stored->entries) {
      EXPECT_EQ(item, entry(item.index, std::get<ApplyConfiguration>(item.command).text));
      text += fmt::format("{}{}{}", text.empty() ? "" : " ", item.index, std::get<ApplyConfiguration>(item.command).text);
    }
    return text;
  }

  /// Changes the file behind the store's back.
  void alter(const std::string& sql) {
    store_.reset();
    auto file = SqliteFile::open(path_, {});
    ASSERT_TRUE(file.has_value()) << file.error().message;
    ASSERT_TRUE((*file)->execute(sql).has_value());
  }

  std::string directory_, path_;
  EventLoop loop_;
  std::unique_ptr<VoterStore> store_;
};

TEST_F(VoterStoreTest, FoundedCountsAndIsFoundedOnce) {
  ASSERT_TRUE(VoterStore::found(path_, ServerId(1)).has_value());
  const auto again = VoterStore::found(path_, ServerId(1));
  ASSERT_FALSE(again.has_value());
  EXPECT_EQ(again.error().code, ErrorCode::kConflict);
  ASSERT_TRUE(open().has_value());
  const auto stored = store_->load();
  ASSERT_TRUE(stored.has_value());
  EXPECT_TRUE(stored->counting);
  EXPECT_EQ(stored->promised, Epoch(0));
  EXPECT_TRUE(stored->entries.empty());
}

TEST_F(VoterStoreTest, MissingOneIsCreatedNotCounting) {
  std::ofstream(path_ + "-wal") << "left over from a file that was lost";
  ASSERT_TRUE(open().has_value());
  auto stored = store_->load();
  ASSERT_TRUE(stored.has_value());
  EXPECT_FALSE(stored->counting);
  ASSERT_TRUE(open().has_value());
  EXPECT_FALSE(store_->load()->counting);
  struct stat found {};
  ASSERT_EQ(::stat(path_.c_str(), &found), 0);
  EXPECT_EQ(found.st_mode & 0777, 0600u);
}

TEST_F(VoterStoreTest, KeepsEverythingAcrossRestarts) {
  ASSERT_TRUE(open().has_value());
  database::Persist first;
  first.promised = Epoch(UINT64_MAX);
  first.counting = true;
  first.append = {entry(1, "x"), entry(2, "x"), entry(3, std::string("\0\xff", 2))};
  EXPECT_EQ(persist(first), "");
  EXPECT_FALSE(std::filesystem::exists(path_ + "-shm"));
  ASSERT_TRUE(open().has_value());
  const auto stored = store_->load();
  ASSERT_TRUE(stored.has_value());
  EXPECT_EQ(stored->promised, Epoch(UINT64_MAX));
  EXPECT_TRUE(stored->counting);
  EXPECT_EQ(stored->entries, first.append);
  EXPECT_EQ(append({2, 3, 4}, "y", 1), "");
  EXPECT_EQ(append({}, "", 3), "");
  EXPECT_EQ(append({4}, "z"), "");
  ASSERT_TRUE(open().has_value());
  EXPECT_EQ(log(), "1x 2y 3y 4z");
  EXPECT_EQ(store_->load()->promised, Epoch(UINT64_MAX));
}

TEST_F(VoterStoreTest, SurvivesAKill) {
  ASSERT_TRUE(VoterStore::found(path_, ServerId(1)).has_value());
  if (const pid_t child = ::fork(); child == 0) {
    if (!open() || !append({1, 2, 3}).empty()) ::_exit(1);
    ::kill(::getpid(), SIGKILL);
  } else {
    int status = 0;
    ::waitpid(child, &status, 0);
    ASSERT_TRUE(WIFSIGNALED(status));
  }
  EXPECT_TRUE(std::filesystem::exists(path_ + "-wal"));
  ASSERT_TRUE(open().has_value());
  EXPECT_EQ(log(), "1x 2x 3x");
}

TEST_F(VoterStoreTest, FullDiskIsSaidAndNothingIsLost) {
  ASSERT_TRUE(open().has_value());
  EXPECT_EQ(append({1, 2}), "");
  sqlite_faults().full = true;
  for (int round = 0; round < 3; ++round) {
    const std::string error = append({3});
    EXPECT_NE(error.find("full"), std::string::npos) << error;
    EXPECT_NE(error.find(path_), std::string::npos) << error;
  }
  sqlite_faults().full = false;
  EXPECT_EQ(append({3}), "");
  EXPECT_EQ(log(), "1x 2x 3x");
  ASSERT_TRUE(open().has_value());
  EXPECT_EQ(log(), "1x 2x 3x");
}

// A commit whose sync failed may be on the disk: the next persist, another one, must find what was held before it.
TEST_F(VoterStoreTest, UncertainCommitIsUndone) {
  ASSERT_TRUE(open().has_value());
  EXPECT_EQ(append({1, 2, 3, 4}), "");
  sqlite_faults().bad_sync = true;
  database::Persist cut;
  cut.promised = Epoch(129);
  cut.counting = true;
  cut.keep_up_to = 2;
  cut.append = {entry(3, "y")};
  EXPECT_NE(persist(cut), "");
  EXPECT_NE(append({2}, "z", 1), "");  // a second one, deeper
  sqlite_faults().bad_sync = false;
  EXPECT_EQ(append({5}), "");
  EXPECT_EQ(log(), "1x 2x 3x 4x 5x");
  EXPECT_EQ(store_->load()->promised, Epoch(0));
  EXPECT_FALSE(store_->load()->counting);
  EXPECT_EQ(append({2}, "w", 1), "");
  ASSERT_TRUE(open().has_value());
  EXPECT_EQ(log(), "1x 2w");
}

TEST_F(VoterStoreTest, UncertainCommitCanBeRepeated) {
  ASSERT_TRUE(open().has_value());
  EXPECT_EQ(append({1, 2, 3}), "");
  sqlite_faults().bad_sync = true;
  EXPECT_NE(append({2, 3}, "y", 1), "");
  sqlite_faults().bad_sync = false;
  EXPECT_EQ(append({2, 3}, "y", 1), "");
  EXPECT_EQ(log(), "1x 2y 3y");
}

TEST_F(VoterStoreTest, SecondOpenIsRefused) {
  ASSERT_TRUE(open().has_value());
  const auto second = VoterStore::open(path_, post(), ServerId(1));
  ASSERT_FALSE(second.has_value());
  EXPECT_EQ(second.error().code, ErrorCode::kConflict);
  EXPECT_NE(second.error().message.find("another"), std::string::npos) << second.error().message;
}

TEST_F(VoterStoreTest, AnotherServersDatabaseIsRefused) {
  ASSERT_TRUE(VoterStore::found(path_, ServerId(2)).has_value());
  const auto opened = open(ServerId(1));
  ASSERT_FALSE(opened.has_value());
  EXPECT_NE(opened.error().message.find("server 2"), std::string::npos);
  EXPECT_TRUE(open(ServerId{}).has_value());
}

TEST_F(VoterStoreTest, DamagedFilesAreRefusedAndKept) {
  for (const auto& content : {std::string(), std::string("not a database"), std::string(8192, 'x')}) {
    std::ofstream(path_, std::ios::trunc) << content;
    const auto opened = open();
    ASSERT_FALSE(opened.has_value());
    EXPECT_EQ(opened.error().code, ErrorCode::kInvalid) << opened.error().message;
    EXPECT_NE(opened.error().message.find(path_), std::string::npos);
    EXPECT_EQ(std::filesystem::file_size(path_), content.size());
  }
}

TEST_F(VoterStoreTest, NewerFormatIsRefused) {
  ASSERT_TRUE(open().has_value());
  alter("PRAGMA user_version=2");
  const auto opened = open();
  ASSERT_FALSE(opened.has_value());
  EXPECT_NE(opened.error().message.find("newer version"), std::string::npos) << opened.error().message;
}

TEST_F(VoterStoreTest, DamagedRowsAreNamed) {
  ASSERT_TRUE(open().has_value());
  EXPECT_EQ(append({1, 2, 3, 4}), "");
  alter("UPDATE entry SET wall_ms = wall_ms + 1 WHERE position = 3");
  ASSERT_TRUE(open().has_value());
  EXPECT_NE(log().find("log entry 3 has a wrong checksum"), std::string::npos) << log();
  alter("DELETE FROM entry WHERE position = 2");
  ASSERT_TRUE(open().has_value());
  EXPECT_NE(log().find("log entry 2 is missing"), std::string::npos) << log();
  alter("UPDATE voter SET promised = 7");
  EXPECT_NE(open().error().message.find("voter's row has a wrong checksum"), std::string::npos);
}

TEST_F(VoterStoreTest, UnknownCommandIsNamed) {
  ASSERT_TRUE(open().has_value());
  EXPECT_EQ(append({1}), "");
  store_.reset();
  {
    auto file = SqliteFile::open(path_, {});
    ASSERT_TRUE(file.has_value());
    ASSERT_TRUE(voter_rows::add_entries(**file, {{2, 65, 1, 1, 0, "\xa2\x06\x01x"}}).has_value());
  }
  ASSERT_TRUE(open().has_value());
  EXPECT_NE(log().find("log entry 2 cannot be read"), std::string::npos) << log();
}

TEST_F(VoterStoreTest, CallbacksEndWithTheStore) {
  ASSERT_TRUE(open().has_value());
  bool called = false;
  database::Persist wanted;
  wanted.append = {entry(1, "x")};
  store_->persist(wanted, [&](bool, const std::string&) { called = true; });
  ASSERT_TRUE(open().has_value());
  EXPECT_FALSE(loop_.run_until([&] { return called; }, 50ms));
  EXPECT_EQ(log(), "1x");
}

}  // namespace
}  // namespace baton
