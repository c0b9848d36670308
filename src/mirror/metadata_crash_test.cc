// Every state in which a crash can leave the metadata is loaded: between any two rounds of the loop, with any one of the
// sectors written in the next round there already, or torn. Found must be the old state or the new one.
#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <random>
#include <set>

#include "src/mirror/metadata_create.h"
#include "src/mirror/metadata_file.h"
#include "src/mirror/metadata_load.h"

namespace baton::mirror {
namespace {

constexpr uint64_t kPages = 4;

class MetadataCrashTest : public ::testing::Test {
 protected:
  using Sectors = std::vector<uint64_t>;

  void SetUp() override {
    char pattern[] = "/var/tmp/baton-metadata-crash-XXXXXX";
    directory_ = mkdtemp(pattern);
    path_ = directory_ + "/meta";
    auto ring = Ring::create();
    ASSERT_TRUE(ring) << ring.error().message;
    ring_ = std::move(*ring);
    StoredCopy blank;
    blank.superblock.mirror = "db.data";
    blank.superblock.size_blocks = kPages * kBitmapPageBlocks;
    auto opened = MetadataFile::open(*ring_, path_, blank, 0ms);
    ASSERT_TRUE(opened) << opened.error().message;
    file_ = std::move(opened->file);
    present_ = opened->stored;
    crashed_ = OwnedFd(memfd_create("crashed", MFD_CLOEXEC));
    disk_ = content();
    ASSERT_EQ(pwrite(crashed_.get(), disk_.data(), disk_.size(), 0), static_cast<ssize_t>(disk_.size()));
  }
  void TearDown() override { std::filesystem::remove_all(directory_); }

  std::string content() {
    std::ifstream file(path_, std::ios::binary);
    return std::string((std::istreambuf_iterator<char>(file)), {});
  }
  static std::set<uint64_t> blocks_of(const std::vector<BlockRange>& ranges) {
    std::set<uint64_t> blocks;
    for (const BlockRange& range : ranges) {
      for (uint64_t block = range.first; block < range.end(); ++block) blocks.insert(block);
    }
    return blocks;
  }
  void put(uint64_t sector, const std::string& from) {
    ASSERT_EQ(pwrite(crashed_.get(), from.data() + sector * kSectorBytes, kSectorBytes,
                     static_cast<off_t>(sector * kSectorBytes)), static_cast<ssize_t>(kSectorBytes));
  }

  /// What is loaded now must be `present_` or `next_`; with a torn sector the journal may say that it is unreliable.
  void check(bool torn) {
    auto loaded = load_metadata(crashed_.get(), "crashed");
    ASSERT_TRUE(loaded) << loaded.error().message;
    ++checked_;
    const StoredCopy& found = loaded->stored;
    EXPECT_TRUE(found.superblock == present_.superblock || found.superblock == next_.superblock);
    if (found.journal_unreliable) {
      ++unreliable_;
      EXPECT_TRUE(torn);
      return;
    }
    EXPECT_TRUE(found.activity == present_.activity || found.activity == next_.activity);
    // Bits that are set before and after must be there; bits of a cleared page may come back until the job is done.
    const auto before = blocks_of(present_.dirty), after = blocks_of(next_.dirty), now = blocks_of(found.dirty);
    for (uint64_t block : before) EXPECT_TRUE(!after.contains(block) || now.contains(block)) << block;
  }

  /// The loop went a round: from disk_ to what is there now.
  void round() {
    const std::string now = content();
    Sectors changed;
    for (uint64_t sector = 0; sector < now.size() / kSectorBytes; ++sector) {
      if (now.compare(sector * kSectorBytes, kSectorBytes, disk_, sector * kSectorBytes, kSectorBytes) != 0) {
        changed.push_back(sector);
      }
    }
    for (uint64_t sector : changed) {
      put(sector, now);
      check(changed.size() > 1);  // one of a record's two sectors is a torn record
      std::string torn = now;
      std::fill_n(torn.begin() + static_cast<ptrdiff_t>(sector * kSectorBytes + 512), 1024, '\xA5');
      put(sector, torn);
      check(true);
      put(sector, disk_);
    }
    for (uint64_t sector : changed) put(sector, now);
    check(false);
    disk_ = now;
  }

  void run(const std::function<void(MetadataFile::Done)>& begin) {
    std::optional<int> outcome;
    begin([&](int error) { outcome = error; });
    bool told = false;
    EXPECT_TRUE(ring_->run_until([&] {
      round();
      // From its completion on only the new state counts.
      if (outcome && !told) {
        told = true;
        present_ = next_;
        check(false);
      }
      return outcome && file_->idle();
    }, 5s));
    EXPECT_EQ(outcome, 0);
    auto loaded = load_metadata(crashed_.get(), "after");
    ASSERT_TRUE(loaded);
    EXPECT_FALSE(loaded->stored.journal_unreliable);
    EXPECT_EQ(blocks_of(loaded->stored.dirty), blocks_of(next_.dirty));
    EXPECT_EQ(loaded->stored.activity, next_.activity);
    EXPECT_EQ(loaded->stored.superblock, next_.superblock);
  }

  std::string directory_, path_;
  std::unique_ptr<Ring> ring_;
  std::unique_ptr<MetadataFile> file_;
  StoredCopy present_, next_;  // before and after the job under way
  std::string disk_;           // the file's content at the last look
  OwnedFd crashed_;
  uint64_t checked_ = 0, unreliable_ = 0;
};

TEST_F(MetadataCrashTest, FindsTheOldOrTheNew) {
  std::mt19937_64 random(7);
  std::map<uint64_t, std::vector<BlockRange>> pages;
  for (int step = 0; step < 60 && !HasFailure(); ++step) {
    next_ = present_;
    switch (random() % 4) {
      case 0:
        next_.superblock.permit = Permit(static_cast<uint64_t>(step) + 1);
        next_.superblock.consistent = step % 2 == 0;
        run([&](auto done) { file_->persist_superblock(next_.superblock, done); });
        break;
      case 1:
        next_.activity.clear();
        for (uint64_t extent = random() % 3; extent < kPages * 128; extent += 1 + random() % 7) {
          next_.activity.push_back(extent);
        }
        run([&](auto done) { file_->persist_activity(next_.activity, done); });
        break;
      default: {
        std::map<uint64_t, std::vector<BlockRange>> change;
        for (uint64_t page = 0; page < kPages; ++page) {
          if (random() % 2 == 0) continue;
          change[page] = {};
          if (random() % 3 > 0) change[page] = {{page * kBitmapPageBlocks + random() % 30000, 1 + random() % 2000}};
          pages[page] = change[page];
        }
        next_.dirty.clear();
        for (const auto& [page, ranges] : pages) next_.dirty.insert(next_.dirty.end(), ranges.begin(), ranges.end());
        run([&](auto done) { file_->persist_bitmap(change, done); });
      }
    }
  }
  EXPECT_GT(checked_, 500u);
  // A torn sector is unreliable only where there is no second copy: the newest slot of the log, a page's first write.
  EXPECT_LT(unreliable_, checked_ / 4);
  RecordProperty("states", static_cast<int>(checked_));
  RecordProperty("unreliable", static_cast<int>(unreliable_));
}

}  // namespace
}  // namespace baton::mirror
