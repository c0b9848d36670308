// The backing store: sizes, reads, writes, flushes, refusals.
#include "src/mirror/file_device.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/stat.h>

#include <cstring>
#include <filesystem>

#include "src/mirror/buffer_pool.h"
#include "src/mirror/test_loop.h"

namespace baton::mirror {
namespace {

class FileDeviceTest : public ::testing::Test {
 protected:
  void SetUp() override {
    char pattern[] = "/var/tmp/baton-file-device-XXXXXX";
    directory_ = mkdtemp(pattern);
    auto ring = Ring::create();
    ASSERT_TRUE(ring) << ring.error().message;
    ring_ = std::move(*ring);
  }
  void TearDown() override { std::filesystem::remove_all(directory_); }

  int wait(const std::function<void(BlockDevice::Done)>& begin) {
    std::optional<int> outcome;
    begin([&](int error) { outcome = error; });
    EXPECT_TRUE(ring_->run_until([&] { return outcome.has_value(); }, 5s));
    return outcome.value_or(-1);
  }

  void zero_some(BlockDevice& device, bool unmap);

  std::string directory_;
  std::unique_ptr<Ring> ring_;
  BufferPool pool_;
};

TEST_F(FileDeviceTest, MakesReadsAndWrites) {
  const std::string path = directory_ + "/store";
  auto opened = FileDevice::open(*ring_, path, 1 << 20);
  ASSERT_TRUE(opened) << opened.error().message;
  EXPECT_TRUE(opened->created);
  EXPECT_TRUE(opened->known_zero);
  EXPECT_EQ(std::filesystem::file_size(path), 1u << 20);
  struct stat status {};
  ASSERT_EQ(stat(path.c_str(), &status), 0);
  EXPECT_EQ(status.st_blocks, 0);

  FileDevice& device = *opened->device;
  const BufferId out = pool_.allocate(1 << 16);
  const BufferId in = pool_.allocate(1 << 16);
  std::memset(pool_.data(out), 0xA5, 1 << 16);
  EXPECT_EQ(wait([&](auto done) { device.write({240, 16}, pool_.data(out), done); }), 0);
  EXPECT_EQ(wait([&](auto done) { device.flush(done); }), 0);
  EXPECT_EQ(wait([&](auto done) { device.read({240, 16}, pool_.data(in), done); }), 0);
  EXPECT_EQ(std::memcmp(pool_.data(in), pool_.data(out), 1 << 16), 0);
  EXPECT_EQ(wait([&](auto done) { device.read({0, 16}, pool_.data(in), done); }), 0);
  EXPECT_EQ(pool_.data(in)[0], 0);

  auto again = FileDevice::open(*ring_, path, 1 << 20);
  ASSERT_TRUE(again);
  EXPECT_FALSE(again->created);
  EXPECT_FALSE(again->known_zero);
}

TEST_F(FileDeviceTest, AFileWithoutDataIsKnownToBeZero) {
  const std::string path = directory_ + "/given";
  { OwnedFd(open(path.c_str(), O_CREAT | O_RDWR, 0600)); }
  ASSERT_EQ(truncate(path.c_str(), 1 << 20), 0);
  auto opened = FileDevice::open(*ring_, path, 1 << 20);
  ASSERT_TRUE(opened);
  EXPECT_FALSE(opened->created);
  EXPECT_TRUE(opened->known_zero);
}

/// Fills blocks 0 to 63, zeroes some, looks at all.
void FileDeviceTest::zero_some(BlockDevice& device, bool unmap) {
  const BufferId all = pool_.allocate(64 * 4096);
  std::memset(pool_.data(all), 0xA5, 64 * 4096);
  ASSERT_EQ(wait([&](auto done) { device.write({0, 64}, pool_.data(all), done); }), 0);
  ASSERT_EQ(wait([&](auto done) { device.zero({3, 40}, unmap, done); }), 0);
  ASSERT_EQ(wait([&](auto done) { device.zero({63, 1}, unmap, done); }), 0);
  ASSERT_EQ(wait([&](auto done) { device.flush(done); }), 0);
  ASSERT_EQ(wait([&](auto done) { device.read({0, 64}, pool_.data(all), done); }), 0);
  for (uint64_t block = 0; block < 64; ++block) {
    const bool zero = (block >= 3 && block < 43) || block == 63;
    for (uint64_t at : {uint64_t{0}, uint64_t{4095}}) {
      EXPECT_EQ(pool_.data(all)[block * 4096 + at], zero ? 0 : 0xA5) << block;
    }
  }
}

TEST_F(FileDeviceTest, ZeroesAndUnmaps) {
  const std::string path = directory_ + "/store";
  auto opened = FileDevice::open(*ring_, path, 64 << 20);
  ASSERT_TRUE(opened);
  zero_some(*opened->device, false);
  zero_some(*opened->device, true);
  EXPECT_EQ(wait([&](auto done) { opened->device->zero({0, 16384}, true, done); }), 0);
  EXPECT_EQ(std::filesystem::file_size(path), 64u << 20);
  opened = FileDevice::open(*ring_, path, 64 << 20);
  ASSERT_TRUE(opened);
  EXPECT_TRUE(opened->known_zero);
}

TEST_F(FileDeviceTest, AZeroingIsAWriteToBeFlushed) {
  auto opened = FileDevice::open(*ring_, directory_ + "/store", 1 << 20);
  ASSERT_TRUE(opened);
  BlockDevice& device = *opened->device;
  bool at_once = false;
  EXPECT_EQ(wait([&](auto done) { device.flush(done); }), 0);
  device.flush([&](int) { at_once = true; });
  EXPECT_TRUE(at_once);  // there is nothing to flush
  EXPECT_EQ(wait([&](auto done) { device.zero({0, 1}, true, done); }), 0);
  std::optional<int> outcome;
  device.flush([&](int error) { outcome = error; });
  EXPECT_FALSE(outcome);
  EXPECT_TRUE(ring_->run_until([&] { return outcome.has_value(); }, 5s));
  EXPECT_EQ(outcome, 0);
}

TEST_F(FileDeviceTest, ZeroesWhereTheStoreCannot) {
  // ramfs and the like have no fallocate: zeroes are written. /dev/shm has holes but no zeroed ranges.
  for (const char* place : {"/dev/shm", "/sys/fs/cgroup"}) {
    const std::string path = std::string(place) + "/baton-zero-" + std::to_string(getpid());
    auto opened = FileDevice::open(*ring_, path, 16 << 20);
    if (!opened) continue;
    zero_some(*opened->device, true);
    zero_some(*opened->device, false);
    EXPECT_EQ(wait([&](auto done) { opened->device->zero({0, 4096}, false, done); }), 0);
    std::filesystem::remove(path);
  }
}

TEST_F(FileDeviceTest, ZeroesABlockDevice) {
  OwnedFd holder;
  const std::string path = make_loop_device(directory_ + "/disk", 16 << 20, &holder);
  if (path.empty()) GTEST_SKIP() << "no loop devices here";
  auto opened = FileDevice::open(*ring_, path, 8 << 20);
  ASSERT_TRUE(opened) << opened.error().message;
  EXPECT_FALSE(opened->known_zero);
  zero_some(*opened->device, true);
  zero_some(*opened->device, false);
  EXPECT_EQ(*opened->device->available_bytes(), 16u << 20);
  EXPECT_TRUE(opened->device->grow(16 << 20));
  EXPECT_EQ(opened->device->size_blocks(), 4096u);
  auto grown = opened->device->grow(32 << 20);
  ASSERT_FALSE(grown);
  EXPECT_EQ(grown.error().code, ErrorCode::kNoSpace);
  EXPECT_EQ(opened->device->size_blocks(), 4096u);
}

TEST_F(FileDeviceTest, GrowsAFile) {
  const std::string path = directory_ + "/store";
  auto opened = FileDevice::open(*ring_, path, 1 << 20);
  ASSERT_TRUE(opened);
  EXPECT_FALSE(opened->device->grow(1 << 19));
  EXPECT_FALSE(opened->device->grow((1 << 21) + 1));
  ASSERT_TRUE(opened->device->grow(1 << 21));
  EXPECT_EQ(std::filesystem::file_size(path), 2u << 20);
  const BufferId in = pool_.allocate(4096);
  EXPECT_EQ(wait([&](auto done) { opened->device->read({511, 1}, pool_.data(in), done); }), 0);
  EXPECT_EQ(pool_.data(in)[0], 0);
}

TEST_F(FileDeviceTest, SaysWhatIsTooSmall) {
  const std::string path = directory_ + "/small";
  OwnedFd fd(open(path.c_str(), O_CREAT | O_RDWR, 0600));
  ASSERT_EQ(ftruncate(fd.get(), 8192), 0);
  auto opened = FileDevice::open(*ring_, path, 1 << 20);
  ASSERT_FALSE(opened);
  for (const char* part : {"/small", "8192", "1048576", "truncate"}) {
    EXPECT_NE(opened.error().message.find(part), std::string::npos) << opened.error().message;
  }
  EXPECT_EQ(std::filesystem::file_size(path), 8192u);
}

TEST_F(FileDeviceTest, RefusesOddSizesAndMissingDirectories) {
  EXPECT_FALSE(FileDevice::open(*ring_, directory_ + "/x", 5000));
  auto missing = FileDevice::open(*ring_, directory_ + "/none/x", 8192);
  ASSERT_FALSE(missing);
  EXPECT_NE(missing.error().message.find("directory"), std::string::npos);
  EXPECT_FALSE(FileDevice::open(*ring_, directory_, 8192));
}

TEST_F(FileDeviceTest, ReportsErrorsOfTheStore) {
  const std::string path = directory_ + "/store";
  auto opened = FileDevice::open(*ring_, path, 1 << 16);
  ASSERT_TRUE(opened);
  const BufferId in = pool_.allocate(4096);
  ASSERT_EQ(truncate(path.c_str(), 4096), 0);
  EXPECT_EQ(wait([&](auto done) { opened->device->read({1, 1}, pool_.data(in), done); }), EIO);
}

}  // namespace
}  // namespace baton::mirror
