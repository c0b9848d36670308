// Records round-trip; whatever a crash or rot can leave in the file is found, survived or reported.
#include "src/mirror/metadata_file.h"

#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>
#include <fstream>

namespace baton::mirror {
namespace {

constexpr uint64_t kBlocks = 3 * kBitmapPageBlocks + 100;

StoredCopy blank(uint64_t size_blocks = kBlocks) {
  StoredCopy copy;
  copy.superblock.mirror = "db.data";
  copy.superblock.size_blocks = size_blocks;
  return copy;
}

Superblock sample() {
  Superblock superblock = blank().superblock;
  superblock.permit = Permit(7);
  superblock.was_primary = true;
  superblock.incarnation = Incarnation(3);
  superblock.clean = false;
  superblock.generation = {4, 0x1234567890abcdef};
  superblock.base = {3, 99};
  superblock.ancestors = {{3, 99}, {2, 98}, {1, 97}};
  return superblock;
}

class MetadataFileTest : public ::testing::Test {
 protected:
  void SetUp() override {
    char pattern[] = "/var/tmp/baton-metadata-XXXXXX";
    directory_ = mkdtemp(pattern);
    path_ = directory_ + "/db.data.meta";
    auto ring = Ring::create();
    ASSERT_TRUE(ring) << ring.error().message;
    ring_ = std::move(*ring);
  }
  void TearDown() override { std::filesystem::remove_all(directory_); }

  Result<MetadataFile::Opened> open() { return MetadataFile::open(*ring_, path_, blank(), 0ms); }

  StoredCopy reload() {
    auto opened = open();
    EXPECT_TRUE(opened) << opened.error().message;
    return opened ? opened->stored : StoredCopy{};
  }

  int wait(MetadataFile& file, const std::function<void(MetadataFile::Done)>& begin) {
    std::optional<int> outcome;
    begin([&](int error) { outcome = error; });
    EXPECT_TRUE(ring_->run_until([&] { return outcome && file.idle(); }, 5s));
    return outcome.value_or(-1);
  }

  void damage(uint64_t offset, size_t bytes = 16) {
    std::fstream file(path_, std::ios::in | std::ios::out | std::ios::binary);
    file.seekg(static_cast<std::streamoff>(offset));
    std::string content(bytes, '\0');
    file.read(content.data(), static_cast<std::streamsize>(bytes));
    for (char& byte : content) byte = static_cast<char>(byte ^ 0x5A);
    file.seekp(static_cast<std::streamoff>(offset));
    file.write(content.data(), static_cast<std::streamsize>(bytes));
  }

