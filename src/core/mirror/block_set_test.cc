// BlockSet against a plain set of numbers; DirtyMap: which bits are on disk.
#include "src/core/mirror/block_set.h"

#include <gtest/gtest.h>

#include <random>
#include <set>

#include "src/core/mirror/dirty_map.h"

namespace baton::mirror {
namespace {

TEST(BlockSet, AgreesWithASetOfNumbers) {
  std::mt19937_64 random(1);
  constexpr uint64_t kSize = 3 * kBitmapPageBlocks;
  BlockSet blocks;
  std::set<uint64_t> numbers;
  for (int round = 0; round < 600; ++round) {
    const uint64_t first = random() % kSize;
    const uint64_t count = std::min<uint64_t>(1 + random() % (round % 10 == 0 ? 40000 : 200), kSize - first);
    bool changed = false;
    const bool add = random() % 3 != 0;
    for (uint64_t block = first; block < first + count; ++block) {
      changed |= add ? numbers.insert(block).second : numbers.erase(block) > 0;
    }
    EXPECT_EQ(add ? blocks.add({first, count}) : blocks.remove({first, count}), changed);
    ASSERT_EQ(blocks.count(), numbers.size());
  }
  std::set<uint64_t> listed;
  uint64_t end = 0;
  for (const BlockRange& run : blocks.runs({0, kSize})) {
    EXPECT_TRUE(run.first > end || listed.empty()) << "runs neither touch nor overlap";
    for (uint64_t block = run.first; block < run.end(); ++block) listed.insert(block);
    end = run.end();
  }
  EXPECT_EQ(listed, numbers);
  for (int probe = 0; probe < 2000; ++probe) {
    const uint64_t block = random() % kSize;
    EXPECT_EQ(blocks.contains(block), numbers.contains(block));
    const auto next = blocks.next(block, 64);
    const auto expected = numbers.lower_bound(block);
    ASSERT_EQ(next.has_value(), expected != numbers.end());
    if (!next) continue;
    EXPECT_EQ(next->first, *expected);
    EXPECT_LE(next->count, 64u);
  }
}

TEST(BlockSet, RunsCrossPages) {
  BlockSet blocks;
  blocks.add({kBitmapPageBlocks - 3, 10});
  EXPECT_EQ(*blocks.next(0, 100), (BlockRange{kBitmapPageBlocks - 3, 10}));
  EXPECT_EQ(*blocks.next(kBitmapPageBlocks - 1, 5), (BlockRange{kBitmapPageBlocks - 1, 5}));
  EXPECT_EQ(blocks.runs({kBitmapPageBlocks - 2, 4}), (std::vector<BlockRange>{{kBitmapPageBlocks - 2, 4}}));
}

TEST(DirtyMap, APageIsDurableOnlyAfterItsBatch) {
  constexpr uint64_t kExtent = kBitmapPageBlocks / kExtentBlocks;  // the first of page 1
  DirtyMap dirty(4 * kBitmapPageBlocks, {});
  EXPECT_TRUE(dirty.extent_durable(kExtent));
  dirty.mark({kBitmapPageBlocks + 5, 3});
  EXPECT_FALSE(dirty.extent_durable(kExtent));
  EXPECT_FALSE(dirty.batch_wanted()) << "nobody waits";
  dirty.want_page(1);
  ASSERT_TRUE(dirty.batch_wanted());
  const auto batch = dirty.begin_batch();
  ASSERT_EQ(batch.size(), 1u);
  EXPECT_EQ(batch.at(1), (std::vector<BlockRange>{{kBitmapPageBlocks + 5, 3}}));
  EXPECT_FALSE(dirty.extent_durable(kExtent));
  dirty.mark({kBitmapPageBlocks + 9, 1});  // while it is being written
  dirty.mark({kBitmapPageBlocks + 3 * kExtentBlocks, 1});
  dirty.end_batch(true);
  EXPECT_TRUE(dirty.extent_durable(kExtent + 1));
  EXPECT_FALSE(dirty.extent_durable(kExtent + 3));
  EXPECT_FALSE(dirty.extent_durable(kExtent));
  dirty.want_page(1);
  dirty.begin_batch();
  dirty.end_batch(false);
  EXPECT_FALSE(dirty.extent_durable(kExtent));
  EXPECT_TRUE(dirty.batch_wanted()) << "a failed batch is tried again";
  dirty.begin_batch();
  dirty.end_batch(true);
  EXPECT_TRUE(dirty.extent_durable(kExtent));
}

TEST(DirtyMap, APageThatIsClearAgainNeedsNoWrite) {
  DirtyMap dirty(4 * kBitmapPageBlocks, {{7, 2}});
  dirty.mark({2 * kBitmapPageBlocks, 4});
  dirty.unmark({2 * kBitmapPageBlocks, 4});
  EXPECT_TRUE(dirty.all_durable()) << "on disk it never had a bit";
  dirty.unmark_all();
  EXPECT_FALSE(dirty.all_durable());
  dirty.want_all();
  EXPECT_TRUE(dirty.begin_batch().at(0).empty());
  dirty.end_batch(true);
  EXPECT_TRUE(dirty.all_durable());
}

}  // namespace
}  // namespace baton::mirror
