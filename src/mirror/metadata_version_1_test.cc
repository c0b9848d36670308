// Metadata as version 1 wrote it is read whole and brought to the present format, whatever its damage allows.
#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>
#include <fstream>

#include "src/mirror/metadata_file.h"
#include "src/mirror/metadata_sector.h"

namespace baton::mirror {
namespace {

constexpr uint64_t kBlocks = 2 * kBitmapPageBlocks;
constexpr uint64_t kOldBitmap = 278528;

class MetadataVersion1Test : public ::testing::Test {
 protected:
  void SetUp() override {
    char pattern[] = "/var/tmp/baton-metadata-1-XXXXXX";
    directory_ = mkdtemp(pattern);
    path_ = directory_ + "/db.data.meta";
    auto ring = Ring::create();
    ASSERT_TRUE(ring) << ring.error().message;
    ring_ = std::move(*ring);
    bytes_.assign(kOldBitmap + 2 * kBitmapPageStride, 0);
    put_header();
    put_superblock(0);
    put_superblock(1);
  }
  void TearDown() override { std::filesystem::remove_all(directory_); }

  std::span<uint8_t> at(uint64_t offset) { return std::span(bytes_).subspan(offset, kSectorBytes); }

  void put_header() {
    Bytes content;
    ByteWriter writer(content);
    writer.put(sector::kHeaderMagic);
    writer.put(uint32_t{1});
    writer.put(uint32_t{64});
    writer.put(kBlocks);
    writer.put_string("db.data");
    sector::seal(content, at(0));
  }

  void put_superblock(unsigned copy) {
    Bytes content;
    ByteWriter writer(content);
    writer.put(sector::kSuperblockMagic);
    writer.put(uint32_t{5});  // was primary, consistent, not clean
    writer.put(uint64_t{9});
    for (uint64_t number : {kBlocks, uint64_t{3}, uint64_t{2}, uint64_t{2}, uint64_t{22}, uint64_t{1}, uint64_t{11}}) {
      writer.put(number);
    }
    writer.put(uint32_t{1});
    writer.put(uint64_t{1});
    writer.put(uint64_t{11});
    writer.put_string("db.data");
    sector::seal(content, at(kSectorBytes * (1 + copy)));
  }

  void put_activity(uint64_t sequence, const std::vector<uint32_t>& extents) {
    Bytes content;
    ByteWriter writer(content);
    writer.put(sector::kActivityMagic);
    writer.put(static_cast<uint32_t>(extents.size()));
    writer.put(sequence);
    for (uint32_t extent : extents) writer.put(extent);
    sector::seal(content, at(kActivityOffset + sequence % 64 * kSectorBytes));
  }

  void put_page(uint64_t page, uint64_t block) {
    const uint64_t offset = kOldBitmap + page * kBitmapPageStride;
    at(offset + kSectorBytes)[block / 8] |= static_cast<uint8_t>(1u << (block % 8));
    Bytes content;
    ByteWriter writer(content);
    writer.put(sector::kBitmapMagic);
    writer.put(crc32c(at(offset + kSectorBytes)));
    writer.put(uint64_t{1});
    writer.put(page);
    sector::seal(content, at(offset));
  }

  Result<MetadataFile::Opened> open() {
    std::ofstream(path_, std::ios::binary).write(reinterpret_cast<const char*>(bytes_.data()),
                                                 static_cast<std::streamsize>(bytes_.size()));
    return open_again();
  }
  Result<MetadataFile::Opened> open_again() {
    StoredCopy blank;
    blank.superblock.mirror = "db.data";
    blank.superblock.size_blocks = kBlocks;
    return MetadataFile::open(*ring_, path_, blank, 0ms);
  }

  std::string directory_;
  std::string path_;
  std::unique_ptr<Ring> ring_;
  Bytes bytes_;
};

TEST_F(MetadataVersion1Test, IsTakenOver) {
  put_activity(64, {1});
  put_activity(65, {0, 3, 4, 9, 1023});
  put_page(1, 100);
  auto opened = open();
  ASSERT_TRUE(opened) << opened.error().message;
  for (int round = 0; round < 2; ++round) {
    const StoredCopy& stored = opened->stored;
    EXPECT_FALSE(opened->created);
    EXPECT_EQ(stored.superblock.permit, Permit(3));
    EXPECT_TRUE(stored.superblock.was_primary);
    EXPECT_TRUE(stored.superblock.consistent);
    EXPECT_FALSE(stored.superblock.clean);
    EXPECT_FALSE(stored.superblock.detached);
    EXPECT_FALSE(stored.superblock.snapshot);
    EXPECT_EQ(stored.superblock.generation, (Generation{2, 22}));
    EXPECT_EQ(stored.superblock.ancestors, (std::vector<Generation>{{1, 11}}));
    EXPECT_EQ(stored.activity, (std::vector<uint64_t>{0, 1, 2, 255}));
    EXPECT_EQ(stored.dirty, (std::vector<BlockRange>{{kBitmapPageBlocks + 100, 1}}));
    EXPECT_FALSE(stored.journal_unreliable);
    // The second time it is a file of the present version.
    opened->file.reset();
    opened = open_again();
    ASSERT_TRUE(opened) << opened.error().message;
  }
  EXPECT_EQ(std::filesystem::file_size(path_), metadata_bytes(kBlocks));
  EXPECT_FALSE(std::filesystem::exists(path_ + ".new"));
}

TEST_F(MetadataVersion1Test, UnreliableStaysUnreliable) {
  put_activity(64, {1});
  put_activity(65, {2});
  bytes_[kActivityOffset + kSectorBytes + 17] ^= 1;
  auto opened = open();
  ASSERT_TRUE(opened) << opened.error().message;
  EXPECT_TRUE(opened->stored.journal_unreliable);
  EXPECT_FALSE(opened->warnings.empty());
  EXPECT_EQ(opened->stored.superblock.permit, Permit(3));
}

TEST_F(MetadataVersion1Test, DamageIsRefusedAsBefore) {
  put_activity(64, {1});
  bytes_[kSectorBytes + 30] ^= 1;
  ASSERT_TRUE(open());
  bytes_[2 * kSectorBytes + 30] ^= 1;
  auto opened = open();
  ASSERT_FALSE(opened);
  EXPECT_NE(opened.error().message.find("both superblocks"), std::string::npos) << opened.error().message;
  // Nothing was written over it.
  EXPECT_EQ(std::filesystem::file_size(path_), bytes_.size());
}

}  // namespace
}  // namespace baton::mirror
