// The disk between two servers: what is written is read, what is torn is as if never written, and what is not ours is refused.
#include "src/os/np_disk.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>

namespace baton {
namespace {

const Bytes kCluster(16, 7);

struct NpDiskTest : testing::Test {
  std::string directory = fmt::format("{}np_disk_test-{}", testing::TempDir(), ::getpid());
  std::string path = directory + "/disk";
  std::string lock = directory + "/lock";
  void SetUp() override {
    std::filesystem::remove_all(directory);
    std::filesystem::create_directories(directory);
  }
  void TearDown() override { std::filesystem::remove_all(directory); }

  NpDisk opened() {
    auto disk = NpDisk::open(path, kCluster, lock);
    EXPECT_TRUE(disk.has_value()) << disk.error().message;
    return std::move(*disk);
  }
  void damage(uint64_t sector) {
    const int fd = ::open(path.c_str(), O_WRONLY);
    const char garbage[] = "torn";
    EXPECT_EQ(::pwrite(fd, garbage, sizeof garbage, static_cast<off_t>(sector * 4096 + 100)), 5);
    ::fsync(fd);
    ::close(fd);
  }
};

TEST_F(NpDiskTest, KeepsWhatEachServerWroteLast) {
  ASSERT_TRUE(NpDisk::format(path, kCluster, false).has_value());
  NpDisk disk = opened();
  EXPECT_EQ(disk.read(1)->sequence, 0u);
  for (uint64_t sequence = 1; sequence <= 5; ++sequence) ASSERT_TRUE(disk.write(1, {sequence, Bytes{static_cast<uint8_t>(sequence)}}).has_value());
  ASSERT_TRUE(disk.write(63, {1, Bytes{9}}).has_value());
  EXPECT_EQ(disk.read(1)->sequence, 5u);
  EXPECT_EQ(disk.read(1)->payload, Bytes{5});
  EXPECT_EQ(disk.read(63)->payload, Bytes{9});
  EXPECT_EQ(disk.read(2)->sequence, 0u);
}

TEST_F(NpDiskTest, ATornWriteIsAsIfNeverMade) {
  ASSERT_TRUE(NpDisk::format(path, kCluster, false).has_value());
  NpDisk disk = opened();
  for (uint64_t sequence = 1; sequence <= 2; ++sequence) ASSERT_TRUE(disk.write(1, {sequence, Bytes{1}}).has_value());
  damage(2);  // of sequence 2
  EXPECT_EQ(disk.read(1)->sequence, 1u);
  damage(3);
  EXPECT_FALSE(disk.read(1).has_value());
}

TEST_F(NpDiskTest, RefusesWhatIsNotItsOwn) {
  EXPECT_FALSE(NpDisk::open(path, kCluster, lock).has_value());
  ASSERT_TRUE(NpDisk::format(path, kCluster, false).has_value());
  const auto other = NpDisk::open(path, Bytes(16, 8), lock);
  ASSERT_FALSE(other.has_value());
  EXPECT_NE(other.error().message.find("another cluster"), std::string::npos);
  const auto again = NpDisk::format(path, kCluster, false);
  ASSERT_FALSE(again.has_value());
  EXPECT_NE(again.error().message.find("prepared already"), std::string::npos);
  EXPECT_TRUE(NpDisk::format(path, kCluster, true).has_value());
  damage(0);
  EXPECT_FALSE(NpDisk::open(path, kCluster, lock).has_value());
}

TEST_F(NpDiskTest, RefusesADiskThatHoldsSomethingElse) {
  const int fd = ::open(path.c_str(), O_WRONLY | O_CREAT, 0600);
  ASSERT_EQ(::ftruncate(fd, 1 << 20), 0);
  ::close(fd);
  damage(5);
  const auto formatted = NpDisk::format(path, kCluster, false);
  ASSERT_FALSE(formatted.has_value());
  EXPECT_NE(formatted.error().message.find("is not empty"), std::string::npos);
}

TEST_F(NpDiskTest, OneProcessAtATime) {
  ASSERT_TRUE(NpDisk::format(path, kCluster, false).has_value());
  const NpDisk disk = opened();
  const auto second = NpDisk::open(path, kCluster, lock);
  ASSERT_FALSE(second.has_value());
  EXPECT_NE(second.error().message.find("an earlier batond"), std::string::npos);
}

}  // namespace
}  // namespace baton
