// Records round-trip; whatever a crash or rot can leave in the file is found, survived or reported.
#include "src/mirror/metadata_file.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>

#include <cstring>
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
  superblock.detached = true;
  superblock.snapshot = true;
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
  damage(kActivityOffset + 20 * kActivitySlotBytes);
  EXPECT_FALSE(reload().journal_unreliable);
  EXPECT_EQ(reload().activity, std::vector<uint64_t>{69});
  damage(kActivityOffset + 6 * kActivitySlotBytes + 17);
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

  damage(8, 1);  // the version becomes 0x58
  opened = open();
  ASSERT_FALSE(opened);
  EXPECT_NE(opened.error().message.find("version 88"), std::string::npos) << opened.error().message;
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

TEST_F(MetadataFileTest, ALargeActivityLogTakesOnlyTheSectorsItNeeds) {
  ASSERT_GE(kMaxActivityExtents, 3900u);
  std::vector<uint64_t> many;
  for (uint64_t i = 0; i < 3900; ++i) many.push_back(i % 385);  // the mirror has 385 extents
  {
    auto opened = open();
    ASSERT_TRUE(opened);
    MetadataFile& file = *opened->file;
    EXPECT_EQ(wait(file, [&](auto done) { file.persist_activity(many, done); }), 0);
  }
  EXPECT_EQ(activity_sectors(3900), 4u);
  EXPECT_EQ(activity_sectors(1017), 1u);
  EXPECT_EQ(activity_sectors(1018), 2u);
  EXPECT_EQ(reload().activity, many);
  // Sequence 65 is in slot 1. Rot in its last sector counts, too; the one before is then used, as unreliable.
  damage(kActivityOffset + kActivitySlotBytes + 3 * kSectorBytes + 300);
  EXPECT_TRUE(reload().journal_unreliable);
  EXPECT_TRUE(reload().activity.empty());
}

TEST_F(MetadataFileTest, APageThatIsClearedCostsNoPageAndStaysClear) {
  {
    auto opened = open();
    ASSERT_TRUE(opened);
    MetadataFile& file = *opened->file;
    std::map<uint64_t, std::vector<BlockRange>> full, clear;
    for (uint64_t page = 0; page < 3; ++page) {
      full[page] = {{page * kBitmapPageBlocks, kBitmapPageBlocks}};
      clear[page] = {};
    }
    EXPECT_EQ(wait(file, [&](auto done) { file.persist_bitmap(full, done); }), 0);
    EXPECT_EQ(wait(file, [&](auto done) { file.persist_bitmap(clear, done); }), 0);
  }
  EXPECT_TRUE(reload().dirty.empty());
  // Nor do later persists bring back what was there before.
  {
    auto opened = open();
    ASSERT_TRUE(opened);
    EXPECT_EQ(wait(*opened->file, [&](auto done) { opened->file->persist_bitmap({{1, {{40000, 1}}}}, done); }), 0);
  }
  EXPECT_EQ(reload().dirty, (std::vector<BlockRange>{{40000, 1}}));
}

TEST_F(MetadataFileTest, TheMapSurvivesOneDamage) {
  {
    auto opened = open();
    ASSERT_TRUE(opened);
    EXPECT_EQ(wait(*opened->file, [&](auto done) { opened->file->persist_bitmap({{1, {{40000, 3}}}}, done); }), 0);
  }
  damage(map_offset(0, 0) + 30);
  EXPECT_FALSE(reload().journal_unreliable);
  EXPECT_EQ(reload().dirty, (std::vector<BlockRange>{{40000, 3}}));
  damage(map_offset(0, 1) + 30);
  EXPECT_TRUE(reload().journal_unreliable);
}

TEST_F(MetadataFileTest, ResetForgetsEverythingAtOnce) {
  {
    auto opened = open();
    ASSERT_TRUE(opened);
    MetadataFile& file = *opened->file;
    EXPECT_EQ(wait(file, [&](auto done) { file.persist_superblock(sample(), done); }), 0);
    EXPECT_EQ(wait(file, [&](auto done) { file.persist_activity({1, 2, 3}, done); }), 0);
    EXPECT_EQ(wait(file, [&](auto done) { file.persist_bitmap({{1, {{40000, 3}}}, {2, {{70000, 9}}}}, done); }), 0);
    ASSERT_TRUE(file.reset(blank()));
  }
  StoredCopy stored = reload();
  EXPECT_EQ(stored.superblock, blank().superblock);
  EXPECT_TRUE(stored.activity.empty());
  EXPECT_TRUE(stored.dirty.empty());
  EXPECT_FALSE(stored.journal_unreliable);
  // A page of the new era is not taken for one of the old, whose records had higher sequences.
  {
    auto opened = open();
    ASSERT_TRUE(opened);
    EXPECT_EQ(wait(*opened->file, [&](auto done) { opened->file->persist_bitmap({{1, {{50000, 2}}}}, done); }), 0);
    EXPECT_EQ(wait(*opened->file, [&](auto done) { opened->file->persist_activity({9}, done); }), 0);
  }
  damage(bitmap_offset(1, 0) + kSectorBytes);
  stored = reload();
  EXPECT_EQ(stored.dirty, (std::vector<BlockRange>{{50000, 2}}));
  EXPECT_EQ(stored.activity, std::vector<uint64_t>{9});
}

