// ActivityLog: batches, room for writes over several extents, suspects.
#include "src/core/mirror/activity_log.h"

#include <gtest/gtest.h>

namespace baton::mirror {
namespace {

constexpr Instant kNow{Duration::zero()};

TEST(ActivityLog, AnExtentIsDurableWithItsBatch) {
  ActivityLog log(4, {});
  const auto batch = log.use({0, 1}, kNow);
  ASSERT_TRUE(batch);
  EXPECT_FALSE(log.durable(*batch));
  ASSERT_TRUE(log.batch_wanted());
  EXPECT_EQ(log.begin_batch(), std::vector<uint64_t>{0});
  const auto later = log.use({kExtentBlocks, 1}, kNow);  // too late for the batch under way
  log.end_batch(true);
  EXPECT_TRUE(log.durable(*batch));
  EXPECT_FALSE(log.durable(*later));
  EXPECT_EQ(log.begin_batch(), (std::vector<uint64_t>{0, 1}));
  log.end_batch(false);
  EXPECT_FALSE(log.durable(*later));
  EXPECT_TRUE(log.batch_wanted());
}

TEST(ActivityLog, AWriteOverSeveralExtentsGetsAllOrNone) {
  ActivityLog log(2, {});
  ASSERT_TRUE(log.use({0, 1}, kNow));
  EXPECT_EQ(log.shortage({kExtentBlocks - 1, kExtentBlocks + 2}), 1u);
  EXPECT_FALSE(log.use({kExtentBlocks - 1, kExtentBlocks + 2}, kNow));
  EXPECT_EQ(log.size(), 1u);
  log.unuse({0, 1}, 7, kNow);
  log.cool(0);
  EXPECT_FALSE(log.use({kExtentBlocks - 1, kExtentBlocks + 2}, kNow)) << "three extents never fit into two";
  EXPECT_TRUE(log.use({kExtentBlocks, kExtentBlocks + 1}, kNow));
}

TEST(ActivityLog, SuspectsStayUntilSettled) {
  ActivityLog log(4, {3, 5});
  EXPECT_EQ(log.suspects(), 2u);
  ASSERT_TRUE(log.use({3 * kExtentBlocks, 1}, kNow));
  log.unuse({3 * kExtentBlocks, 1}, 1, kNow);
  log.cool(3);
  EXPECT_EQ(log.suspect_list(), (std::vector<uint64_t>{3, 5}));
  ASSERT_TRUE(log.use({3 * kExtentBlocks, 1}, kNow));
  log.clear_suspects();
  EXPECT_EQ(log.suspects(), 0u);
  EXPECT_EQ(log.begin_batch(), std::vector<uint64_t>{3}) << "in use";
}

TEST(ActivityLog, SuspectsCanBeTakenOverByTheBitmap) {
  ActivityLog log(4, {1, 2, 3});
  EXPECT_EQ(log.take_suspects(2), (std::vector<uint64_t>{1, 2}));
  EXPECT_EQ(log.suspects(), 1u);
  EXPECT_EQ(log.recency().size(), 2u);
  log.become_suspects();
  EXPECT_EQ(log.suspects(), 3u);
  EXPECT_TRUE(log.recency().empty());
}

}  // namespace
}  // namespace baton::mirror
