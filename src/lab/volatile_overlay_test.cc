// What a volatile disk keeps, tears and loses.
#include "src/lab/volatile_overlay.h"

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <string>

namespace baton::lab {
namespace {

class VolatileOverlayTest : public testing::Test {
 protected:
  void SetUp() override {
    backing_ = memfd_create("backing", MFD_CLOEXEC);
    std::string old(4 * kPageSize, 'o');
    ASSERT_EQ(pwrite(backing_, old.data(), old.size(), 0), ssize_t(old.size()));
  }
  void TearDown() override { close(backing_); }

  void write(uint64_t offset, const std::string& text) { ASSERT_EQ(overlay_.write(backing_, offset, text), 0); }
  std::string on_disk(uint64_t offset, size_t count) {
    std::string text(count, '?');
    text.resize(size_t(std::max<ssize_t>(0, pread(backing_, text.data(), count, off_t(offset)))));
    return text;
  }
  std::string seen(uint64_t offset, size_t count) {
    auto text = on_disk(offset, count);
    overlay_.cover(offset, text);
    return text;
  }

  int backing_ = -1;
  VolatileOverlay overlay_;
};

TEST_F(VolatileOverlayTest, AWriteIsSeenButNotOnDiskUntilFlushed) {
  write(kPageSize - 2, "new!");
  EXPECT_EQ(seen(kPageSize - 3, 6), "onew!o");
  EXPECT_EQ(on_disk(kPageSize - 3, 6), "oooooo");
  EXPECT_EQ(overlay_.bytes(), 2 * kPageSize);
  EXPECT_EQ(overlay_.flush(backing_, 4 * kPageSize), 0);
  EXPECT_EQ(on_disk(kPageSize - 3, 6), "onew!o");
  EXPECT_TRUE(overlay_.empty());
}

TEST_F(VolatileOverlayTest, FlushDoesNotWritePastTheEndOfTheFile) {
  ASSERT_EQ(ftruncate(backing_, 10), 0);
  write(8, "ab");
  EXPECT_EQ(overlay_.flush(backing_, 10), 0);
  EXPECT_EQ(lseek(backing_, 0, SEEK_END), 10);
}

TEST_F(VolatileOverlayTest, ACutFileForgetsWhatWasBeyond) {
  write(0, std::string(2 * kPageSize, 'n'));
  ASSERT_EQ(ftruncate(backing_, 100), 0);
  overlay_.resize(100);
  ASSERT_EQ(ftruncate(backing_, 200), 0);
  EXPECT_EQ(seen(98, 4), std::string("nn\0\0", 4));
  EXPECT_EQ(overlay_.bytes(), kPageSize);
}

TEST_F(VolatileOverlayTest, AZeroedRangeHidesEarlierWrites) {
  write(0, std::string(3 * kPageSize, 'n'));
  overlay_.zero(100, 2 * kPageSize);
  EXPECT_EQ(seen(99, 2), std::string("n\0", 2));
  EXPECT_EQ(overlay_.bytes(), 2 * kPageSize);
}

TEST_F(VolatileOverlayTest, APowerCutDropsKeepsAndTearsAtSectors) {
  Losses losses;
  for (uint64_t seed = 0; seed < 64; seed++) {
    std::mt19937_64 random(seed);
    ASSERT_EQ(pwrite(backing_, std::string(kPageSize, 'o').data(), kPageSize, 0), ssize_t(kPageSize));
    write(0, std::string(kPageSize, 'n'));
    ASSERT_EQ(overlay_.lose(backing_, 4 * kPageSize, random, losses), 0);
    auto page = on_disk(0, kPageSize);
    for (uint64_t sector = 0; sector < kPageSize; sector += kSectorSize) {
      auto one = page.substr(sector, kSectorSize);
      EXPECT_TRUE(one == std::string(kSectorSize, 'n') || one == std::string(kSectorSize, 'o'));
    }
  }
  EXPECT_EQ(losses.unsynced, 64u);
  EXPECT_GT(losses.dropped, 0u);
  EXPECT_GT(losses.kept, 0u);
  EXPECT_GT(losses.torn, 0u);
  EXPECT_EQ(losses.dropped + losses.kept + losses.torn, 64u);
}

TEST_F(VolatileOverlayTest, TheSameSeedLosesTheSame) {
  std::string first;
  for (int round = 0; round < 2; round++) {
    ASSERT_EQ(pwrite(backing_, std::string(4 * kPageSize, 'o').data(), 4 * kPageSize, 0),
              ssize_t(4 * kPageSize));
    write(0, std::string(4 * kPageSize, 'n'));
    std::mt19937_64 random(7);
    Losses losses;
    ASSERT_EQ(overlay_.lose(backing_, 4 * kPageSize, random, losses), 0);
    auto after = on_disk(0, 4 * kPageSize);
    if (round == 0) first = after;
    EXPECT_EQ(first, after);
  }
}

}  // namespace
}  // namespace baton::lab