TEST_F(MetadataFileTest, GrowsDurably) {
  {
    auto opened = open();
    ASSERT_TRUE(opened);
    MetadataFile& file = *opened->file;
    EXPECT_EQ(wait(file, [&](auto done) { file.persist_superblock(sample(), done); }), 0);
    EXPECT_EQ(wait(file, [&](auto done) { file.persist_bitmap({{1, {{40000, 3}}}}, done); }), 0);
    EXPECT_FALSE(file.grow(kBlocks - 1));
    ASSERT_TRUE(file.grow(2 * kBlocks));
    EXPECT_EQ(file.size_blocks(), 2 * kBlocks);
    EXPECT_EQ(wait(file, [&](auto done) { file.persist_bitmap({{5, {{5 * kBitmapPageBlocks, 1}}}}, done); }), 0);
  }
  EXPECT_FALSE(open());  // the configuration still says the old size
  auto opened = MetadataFile::open(*ring_, path_, blank(2 * kBlocks), 0ms);
  ASSERT_TRUE(opened) << opened.error().message;
  Superblock expected = sample();
  expected.size_blocks = 2 * kBlocks;
  EXPECT_EQ(opened->stored.superblock, expected);
  EXPECT_EQ(opened->stored.dirty.size(), 2u);
  opened->file.reset();
  // The other way round: the configuration is ahead.
  EXPECT_FALSE(MetadataFile::open(*ring_, path_, blank(3 * kBlocks), 0ms));
  opened = MetadataFile::open(*ring_, path_, blank(3 * kBlocks), 0ms, true);
  ASSERT_TRUE(opened) << opened.error().message;
  EXPECT_EQ(opened->stored.superblock.size_blocks, 2 * kBlocks);
}

/// While it lives no write beyond this size of any file succeeds.
class FileSizeLimit {
 public:
  explicit FileSizeLimit(uint64_t bytes) {
    signal(SIGXFSZ, SIG_IGN);
    getrlimit(RLIMIT_FSIZE, &before_);
    rlimit small = before_;
    small.rlim_cur = bytes;
    setrlimit(RLIMIT_FSIZE, &small);
  }
  ~FileSizeLimit() { setrlimit(RLIMIT_FSIZE, &before_); }

 private:
  rlimit before_{};
};

TEST_F(MetadataFileTest, AFailedWriteOfTheMapIsMadeGood) {
  auto opened = open();
  ASSERT_TRUE(opened);
  MetadataFile& file = *opened->file;
  EXPECT_EQ(wait(file, [&](auto done) { file.persist_bitmap({{1, {{40000, 3}}}}, done); }), 0);
  {
    FileSizeLimit limit(kMapOffset);
    EXPECT_NE(wait(file, [&](auto done) { file.persist_bitmap({{2, {{70000, 1}}}}, done); }), 0);
    EXPECT_NE(wait(file, [&](auto done) { file.persist_bitmap({{1, {}}}, done); }), 0);
  }
  EXPECT_EQ(wait(file, [&](auto done) { file.persist_bitmap({{2, {{70000, 1}}}}, done); }), 0);
  opened->file.reset();
  EXPECT_EQ(reload().dirty, (std::vector<BlockRange>{{40000, 3}, {70000, 1}}));
}

TEST_F(MetadataFileTest, AMapThatWasHalfWrittenIsWrittenAgain) {
  auto opened = open();
  ASSERT_TRUE(opened);
  MetadataFile& file = *opened->file;
  EXPECT_EQ(wait(file, [&](auto done) { file.persist_bitmap({{1, {{40000, 3}}}}, done); }), 0);
  {
    FileSizeLimit limit(map_offset(0, 1));  // the first copy succeeds, the second one does not
    wait(file, [&](auto done) { file.persist_bitmap({{1, {}}}, done); });
  }
  EXPECT_EQ(wait(file, [&](auto done) { file.persist_bitmap({{1, {{50000, 3}}}}, done); }), 0);
  opened->file.reset();
  EXPECT_EQ(reload().dirty, (std::vector<BlockRange>{{50000, 3}}));
}

