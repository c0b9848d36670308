// Stores are looked at before a mirror is made of them: size, place, and data that would be lost.
#include "src/format/store_check.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

namespace baton {
namespace {

class StoreCheck : public testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/baton-store-XXXXXX";
    ASSERT_NE(mkdtemp(name), nullptr);
    directory_ = name;
    options_.self = ServerId(2);
    options_.state_directory = directory_ + "/state";
  }
  void TearDown() override { std::filesystem::remove_all(directory_); }

  std::string text(const std::string& more = "") {
    return R"([cluster]
name = "pair"
[server.server1]
id = 1
interconnects = ["10.0.1.1"]
[server.server2]
id = 2
interconnects = ["10.0.1.2"]
[group.db]
servers = ["server1", "server2"]
[group.db.mirror.data]
size = "8 MiB"
store = ")" + store() + "\"\n" + more;
  }
  std::string store() const { return directory_ + "/store.img"; }
  void make(uint64_t bytes, uint64_t place = 0, const std::string& content = "") {
    std::ofstream file(store(), std::ios::binary);
    file.seekp(static_cast<std::streamoff>(place));
    file << content;
    file.close();
    std::filesystem::resize_file(store(), bytes);
  }
  /// The only line, or "".
  std::string problem(const std::string& more = "") {
    const auto problems = check_stores(text(more), options_);
    EXPECT_LE(problems.size(), 1u);
    return problems.empty() ? "" : problems.front();
  }

  std::string directory_;
  StoreCheckOptions options_;
};

TEST_F(StoreCheck, ABlankOrMissingOneIsGood) {
  EXPECT_EQ(problem(), "");
  make(8 << 20);
  EXPECT_EQ(problem(), "");
}

TEST_F(StoreCheck, ATooSmallOneIsRefusedUnlessItGrowsWithItsMirror) {
  make(4 << 20);
  EXPECT_EQ(problem().rfind("cluster.toml:12:8: mirror data on server2: it is larger (8 MiB) than its store", 0), 0u)
      << problem();
  options_.used = {"db.data"};
  EXPECT_EQ(problem(), "");
}

TEST_F(StoreCheck, DataThatWouldBeOverwrittenIsNamed) {
  make(8 << 20, 0x438, "\x53\xef");
  const std::string said = problem();
  for (const char* part : {"ext4", "server1 would overwrite", "adopt = \"server2\"", "adopt = \"server1\"", "wipefs"})
    EXPECT_NE(said.find(part), std::string::npos) << said;
  EXPECT_EQ(problem("adopt = \"server1\"\n"), "") << "somebody said which data is to be kept";
  EXPECT_EQ(problem("adopt = \"server2\"\n"), "");
  options_.self = ServerId(1);
  EXPECT_EQ(problem(), "") << "the first of the policy keeps its data anyway";
}

TEST_F(StoreCheck, AFilesystemThatCouldNotBeMountedIsRefused) {
  const std::string mounted = "adopt = \"server2\"\n[group.db.filesystem.files]\nmirror = \"data\"\nmount = \"/srv/db\"\n";
  const struct {
    const char* command;
    const char* said;
  } cases[] = {{"mkfs.ext4 -q -F -b 1024 ", "blocks of 1024 bytes"},  {"mkfs.ext4 -q -F -b 2048 ", "blocks of 2048 bytes"},
               {"mkfs.ext4 -q -F -b 4096 ", ""},                      {"mkfs.xfs -q -f -s size=512 ", "sectors of 512 bytes"},
               {"mkfs.xfs -q -f -s size=4096 ", ""}};
  for (const auto& one : cases) {
    std::filesystem::remove(store());
    make(320 << 20);  // sparse
    ASSERT_EQ(std::system(("PATH=$PATH:/usr/sbin:/sbin " + (one.command + store())).c_str()), 0) << one.command;
    const std::string said = problem(mounted);
    if (*one.said == '\0') {
      EXPECT_EQ(said, "") << one.command;
      continue;
    }
    for (const char* part : {one.said, "cannot be mounted from a mirror", "4096", "mkfs."})
      EXPECT_NE(said.find(part), std::string::npos) << said;
    EXPECT_EQ(problem("adopt = \"server2\"\n"), "") << "nobody mounts it here";
    EXPECT_EQ(problem("adopt = \"server1\"\n" + mounted.substr(mounted.find('[')) ), "") << "it is overwritten";
    options_.used = {"db.data"};
    EXPECT_EQ(problem(mounted), "") << "a mirror that was used";
    options_.used.clear();
  }
}

TEST_F(StoreCheck, DataAtTheEndCountsToo) {
  make(8 << 20, (8 << 20) - 4, "data");
  EXPECT_NE(problem().find("data of unknown kind"), std::string::npos) << problem();
}

TEST_F(StoreCheck, ACopyOfTheMirrorIsNoForeignData) {
  make(8 << 20, 0, "something");
  options_.used = {"db.data"};
  EXPECT_EQ(problem(), "");
  options_.used.clear();
  std::filesystem::create_directories(options_.state_directory + "/mirror");
  std::ofstream(options_.state_directory + "/mirror/db.data.meta") << "superblock";
  EXPECT_EQ(problem(), "");
}

TEST_F(StoreCheck, ADirectoryIsMadeOnlyBelowTheStateDirectory) {
  const std::string place = options_.state_directory + "/store/x.img";
  std::string other = text();
  other.replace(other.find(store()), store().size(), place);
  EXPECT_EQ(check_stores(other, options_).size(), 1u);
  options_.make_directories = true;
  EXPECT_TRUE(check_stores(other, options_).empty());
}

}  // namespace
}  // namespace baton
