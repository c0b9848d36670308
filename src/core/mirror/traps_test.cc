// The traps of replicated block devices that no other test of this folder is named after: each is one that other
// systems fell into. docs/traps.md lists all of them.
#include <gtest/gtest.h>

#include "src/core/mirror/copy_bench.h"

namespace baton::mirror {
namespace {

// Eviction order: the evicted extent's bits are on disk before the log says that it is gone.
TEST(Traps, Trap4TheBitmapIsOnDiskBeforeTheLogForgets) {
  Bench bench(written_copy());
  bench.start_and_promote();
  bench.write(1, 300);
  bench.finish_all();
  bench.forget();
  bench.now_ += 2s;
  bench.feed(Tick{});
  ASSERT_TRUE(bench.pending<PersistBitmap>()) << "the extent is cold";
  EXPECT_FALSE(bench.pending<PersistActivity>()) << "C2";
  bench.finish<PersistBitmap>(false);
  EXPECT_FALSE(bench.pending<PersistActivity>()) << "C2: the bitmap is not there";
  bench.pass(5s);
  EXPECT_EQ(bench.stored_.dirty, (std::vector<BlockRange>{{300, 1}}));
  EXPECT_TRUE(bench.stored_.activity.empty());
}

TEST(Traps, Trap4AFullLogMakesRoomInThatOrder) {
  Bench bench(written_copy());
  bench.settings_.activity_capacity = 1;
  bench.start_and_promote();
  bench.write(1, 0);
  bench.finish_all();
  bench.write(2, 300);
  ASSERT_TRUE(bench.pending<PersistBitmap>());
  EXPECT_FALSE(bench.pending<PersistActivity>());
  bench.finish<PersistBitmap>();
  ASSERT_TRUE(bench.pending<PersistActivity>());
  EXPECT_EQ(bench.stored_.dirty, (std::vector<BlockRange>{{0, 1}}));
  EXPECT_FALSE(bench.pending<LocalWrite>()) << "C1";
  bench.finish_all();
  EXPECT_TRUE(bench.completed(2));
}

// The first acknowledgement without the peer: new generation and coverage are on disk before it.
TEST(Traps, Trap5TheFirstAcknowledgementAloneIsCovered) {
  Bench bench(written_copy());
  bench.connect();
  bench.write(1, 300);
  bench.settle();
  bench.link_down();
  bench.commit_alone();
  bench.forget();
  bench.write(2, 600);
  bench.finish<PersistActivity>();
  bench.finish<LocalWrite>();
  EXPECT_FALSE(bench.completed(2)) << "G1: the peer has this generation";
  ASSERT_TRUE(bench.pending<PersistSuperblock>());
  bench.finish<PersistSuperblock>(false);
  EXPECT_FALSE(bench.completed(2));
  bench.pass(500ms);
  EXPECT_TRUE(bench.completed(2));
  EXPECT_EQ(bench.stored_.superblock.generation.counter, 3u);
  EXPECT_EQ(bench.stored_.superblock.base, (Generation{2, 2}));
  EXPECT_EQ(bench.stored_.activity, (std::vector<uint64_t>{1, 2})) << "C1, C2";
}

TEST(Traps, Trap7OverlappingWritesAreHeld) {
  Bench bench(written_copy());
  bench.connect();
  bench.write(1, 0, 4);
  bench.write(2, 2, 4);
  bench.finish_journal();
  EXPECT_EQ(bench.all_sent<WriteData>().size(), 1u) << "O1";
  EXPECT_EQ(bench.count<LocalWrite>(), 1u);
  bench.finish_all();
  EXPECT_EQ(bench.count<LocalWrite>(), 1u) << "not on the peer's disk yet";
  bench.answer_peer();
  EXPECT_EQ(bench.count<LocalWrite>(), 2u);
  bench.settle();
  EXPECT_TRUE(bench.completed(1) && bench.completed(2));
}

// A promotion is no new generation: copies that are equal stay equal.
TEST(Traps, Trap11OnlyAWriteWithoutThePeerMakesANewGeneration) {
  Bench bench(written_copy());
  bench.start_and_promote();
  bench.read(1, 0);
  bench.flush(2);
  bench.finish_all();
  EXPECT_TRUE(bench.completed(1) && bench.completed(2));
  EXPECT_EQ(bench.stored_.superblock.generation, (Generation{2, 2}));
  bench.write(3, 0);
  bench.finish_all();
  EXPECT_EQ(bench.stored_.superblock.generation.counter, 3u);
  bench.write(4, 10);
  bench.finish_all();
  EXPECT_EQ(bench.stored_.superblock.generation.counter, 3u) << "once";

  Bench connected(written_copy());
  connected.connect();
  connected.write(1, 0);
  connected.settle();
  EXPECT_TRUE(connected.completed(1));
  EXPECT_EQ(connected.stored_.superblock.generation, (Generation{2, 2}));
}

// One stable buffer feeds both disks, and is nobody else's until both have it.
TEST(Traps, Trap13OneBufferFeedsBothCopies) {
  Bench bench(written_copy());
  bench.connect();
  bench.write(1, 300);
  bench.finish_journal();
  ASSERT_TRUE(bench.last<LocalWrite>());
  EXPECT_EQ(bench.last<LocalWrite>()->buffer, 1001u);
  ASSERT_TRUE(bench.last<SendMessage>());
  EXPECT_EQ(bench.last<SendMessage>()->buffer, 1001u);
  bench.finish_all();
  EXPECT_FALSE(bench.released(1001)) << "O3: the peer may still be sent it";
  bench.answer_peer();
  EXPECT_TRUE(bench.released(1001));
}

// After an unclean stop the copies may differ: reads come from one of them only.
TEST(Traps, Trap14ReadsComeFromOneCopyWhileTheyMayDiffer) {
  StoredCopy stored = written_copy();
  stored.superblock.clean = false;
  stored.activity = {1};
  Bench bench(stored);
  bench.start_and_promote();
  bench.link_up();
  bench.receive(bench.equal_peer());
  bench.receive(CopyBegun{});
  for (RequestId id = 1; id <= 20; ++id) {
    bench.read(id, 300);
    while (bench.pending<LocalRead>()) bench.finish<LocalRead>();
    EXPECT_TRUE(bench.completed(id));
  }
  EXPECT_FALSE(bench.sent<ReadPeer>());
  bench.read(21, 600);
  bench.finish<LocalRead>(false);
  EXPECT_TRUE(bench.completed(21, false)) << "rather an error than the other version";
  EXPECT_FALSE(bench.sent<ReadPeer>());
}

TEST(Traps, Trap14AConnectedPairReadsHereAlone) {
  Bench bench(written_copy());
  bench.connect();
  for (RequestId id = 1; id <= 20; ++id) bench.read(id, id * 100);
  bench.finish_all();
  EXPECT_FALSE(bench.sent<ReadPeer>());
  EXPECT_TRUE(bench.completed(20));
}

}  // namespace
}  // namespace baton::mirror
