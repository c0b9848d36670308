// Metadata on a block device (a CLUSTER partition): what is refused, what survives.
#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>

#include "src/mirror/metadata_create.h"
#include "src/mirror/metadata_file.h"
#include "src/mirror/test_loop.h"

namespace baton::mirror {
namespace {

constexpr uint64_t kBlocks = 3 * kBitmapPageBlocks;

StoredCopy blank(const std::string& mirror = "db.data", uint64_t size_blocks = kBlocks) {
  StoredCopy copy;
  copy.superblock.mirror = mirror;
  copy.superblock.size_blocks = size_blocks;
  return copy;
}

class MetadataDeviceTest : public ::testing::Test {
 protected:
  void SetUp() override {
    char pattern[] = "/var/tmp/baton-metadata-device-XXXXXX";
    directory_ = mkdtemp(pattern);
    auto ring = Ring::create();
    ASSERT_TRUE(ring) << ring.error().message;
    ring_ = std::move(*ring);
    device_ = make_loop_device(directory_ + "/disk", 4 << 20, &holder_);
    if (device_.empty()) GTEST_SKIP() << "no loop devices here";
  }
  void TearDown() override { std::filesystem::remove_all(directory_); }

  Result<MetadataFile::Opened> open(const StoredCopy& copy = blank()) {
    return MetadataFile::open(*ring_, device_, copy, 0ms);
  }
  void put(uint64_t offset, const std::string& text) {
    ASSERT_EQ(pwrite(holder_.get(), text.data(), text.size(), static_cast<off_t>(offset)),
              static_cast<ssize_t>(text.size()));
    ASSERT_EQ(fsync(holder_.get()), 0);
  }
  int wait(MetadataFile& file, const std::function<void(MetadataFile::Done)>& begin) {
    std::optional<int> outcome;
    begin([&](int error) { outcome = error; });
    EXPECT_TRUE(ring_->run_until([&] { return outcome && file.idle(); }, 5s));
    return outcome.value_or(-1);
  }

  std::string directory_, device_;
  OwnedFd holder_;
  std::unique_ptr<Ring> ring_;
};

TEST_F(MetadataDeviceTest, IsMadeOnAnEmptyDeviceAndFoundAgain) {
  {
    auto opened = open();
    ASSERT_TRUE(opened) << opened.error().message;
    EXPECT_TRUE(opened->created);
    MetadataFile& file = *opened->file;
    Superblock superblock = blank().superblock;
    superblock.permit = Permit(7);
    EXPECT_EQ(wait(file, [&](auto done) { file.persist_superblock(superblock, done); }), 0);
    EXPECT_EQ(wait(file, [&](auto done) { file.persist_activity({1, 2, 380}, done); }), 0);
    EXPECT_EQ(wait(file, [&](auto done) { file.persist_bitmap({{2, {{70000, 9}}}}, done); }), 0);
  }
  auto opened = open();
  ASSERT_TRUE(opened) << opened.error().message;
  EXPECT_FALSE(opened->created);
  EXPECT_EQ(opened->stored.superblock.permit, Permit(7));
  EXPECT_EQ(opened->stored.activity, (std::vector<uint64_t>{1, 2, 380}));
  EXPECT_EQ(opened->stored.dirty, (std::vector<BlockRange>{{70000, 9}}));
  EXPECT_FALSE(opened->stored.journal_unreliable);
}

TEST_F(MetadataDeviceTest, WhatAnEarlierUseLeftBehindTheStartIsNotTaken) {
  std::string rubbish(3 << 20, '\x5a');
  put(1 << 20, rubbish);
  {
    auto opened = open();
    ASSERT_TRUE(opened) << opened.error().message;
    EXPECT_TRUE(opened->stored.dirty.empty());
    EXPECT_FALSE(opened->stored.journal_unreliable);
  }
  EXPECT_FALSE(open()->stored.journal_unreliable);
}

TEST_F(MetadataDeviceTest, SomethingElseIsNotWrittenOver) {
  for (uint64_t offset : {0u, 1080u, 65600u}) {  // where XFS, ext4 and btrfs have their marks
    put(offset, "mark");
    auto opened = open();
    ASSERT_FALSE(opened);
    for (const char* part : {"holds something", "wipefs", "dd if=/dev/zero"}) {
      EXPECT_NE(opened.error().message.find(part), std::string::npos) << opened.error().message;
    }
    char found[4];
    ASSERT_EQ(pread(holder_.get(), found, 4, static_cast<off_t>(offset)), 4);
    EXPECT_EQ(std::string(found, 4), "mark");
    put(offset, std::string(4, '\0'));
  }
  EXPECT_TRUE(open());
}

TEST_F(MetadataDeviceTest, AnotherMirrorsIsRefusedByName) {
  ASSERT_TRUE(open(blank("web.data")));
  auto opened = open();
  ASSERT_FALSE(opened);
  EXPECT_NE(opened.error().message.find("web.data"), std::string::npos) << opened.error().message;
  EXPECT_NE(opened.error().message.find("dd if=/dev/zero"), std::string::npos) << opened.error().message;
}

TEST_F(MetadataDeviceTest, OneThatIsTooSmallIsRefused) {
  const uint64_t large = (uint64_t{1} << 40) / kBlockBytes;
  auto opened = open(blank("db.data", large));
  ASSERT_FALSE(opened);
  EXPECT_NE(opened.error().message.find("too small"), std::string::npos) << opened.error().message;
  opened = open();
  ASSERT_TRUE(opened);
  auto grown = opened->file->grow(large);
  ASSERT_FALSE(grown);
  EXPECT_EQ(grown.error().code, ErrorCode::kNoSpace);
  EXPECT_EQ(opened->file->size_blocks(), kBlocks);
  EXPECT_TRUE(opened->file->grow(kBlocks + 5));
}

TEST_F(MetadataDeviceTest, TheDeviceIsClaimed) {
  auto first = open();
  ASSERT_TRUE(first);
  auto second = open();
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code, ErrorCode::kConflict);
  first->file.reset();
  EXPECT_TRUE(open());
}

TEST_F(MetadataDeviceTest, AHalfMadeOneIsMadeAgain) {
  std::vector<uint8_t> header(kSectorBytes);
  encode_header({"db.data", kMetadataVersion, true, 0}, header);
  put(0, std::string(header.begin(), header.end()));
  put(kActivityOffset + 100, "rubbish");
  auto opened = open();
  ASSERT_TRUE(opened) << opened.error().message;
  EXPECT_TRUE(opened->created);
  EXPECT_FALSE(opened->stored.journal_unreliable);
}

}  // namespace
}  // namespace baton::mirror
