// Maintenance: discard, grow and backup of one copy, step by step. docs/protocol.md, M1-M3.
#include "src/core/mirror/maintenance.h"

#include <gtest/gtest.h>

#include "src/core/mirror/copy_bench.h"

namespace baton::mirror {
namespace {

std::string refused(const Bench& bench) {
  const auto refusal = bench.last<RoleRefused>();
  return refusal ? refusal->request : "not refused";
}

/// A secondary that knows the cluster's record.
void know(Bench& bench, bool listed, bool with_peer, bool broken = false) {
  bench.state_.permit = Permit{1};
  bench.state_.holder = ServerId{2};
  bench.state_.broken = broken;
  std::map<ServerId, Incarnation> set;
  if (listed) set[ServerId{1}] = bench.own();
  if (with_peer) set[ServerId{2}] = kPeerIncarnation;
  bench.commit(set);
}

TEST(Maintenance, ADiscardedCopyIsBlankAndOutOfTheSet) {
  StoredCopy stored = written_copy();
  stored.superblock.ancestors = {{1, 1}};
  Bench bench(stored);
  bench.serve();
  know(bench, true, true);
  const Incarnation before = bench.own();
  bench.feed(Discard{});
  EXPECT_TRUE(bench.last<CloseLink>()) << "its primary must not take it for what it was";
  EXPECT_FALSE(bench.last<Discarded>()) << "not on disk yet";
  bench.finish_all();
  EXPECT_TRUE(bench.last<Discarded>());
  const Superblock& superblock = bench.stored_.superblock;
  EXPECT_EQ(superblock.generation, Generation{});
  EXPECT_TRUE(superblock.ancestors.empty());
  EXPECT_FALSE(superblock.consistent);
  EXPECT_GT(superblock.incarnation, before) << "S4";
}

TEST(Maintenance, ADiscardWaitsForTheDisk) {
  Bench bench(written_copy());
  bench.serve();
  know(bench, true, true);
  bench.receive(WriteData{1, {0, 1}, 1}, kPeerBuffer);
  bench.feed(Discard{});
  EXPECT_FALSE(bench.pending<PersistSuperblock>()) << "a write is under way";
  bench.finish_all();
  EXPECT_TRUE(bench.last<Discarded>());
}

TEST(Maintenance, TheOnlyCopyInSyncIsNeverDiscarded) {
  Bench bench(written_copy());
  bench.start();
  bench.finish_all();
  bench.feed(Discard{});
  EXPECT_EQ(refused(bench), "discard") << "the record is not known";
  bench.forget();
  know(bench, true, false);
  bench.feed(Discard{});
  EXPECT_EQ(refused(bench), "discard") << "M1";
  EXPECT_TRUE(bench.idle());
  bench.forget();
  know(bench, true, true);
  bench.feed(Discard{});
  EXPECT_EQ(refused(bench), "discard") << "the other one is not there";

  Bench served(written_copy());
  served.serve();
  know(served, true, false);
  served.feed(Discard{});
  EXPECT_EQ(refused(served), "discard") << "M1, whoever is connected";

  Bench primary(written_copy());
  primary.connect();
  primary.feed(Discard{});
  EXPECT_EQ(refused(primary), "discard") << "in use";
}

TEST(Maintenance, ADetachedCopyIsOfUseAgainOnceDiscarded) {
  StoredCopy stored = written_copy();
  stored.superblock.detached = true;
  stored.superblock.consistent = false;
  Bench bench(stored);
  bench.start();
  bench.finish_all();
  bench.link_up();
  bench.receive(Hello{MirrorProtocol::kC, Permit{1}, kBenchSize, {3, 3}, {}, {3, 3}});
  EXPECT_TRUE(bench.sent<HelloRefused>()) << "D1";
  know(bench, false, true);
  bench.feed(Discard{});
  bench.finish_all();
  ASSERT_TRUE(bench.last<Discarded>());
  bench.link_up();
  bench.receive(Hello{MirrorProtocol::kC, Permit{1}, kBenchSize, {3, 3}, {}, {3, 3}});
  bench.finish_all();
  EXPECT_TRUE(bench.sent<HelloReply>());
}

TEST(Maintenance, NewBlocksAreDirtyOnDiskBeforeTheSizeIs) {
  Bench bench(written_copy());
  bench.connect();
  bench.feed(Grow{kBenchSize + 512});
  ASSERT_TRUE(bench.pending<PersistBitmap>());
  EXPECT_FALSE(bench.pending<PersistSuperblock>()) << "M2";
  bench.finish_one();
  EXPECT_EQ(bench.stored_.dirty, (std::vector<BlockRange>{{kBenchSize, 512}}));
  EXPECT_FALSE(bench.last<Grown>());
  bench.finish_one();
  ASSERT_TRUE(bench.last<Grown>());
  EXPECT_EQ(bench.stored_.superblock.size_blocks, kBenchSize + 512);
  EXPECT_TRUE(bench.last<CloseLink>()) << "the next connection settles the new blocks";
}

TEST(Maintenance, ASecondaryGrowsWithoutDirtyBlocks) {
  Bench bench(written_copy());
  bench.start();
  bench.finish_all();
  bench.feed(Grow{kBenchSize + 512});
  bench.finish_all();
  ASSERT_TRUE(bench.last<Grown>());
  EXPECT_TRUE(bench.stored_.dirty.empty());
  bench.forget();
  bench.feed(Grow{kBenchSize + 512});
  EXPECT_TRUE(bench.last<Grown>()) << "repeated";
  bench.feed(Grow{kBenchSize});
  EXPECT_EQ(refused(bench), "grow") << "never smaller";
}

// The peer has everything but the new blocks, and says so just then.
TEST(Maintenance, BlocksGrownDuringTheEndOfACopyStayDirty) {
  Bench bench(written_copy());
  bench.start_and_promote();
  bench.link_up();
  bench.receive(bench.equal_peer());
  bench.run_until_sent<CopyEnd>();
  bench.feed(Grow{kBenchSize + 512});
  bench.receive(CopyEnded{kPeerIncarnation});
  bench.finish_all();
  EXPECT_EQ(bench.copy_->report().dirty_bytes, 512 * kBlockBytes) << "M2: nobody has sent or compared them";
}

TEST(Maintenance, ABackupIsOfACopyThatNobodyWrites) {
  Bench bench(written_copy());
  bench.serve();
  know(bench, false, true);
  bench.feed(Backup{true});
  EXPECT_EQ(refused(bench), "backup") << "not broken off";
  know(bench, false, true, true);
  bench.receive(WriteData{1, {0, 1}, 1}, kPeerBuffer);
  bench.feed(Backup{true});
  EXPECT_FALSE(bench.last<BackupReady>()) << "M3: a write is under way";
  bench.finish_all();
  ASSERT_TRUE(bench.last<BackupReady>());
  EXPECT_TRUE(bench.last<BackupReady>()->wanted);
  EXPECT_TRUE(bench.copy_->report().backup);

  bench.link_up();
  bench.receive(Hello{MirrorProtocol::kC, Permit{1}, kBenchSize, {2, 2}, {}, {2, 2}});
  EXPECT_TRUE(bench.sent<HelloRefused>()) << "serves no primary meanwhile";
  bench.give_permit(2);
  bench.feed(Promote{Permit{2}});
  EXPECT_EQ(refused(bench), "") << "is not promoted either";

  bench.feed(Backup{false});
  EXPECT_FALSE(bench.last<BackupReady>()->wanted);
  bench.feed(Promote{Permit{2}});
  bench.finish_all();
  EXPECT_TRUE(bench.last<Promoted>());
}

TEST(Maintenance, AnInconsistentCopyIsNoBackup) {
  StoredCopy stored = written_copy();
  stored.superblock.consistent = false;
  Bench bench(stored);
  bench.start();
  bench.finish_all();
  know(bench, false, true, true);
  bench.feed(Backup{true});
  EXPECT_EQ(refused(bench), "backup");
}

}  // namespace
}  // namespace baton::mirror
