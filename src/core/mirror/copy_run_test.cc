// CopyRun: what a copy sends, compares and counts as settled; verify and its repair; copies to disks of zeroes.
// docs/protocol.md, C5, C6, G2, G3, O1, "Rate of copies".
#include "src/core/mirror/copy_run.h"

#include <gtest/gtest.h>

#include "src/core/mirror/copy_bench.h"
#include "src/core/mirror/dirty_map.h"

namespace baton::mirror {
namespace {

/// A primary alone with dirty blocks, and its peer, that was away, back again: the copy has begun.
void come_back(Bench& bench, std::vector<BlockRange> dirty) {
  bench.stored_.dirty = std::move(dirty);
  bench.start_and_promote();
  bench.forget();
  bench.link_up();
  bench.receive(bench.equal_peer());
  ASSERT_TRUE(bench.sent<CopyBegin>());
  bench.receive(CopyBegun{});
  ASSERT_EQ(bench.copy_->report().link, MirrorLink::kCopying);
}

TEST(CopyRun, OnlyWhatIsDirtyIsSent) {
  Bench bench(written_copy());
  come_back(bench, {{10, 3}, {1000, 1}});
  bench.run_until_sent<CopyEnd>();
  std::vector<BlockRange> sent;
  for (const WriteData& write : bench.all_sent<WriteData>()) sent.push_back(write.range);
  EXPECT_EQ(sent, (std::vector<BlockRange>{{10, 3}, {1000, 1}}));
  EXPECT_TRUE(bench.all_sent<HashRequest>().empty());
  EXPECT_EQ(bench.copy_->report().copy, CopyKind::kFast);
  EXPECT_EQ(bench.copy_->report().copy_sent_bytes, 4 * kBlockBytes);
  bench.answer_peer();
  ASSERT_TRUE(bench.last<ProposeInSync>()) << "S3";
  EXPECT_EQ(bench.last<ProposeInSync>()->in_sync.size(), 2u);
}

TEST(CopyRun, ZeroesAreNotSent) {
  Bench bench(written_copy());
  bench.here_is_zero_ = true;
  come_back(bench, {{10, 3}});
  bench.run_until_sent<CopyEnd>();
  EXPECT_TRUE(bench.all_sent<WriteData>().empty());
  ASSERT_TRUE(bench.sent<ZeroData>());
  EXPECT_EQ(bench.sent<ZeroData>()->range, (BlockRange{10, 3}));
  EXPECT_TRUE(bench.sent<ZeroData>()->unmap);
  EXPECT_EQ(bench.copy_->report().copy_zero_bytes, 3 * kBlockBytes);
}

TEST(CopyRun, SuspectsAreComparedAndOnlyDifferencesSent) {
  Bench bench(written_copy());
  bench.stored_.activity = {2};
  bench.there_differs_ = {{2 * kExtentBlocks + 5, 2}};
  come_back(bench, {});
  bench.run_until_sent<CopyEnd>();
  ASSERT_EQ(bench.all_sent<WriteData>().size(), 1u);
  EXPECT_EQ(bench.sent<WriteData>()->range, (BlockRange{2 * kExtentBlocks + 5, 2}));
  uint64_t compared = 0;
  for (const HashRequest& request : bench.all_sent<HashRequest>()) compared += request.range.count;
  EXPECT_EQ(compared, kExtentBlocks) << "C5";
}

TEST(CopyRun, Trap9ABitIsClearedOnlyWhenBothHaveFlushed) {
  Bench bench(written_copy());
  come_back(bench, {{10, 3}});
  for (int round = 0; round < 100 && !bench.sent<FlushPeer>(); ++round) {
    while (bench.pending<LocalRead>()) bench.finish<LocalRead>();
    const auto write = bench.sent<WriteData>();
    if (write && !bench.sent<FlushPeer>()) bench.receive(WriteDone{write->sequence, true});
    if (!bench.sent<FlushPeer>()) {
      bench.now_ += 2ms;
      bench.feed(Tick{});
    }
  }
  ASSERT_TRUE(bench.sent<FlushPeer>());
  EXPECT_EQ(bench.copy_->report().dirty_bytes, 3 * kBlockBytes) << "C6: it may be in the peer's cache only";
  bench.receive(FlushPeerDone{bench.sent<FlushPeer>()->sequence, true});
  EXPECT_EQ(bench.copy_->report().dirty_bytes, 3 * kBlockBytes) << "C6: this disk may forget its version, too";
  bench.finish_all();
  EXPECT_EQ(bench.copy_->report().dirty_bytes, 0u);
}

TEST(CopyRun, ALostLinkLeavesWhatWasNotFlushedDirty) {
  Bench bench(written_copy());
  come_back(bench, {{10, 3}});
  for (int round = 0; round < 100 && !bench.sent<WriteData>(); ++round) {
    bench.finish_all();
    bench.now_ += 2ms;
    bench.feed(Tick{});
  }
  bench.receive(WriteDone{bench.sent<WriteData>()->sequence, true});
  bench.link_down();
  bench.finish_all();
  EXPECT_EQ(bench.copy_->report().dirty_bytes, 3 * kBlockBytes);
  EXPECT_EQ(bench.copy_->report().link, MirrorLink::kDown);
}

// ---- The client beside it ----

TEST(CopyRun, Trap8AWriteAndACopyOfTheSameBlocksTakeTurns) {
  Bench bench(written_copy());
  come_back(bench, {{10, 3}});
  for (int round = 0; round < 100 && !bench.pending<LocalRead>(); ++round) {
    bench.now_ += 2ms;
    bench.feed(Tick{});
  }
  ASSERT_TRUE(bench.pending<LocalRead>()) << "the copy reads";
  bench.write(1, 11);
  bench.finish_journal();
  EXPECT_FALSE(bench.pending<LocalWrite>()) << "O1: what the copy sends would be old";
  bench.finish<LocalRead>();
  EXPECT_FALSE(bench.pending<LocalWrite>());
  ASSERT_EQ(bench.all_sent<WriteData>().size(), 1u) << "the copy's";
  bench.receive(WriteDone{bench.sent<WriteData>()->sequence, true});
  bench.finish_journal();
  ASSERT_TRUE(bench.pending<LocalWrite>()) << "its turn has come";
  EXPECT_EQ(bench.all_sent<WriteData>().size(), 2u) << "and the peer gets it after the copy's";
  bench.lose_messages();
  bench.finish_all();
  EXPECT_FALSE(bench.completed(1));
  bench.receive(WriteDone{bench.sent<WriteData>()->sequence, true});
  bench.finish_all();
  EXPECT_TRUE(bench.completed(1));
}

TEST(CopyRun, Trap8ACopyWaitsForAWriteUnderWay) {
  Bench bench(written_copy());
  bench.stored_.dirty = {{10, 3}};
  bench.start_and_promote();
  bench.write(1, 11);
  bench.finish_journal();
  ASSERT_TRUE(bench.pending<LocalWrite>());
  bench.forget();
  bench.link_up();
  bench.receive(bench.equal_peer());
  bench.finish_journal();
  bench.receive(CopyBegun{});
  for (int round = 0; round < 10; ++round) {
    bench.now_ += 2ms;
    bench.feed(Tick{});
  }
  EXPECT_FALSE(bench.pending<LocalRead>()) << "O1: it could read the old value";
  bench.finish_all();
  EXPECT_TRUE(bench.sent<WriteData>());
}

TEST(CopyRun, Trap8EveryWriteGetsThroughWhileACopyRuns) {
  Bench bench(written_copy());
  come_back(bench, {{0, 4096}});
  RequestId next = 1;
  for (int round = 0; round < 2000 && !bench.sent<CopyEnd>(); ++round) {
    if (next <= 200) bench.write(next++, static_cast<uint64_t>(round) * 37 % 4096);
    bench.finish_all();
    if (!bench.sent<CopyEnd>()) bench.answer_peer();
    bench.now_ += 1ms;
    bench.feed(Tick{});
  }
  EXPECT_TRUE(bench.sent<CopyEnd>()) << "progress for the copy";
  bench.finish_all();
  for (RequestId id = 1; id < next; ++id) EXPECT_TRUE(bench.completed(id)) << id;
}

TEST(CopyRun, ARateIsKept) {
  Bench bench(written_copy());
  bench.stored_.dirty = {{0, 8192}};  // 32 MiB
  bench.start_and_promote();
  bench.feed(SetRate{10 << 20});
  bench.link_up();
  bench.receive(bench.equal_peer());
  const Instant begin = bench.now_;
  bench.run_until_sent<CopyEnd>();
  EXPECT_GT(bench.now_ - begin, 2900ms);
  EXPECT_LT(bench.now_ - begin, 3600ms);
  EXPECT_EQ(bench.copy_->report().rate_limit, uint64_t{10} << 20);
}

// ---- The end ----

TEST(CopyRun, TheTargetNeverHasAGenerationThatThisCopyCouldForget) {
  Bench bench(written_copy());
  bench.stored_.dirty = {{10, 3}};
  bench.start_and_promote();
  bench.link_up();
  bench.receive(bench.equal_peer());
  bench.receive(CopyBegun{});
  bench.write(1, 20);  // its acknowledgement needs a new generation: the peer has the present one
  bench.finish_all();
  bench.lose_messages();
  EXPECT_EQ(bench.stored_.superblock.generation.counter, 2u);
  bench.link_down();
  bench.finish<PersistSuperblock>(false);  // G1: the new generation is not on disk
  EXPECT_FALSE(bench.completed(1));
  bench.link_up();
  HelloReply peer = bench.equal_peer();
  peer.consistent = false;
  bench.receive(peer);
  bench.receive(CopyBegun{});
  for (int round = 0; round < 20; ++round) {
    while (bench.pending<LocalRead>()) bench.finish<LocalRead>();
    while (bench.pending<LocalFlush>()) bench.finish<LocalFlush>();
    bench.answer_peer();
    bench.now_ += 2ms;
    bench.feed(Tick{});
  }
  EXPECT_FALSE(bench.sent<CopyEnd>()) << "G3";
  bench.run_until_sent<CopyEnd>();
  EXPECT_EQ(bench.sent<CopyEnd>()->generation, bench.stored_.superblock.generation);
  EXPECT_EQ(bench.stored_.superblock.generation.counter, 3u);
}

TEST(CopyRun, Trap6AnEndThatComesTooLateClearsNothing) {
  Bench bench(written_copy());
  come_back(bench, {{10, 3}});
  bench.run_until_sent<CopyEnd>();
  bench.write(1, 300);  // goes to both, and is not flushed there
  bench.finish_all();
  const ConnectionId old = bench.connection_;
  bench.link_down();
  bench.feed(MessageReceived{old, CopyEnded{kPeerIncarnation}, 0});
  bench.finish_all();
  EXPECT_EQ(bench.copy_->report().dirty_bytes, kBlockBytes) << "C4";
  EXPECT_FALSE(bench.last<ProposeInSync>());
}

TEST(CopyRun, Trap6ABlockMarkedWhileItsPageIsWrittenStaysMarked) {
  DirtyMap map(kBenchSize, {{10, 3}});
  map.unmark({10, 3});
  map.want_all();
  ASSERT_EQ(map.begin_batch().at(0).size(), 0u) << "clean is on its way to the disk";
  map.mark({11, 1});
  map.end_batch(true);
  EXPECT_FALSE(map.extent_durable(0)) << "the disk says clean";
  map.want_all();
  ASSERT_TRUE(map.batch_wanted());
  EXPECT_EQ(map.begin_batch().at(0), (std::vector<BlockRange>{{11, 1}}));
}

// ---- Disks of zeroes ----

TEST(CopyRun, TwoNewDisksOfZeroesNeedNoFullCopy) {
  Bench bench;
  bench.settings_.zeroed_store = true;
  bench.start_and_promote();
  bench.write(1, 300);
  bench.finish_all();
  bench.forget();
  bench.link_up();
  HelloReply peer = bench.equal_peer();
  peer.generation = {0, 1};
  peer.ancestors.clear();
  bench.receive(peer);
  EXPECT_FALSE(bench.sent<CopyBegin>()) << "G2: first on this disk";
  ASSERT_TRUE(bench.pending<PersistSuperblock>());
  bench.finish_all();
  ASSERT_TRUE(bench.sent<CopyBegin>());
  const Generation own = bench.sent<CopyBegin>()->generation;
  EXPECT_EQ(own.counter, 0u);
  EXPECT_GT(own.random, 1u);
  EXPECT_EQ(bench.stored_.superblock.base, own);
  bench.run_until_sent<CopyEnd>();
  EXPECT_EQ(bench.sent<WriteData>()->range, (BlockRange{300, 1}));

  // Another new disk takes its place: what was sent to the first one it does not have.
  bench.link_down();
  bench.finish_all();
  bench.forget();
  bench.link_up();
  peer.incarnation = Incarnation{999};
  bench.receive(peer);
  ASSERT_TRUE(bench.sent<CopyBegin>());
  EXPECT_EQ(bench.sent<CopyBegin>()->kind, CopyKind::kFull) << "G2";
}

// ---- Verify ----

TEST(CopyRun, AVerifyFindsAndLeaves) {
  Bench bench(written_copy());
  bench.connect();
  bench.there_differs_ = {{500, 2}};
  bench.feed(StartVerify{});
  bench.run_until_sent<HashRequest>();
  for (int round = 0; round < 2000 && !bench.last<Verified>(); ++round) {
    bench.settle();
    bench.pass(5ms);
  }
  ASSERT_TRUE(bench.last<Verified>());
  EXPECT_EQ(bench.last<Verified>()->blocks, kBenchSize);
  EXPECT_EQ(bench.last<Verified>()->different, 2u);
  EXPECT_EQ(bench.last<Verified>()->repaired, 0u);
  EXPECT_TRUE(bench.all_sent<WriteData>().empty());
  EXPECT_TRUE(bench.last<Alerted>());
}

TEST(CopyRun, ARepairSendsWhatDiffersAndFlushesIt) {
  Bench bench(written_copy());
  bench.connect();
  bench.there_differs_ = {{500, 2}};
  bench.feed(StartVerify{true});
  for (int round = 0; round < 2000 && !bench.last<Verified>(); ++round) {
    bench.settle();
    bench.pass(5ms);
  }
  ASSERT_TRUE(bench.last<Verified>());
  EXPECT_EQ(bench.last<Verified>()->repaired, 2u);
  EXPECT_EQ(bench.sent<WriteData>()->range, (BlockRange{500, 2}));
  EXPECT_TRUE(bench.sent<FlushPeer>());
  EXPECT_EQ(bench.copy_->report().link, MirrorLink::kConnected);
}

void verify_to_the_end(Bench& bench) {
  bench.feed(StartVerify{});
  EXPECT_EQ(bench.copy_->report().copy_reason, "verify");
  for (int round = 0; round < 2000 && !bench.last<Verified>(); ++round) {
    bench.settle();
    bench.pass(5ms);
  }
  ASSERT_TRUE(bench.last<Verified>());
}

TEST(CopyRun, AVerifyLeavesNoTraceInTheReport) {
  Bench bench(written_copy());
  bench.connect();
  verify_to_the_end(bench);
  EXPECT_EQ(bench.copy_->report().copy_reason, "") << "there was no copy";
  EXPECT_EQ(bench.copy_->report().copy, CopyKind::kNone);
  EXPECT_EQ(bench.copy_->report().copy_total_bytes, 0u);
}

TEST(CopyRun, AfterAVerifyTheReportShowsTheLastCopyAgain) {
  Bench bench(written_copy());
  come_back(bench, {{10, 3}});
  bench.run_until_sent<CopyEnd>();
  bench.answer_peer();
  bench.commit_both();
  bench.settle();
  const MirrorReport before = bench.copy_->report();
  ASSERT_EQ(before.link, MirrorLink::kConnected);
  verify_to_the_end(bench);
  EXPECT_EQ(bench.copy_->report().copy_reason, before.copy_reason);
  EXPECT_EQ(bench.copy_->report().copy_total_bytes, 3 * kBlockBytes);
  EXPECT_EQ(bench.copy_->report().copy_sent_bytes, 3 * kBlockBytes);
}

TEST(CopyRun, AVerifyThatIsCutOffSaysSo) {
  Bench bench(written_copy());
  bench.connect();
  bench.feed(StartVerify{});
  bench.link_down();
  ASSERT_TRUE(bench.last<Verified>());
  EXPECT_NE(bench.last<Verified>()->failure, "");
  bench.forget();
  bench.feed(StartVerify{});
  EXPECT_NE(bench.last<Verified>()->failure, "") << "not connected";
}

}  // namespace
}  // namespace baton::mirror