TEST_F(MetadataFileTest, AnEnormousMirrorIsOpenedAtOnce) {
  const StoredCopy enormous = blank((uint64_t{16} << 40) / kBlockBytes);
  {
    auto opened = MetadataFile::open(*ring_, path_, enormous, 0ms);
    if (!opened && opened.error().code == ErrorCode::kNoSpace) GTEST_SKIP() << opened.error().message;
    ASSERT_TRUE(opened) << opened.error().message;
    std::map<uint64_t, std::vector<BlockRange>> pages;
    for (uint64_t page = 0; page < 131072; page += 1000) pages[page] = {{page * kBitmapPageBlocks, 7}};
    EXPECT_EQ(wait(*opened->file, [&](auto done) { opened->file->persist_bitmap(pages, done); }), 0);
  }
  const Instant before = Ring::now();
  auto opened = MetadataFile::open(*ring_, path_, enormous, 0ms);
  const Duration took = Ring::now() - before;
  ASSERT_TRUE(opened) << opened.error().message;
  EXPECT_EQ(opened->stored.dirty.size(), 132u);
  EXPECT_LT(took, 1s);
  RecordProperty("open_16_tib_us", static_cast<int>(took.count() / 1000));
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
  encode_superblock(sample(), 77, 5, sector);
  EXPECT_EQ(decode_superblock(sector).superblock, sample());
  for (size_t bit = 0; bit < kSectorBytes * 8; bit += 37) {
    sector[bit / 8] ^= static_cast<uint8_t>(1u << (bit % 8));
    EXPECT_EQ(decode_superblock(sector).condition, RecordCondition::kDamaged) << bit;
    sector[bit / 8] ^= static_cast<uint8_t>(1u << (bit % 8));
  }
  EXPECT_EQ(decode_superblock({}).condition, RecordCondition::kDamaged);
}

/// The worked example of docs/disk-format.md.
TEST(MetadataRecords, TheWorkedExample) {
  const std::vector<uint64_t> extents = {3, 4, 1000};
  std::vector<uint8_t> slot(kSectorBytes);
  encode_activity(extents, 0xA1A2A3A4A5A6A7A8, 66, slot);
  const std::vector<uint8_t> expected = {0x42, 0x41, 0x43, 0x54, 3, 0, 0, 0, 66, 0, 0, 0, 0, 0, 0, 0,
                                         0xA8, 0xA7, 0xA6, 0xA5, 0xA4, 0xA3, 0xA2, 0xA1};
  EXPECT_TRUE(std::equal(expected.begin(), expected.end(), slot.begin()));
  const std::vector<uint8_t> after = {3, 0, 0, 0, 4, 0, 0, 0, 0xE8, 3, 0, 0, 0, 0, 0, 0};
  EXPECT_TRUE(std::equal(after.begin(), after.end(), slot.begin() + 28));
  uint32_t checksum = 0;
  std::memcpy(&checksum, slot.data() + 24, 4);
  EXPECT_EQ(checksum, 0xB2C56791u);

  Superblock superblock;
  superblock.mirror = "db.data";
  superblock.size_blocks = 262144;
  superblock.permit = Permit(3);
  superblock.was_primary = true;
  superblock.clean = false;
  superblock.snapshot = false;
  superblock.incarnation = Incarnation(2);
  superblock.generation = {2, 0x1122334455667788};
  superblock.base = {1, 0xA1A2A3A4A5A6A7A8};
  superblock.ancestors = {superblock.base};
  std::vector<uint8_t> sector(kSectorBytes);
  encode_superblock(superblock, 0x0102030405060708, 9, sector);
  std::memcpy(&checksum, sector.data() + 4092, 4);
  EXPECT_EQ(checksum, 0xAB752A9Au);
}

TEST(MetadataRecords, AnotherErasRecordsCountAsNeverWritten) {
  std::vector<uint8_t> slot(kActivitySlotBytes), page(kBitmapRecordBytes), sector(kSectorBytes);
  encode_activity({1}, 5, 64, std::span(slot).first(kSectorBytes));
  EXPECT_EQ(decode_activity(slot, 5).condition, RecordCondition::kValid);
  EXPECT_EQ(decode_activity(slot, 6).condition, RecordCondition::kBlank);
  encode_bitmap(0, {{1, 2}}, 5, 1, page);
  EXPECT_EQ(decode_bitmap(0, page, 5).condition, RecordCondition::kValid);
  EXPECT_EQ(decode_bitmap(1, page, 5).condition, RecordCondition::kDamaged);
  EXPECT_EQ(decode_bitmap(0, page, 6).condition, RecordCondition::kBlank);
  encode_map(3, std::vector<uint8_t>(kMapSectorPages / 8, 0x55), 5, 1, sector);
  EXPECT_EQ(decode_map(3, sector, 5).condition, RecordCondition::kValid);
  EXPECT_EQ(decode_map(2, sector, 5).condition, RecordCondition::kDamaged);
  EXPECT_EQ(decode_map(3, sector, 6).condition, RecordCondition::kBlank);
}

}  // namespace
}  // namespace baton::mirror
