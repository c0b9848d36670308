// The backing store: sizes, reads, writes, flushes, refusals.
#include "src/mirror/file_device.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/stat.h>

#include <cstring>
#include <filesystem>

#include "src/mirror/buffer_pool.h"

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

  std::string directory_;
  std::unique_ptr<Ring> ring_;
  BufferPool pool_;
};

TEST_F(FileDeviceTest, MakesReadsAndWrites) {
  const std::string path = directory_ + "/store";
  auto opened = FileDevice::open(*ring_, path, 1 << 20);
  ASSERT_TRUE(opened) << opened.error().message;
  EXPECT_TRUE(opened->created);
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