  std::string directory_;
  std::string path_;
  std::unique_ptr<Ring> ring_;
};

TEST_F(MetadataFileTest, FirstStartIsBlank) {
  auto opened = open();
  ASSERT_TRUE(opened) << opened.error().message;
  EXPECT_TRUE(opened->created);
  EXPECT_EQ(opened->stored.superblock, blank().superblock);
  EXPECT_TRUE(opened->stored.activity.empty());
  EXPECT_TRUE(opened->stored.dirty.empty());
  EXPECT_FALSE(opened->stored.journal_unreliable);
  EXPECT_FALSE(std::filesystem::exists(path_ + ".new"));
}

TEST_F(MetadataFileTest, EverythingComesBack) {
  {
    auto opened = open();
    ASSERT_TRUE(opened);
    MetadataFile& file = *opened->file;
    EXPECT_EQ(wait(file, [&](auto done) { file.persist_superblock(sample(), done); }), 0);
    for (uint64_t i = 0; i < 200; ++i) {
      EXPECT_EQ(wait(file, [&](auto done) { file.persist_activity({i, i + 1, i + 7}, done); }), 0);
    }
    std::map<uint64_t, std::vector<BlockRange>> pages;
    pages[0] = {{0, 1}, {9, 70}, {32760, 8}};
    pages[1] = {{32768, 5}};
    pages[3] = {{3 * kBitmapPageBlocks + 99, 1}};
    EXPECT_EQ(wait(file, [&](auto done) { file.persist_bitmap(pages, done); }), 0);
    EXPECT_EQ(wait(file, [&](auto done) { file.persist_bitmap({}, done); }), 0);
  }
  const StoredCopy stored = reload();
  EXPECT_EQ(stored.superblock, sample());
  EXPECT_EQ(stored.activity, (std::vector<uint64_t>{199, 200, 206}));
  const std::vector<BlockRange> expected = {{0, 1}, {9, 70}, {32760, 13}, {3 * kBitmapPageBlocks + 99, 1}};
  EXPECT_EQ(stored.dirty, expected);
  EXPECT_FALSE(stored.journal_unreliable);
}

TEST_F(MetadataFileTest, PersistsOfOneKindKeepTheirOrder) {
  auto opened = open();
  ASSERT_TRUE(opened);
  MetadataFile& file = *opened->file;
  std::vector<int> order;
  for (int i = 0; i < 20; ++i) {
    Superblock superblock = sample();
    superblock.permit = Permit(static_cast<uint64_t>(i));
    file.persist_superblock(superblock, [&order, i](int error) { order.push_back(error == 0 ? i : -1); });
    file.persist_bitmap({{0, {{static_cast<uint64_t>(i), 1}}}}, [](int error) { EXPECT_EQ(error, 0); });
  }
  ASSERT_TRUE(ring_->run_until([&] { return file.idle(); }, 5s));
  ASSERT_EQ(order.size(), 20u);
  EXPECT_TRUE(std::is_sorted(order.begin(), order.end()));
  opened->file.reset();
  EXPECT_EQ(reload().superblock.permit, Permit(19));
  EXPECT_EQ(reload().dirty, (std::vector<BlockRange>{{19, 1}}));
}

TEST_F(MetadataFileTest, ALargeBitmapGoesInChunks) {
  const StoredCopy large = blank(200 * kBitmapPageBlocks);
  auto opened = MetadataFile::open(*ring_, path_, large, 0ms);
  ASSERT_TRUE(opened);
  std::map<uint64_t, std::vector<BlockRange>> pages;
  for (uint64_t page = 0; page < 200; ++page) pages[page] = {{page * kBitmapPageBlocks + page, 1}};
  MetadataFile& file = *opened->file;
  EXPECT_EQ(wait(file, [&](auto done) { file.persist_bitmap(pages, done); }), 0);
  opened->file.reset();
  opened = MetadataFile::open(*ring_, path_, large, 0ms);
  ASSERT_TRUE(opened);
  EXPECT_EQ(opened->stored.dirty.size(), 200u);
  EXPECT_EQ(opened->stored.dirty[150].first, 150 * kBitmapPageBlocks + 150);
}

TEST_F(MetadataFileTest, OneRottenSuperblockIsSurvivedTwoAreNot) {
  {
    auto opened = open();
    ASSERT_TRUE(opened);
    EXPECT_EQ(wait(*opened->file, [&](auto done) { opened->file->persist_superblock(sample(), done); }), 0);
  }
  damage(kSuperblockOffset + 20);
  EXPECT_EQ(reload().superblock, sample());
  damage(kSuperblockOffset + 20);  // mends it
  damage(kSuperblockOffset + kSectorBytes + 4000);
  EXPECT_EQ(reload().superblock, sample());
  damage(kSuperblockOffset + 20);
  auto opened = open();
  ASSERT_FALSE(opened);
  EXPECT_NE(opened.error().message.find("both superblocks"), std::string::npos) << opened.error().message;
}

TEST_F(MetadataFileTest, ADamagedActivityLogIsUnreliable) {
  {
    auto opened = open();
    ASSERT_TRUE(opened);
    for (uint64_t i = 0; i < 70; ++i) {
      EXPECT_EQ(wait(*opened->file, [&](auto done) { opened->file->persist_activity({i}, done); }), 0);
    }
  }
  // The newest is sequence 64 + 70 in slot 6. An older one's rot is harmless.
  damage(kActivityOffset + 20 * kSectorBytes);
  EXPECT_FALSE(reload().journal_unreliable);
  EXPECT_EQ(reload().activity, std::vector<uint64_t>{69});
  damage(kActivityOffset + 6 * kSectorBytes + 17);
  const StoredCopy stored = reload();
  EXPECT_TRUE(stored.journal_unreliable);
  EXPECT_EQ(stored.activity, std::vector<uint64_t>{68});
}

TEST_F(MetadataFileTest, BitmapPagesSurviveOneDamage) {
  {
    auto opened = open();
    ASSERT_TRUE(opened);
    EXPECT_EQ(wait(*opened->file, [&](auto done) { opened->file->persist_bitmap({{1, {{40000, 3}}}}, done); }), 0);
  }
  damage(bitmap_offset(1, 0) + kSectorBytes + 100);  // the bits of the first copy
  StoredCopy stored = reload();
  EXPECT_FALSE(stored.journal_unreliable);
  EXPECT_EQ(stored.dirty, (std::vector<BlockRange>{{40000, 3}}));
  damage(bitmap_offset(1, 1) + 8);  // the sequence of the second
  stored = reload();
  EXPECT_TRUE(stored.journal_unreliable);
}

TEST_F(MetadataFileTest, RefusesWhatIsNotItsOwn) {
  { ASSERT_TRUE(open()); }
  auto other = blank();
  other.superblock.mirror = "web.data";
  auto opened = MetadataFile::open(*ring_, path_, other, 0ms);
  ASSERT_FALSE(opened);
  EXPECT_NE(opened.error().message.find("db.data"), std::string::npos);
  EXPECT_NE(opened.error().message.find("web.data"), std::string::npos);
  EXPECT_FALSE(MetadataFile::open(*ring_, path_, blank(5), 0ms));

  damage(8, 1);  // the version becomes 0x5B
  opened = open();
  ASSERT_FALSE(opened);
  EXPECT_NE(opened.error().message.find("version 91"), std::string::npos) << opened.error().message;
  damage(8, 1);
  damage(40);
  EXPECT_FALSE(open());
  damage(40);
  EXPECT_TRUE(open());
  std::filesystem::resize_file(path_, 100'000);
  opened = open();
  ASSERT_FALSE(opened);
  EXPECT_NE(opened.error().message.find("cut off"), std::string::npos) << opened.error().message;
}

TEST_F(MetadataFileTest, OnlyOneDaemonAtATime) {
  auto first = open();
  ASSERT_TRUE(first);
  auto second = open();
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code, ErrorCode::kConflict);
  first->file.reset();
  EXPECT_TRUE(open());
}

TEST(MetadataRecords, ADamagedBitIsNeverTaken) {
  std::vector<uint8_t> sector(kSectorBytes);
  encode_superblock(sample(), 5, sector);
  EXPECT_EQ(decode_superblock(sector).superblock, sample());
  for (size_t bit = 0; bit < kSectorBytes * 8; bit += 37) {
    sector[bit / 8] ^= static_cast<uint8_t>(1u << (bit % 8));
    EXPECT_EQ(decode_superblock(sector).condition, RecordCondition::kDamaged) << bit;
    sector[bit / 8] ^= static_cast<uint8_t>(1u << (bit % 8));
  }
  EXPECT_EQ(decode_superblock({}).condition, RecordCondition::kDamaged);
}

}  // namespace
}  // namespace baton::mirror
