// Disk errors of either copy: detach, repaired reads, a secondary that drops out, slow peers and disks.
// docs/protocol.md, D1-D4.
#include <gtest/gtest.h>

#include "src/core/mirror/copy_bench.h"

namespace baton::mirror {
namespace {

Detached detached_reply() { return Detached{{3, 33}, {{2, 2}}}; }

/// A connected primary whose disk fails at this write, which the peer has carried out.
void fail_write(Bench& bench, RequestId id, uint64_t first) {
  bench.write(id, first);
  bench.finish_journal();
  bench.answer_peer();
  bench.finish<LocalWrite>(false);
}

/// ... and that has handed the data over to the peer.
void detach(Bench& bench) {
  fail_write(bench, 1, 0);
  bench.receive(detached_reply());
  bench.commit_peer();
  bench.finish_all();
  ASSERT_TRUE(bench.completed(1));
  bench.forget();
}

// ---- D1 ----

TEST(DiskErrors, AConnectedPrimaryAnswersNothingUntilTheSetNamesThePeer) {
  Bench bench(written_copy());
  bench.connect();
  const Incarnation before = bench.own();
  fail_write(bench, 1, 0);
  EXPECT_TRUE(bench.sent<Detach>());
  EXPECT_TRUE(bench.last<Alerted>());
  EXPECT_FALSE(bench.last<AbortExport>()) << "the service goes on";
  bench.finish_all();
  EXPECT_TRUE(bench.stored_.superblock.detached);
  EXPECT_FALSE(bench.stored_.superblock.consistent);
  EXPECT_GT(bench.stored_.superblock.incarnation, before) << "S4";
  bench.write(2, 300);
  bench.flush(3);
  bench.read(4, 900);
  bench.finish_all();
  EXPECT_FALSE(bench.sent<ReadPeer>()) << "D1: its data is not the data yet";
  EXPECT_FALSE(bench.last<ProposeInSync>()) << "the peer's new generation is not on its disk yet";
  bench.receive(detached_reply());
  ASSERT_TRUE(bench.last<ProposeInSync>());
  EXPECT_EQ(bench.last<ProposeInSync>()->in_sync, (std::map<ServerId, Incarnation>{{ServerId{2}, kPeerIncarnation}}));
  bench.settle();
  EXPECT_EQ(bench.count<CompleteRequest>(), 0u) << "D1";
  bench.commit_peer();
  bench.settle();
  for (RequestId id = 1; id <= 4; ++id) EXPECT_TRUE(bench.completed(id)) << id;
  EXPECT_TRUE(bench.copy_->report().detached);
}

TEST(DiskErrors, Trap17ADetachedPrimaryUsesThePeerAlone) {
  Bench bench(written_copy());
  bench.connect();
  detach(bench);
  bench.write(10, 5);
  bench.read(11, 100);
  bench.flush(12);
  EXPECT_TRUE(bench.idle()) << "nothing goes to the disk that failed";
  EXPECT_EQ(bench.count<CompleteRequest>(), 0u);
  EXPECT_TRUE(bench.sent<ReadPeer>());
  bench.answer_peer();
  EXPECT_TRUE(bench.completed(10) && bench.completed(11) && bench.completed(12));
  ASSERT_TRUE(bench.last<CopyBuffer>());
  EXPECT_EQ(bench.last<CopyBuffer>()->to, 1011u);
  EXPECT_TRUE(bench.released(bench.last<CopyBuffer>()->from));
}

TEST(DiskErrors, Trap17ADetachedPrimaryWithoutItsPeerIsNoPrimary) {
  Bench bench(written_copy());
  bench.connect();
  detach(bench);
  bench.write(10, 5);
  bench.link_down();
  EXPECT_TRUE(bench.last<AbortExport>());
  EXPECT_TRUE(bench.completed(10, false));
  bench.finish_all();
  EXPECT_TRUE(bench.stored_.superblock.detached);
  bench.give_permit(9);
  bench.forget();
  bench.feed(Promote{Permit{9}});
  EXPECT_TRUE(bench.last<RoleRefused>()) << "never promoted again";
}

TEST(DiskErrors, AForeignSetEndsADetachedPrimary) {
  Bench bench(written_copy());
  bench.connect();
  fail_write(bench, 1, 0);
  bench.commit_alone();  // with the incarnation of now: not what it proposed
  EXPECT_TRUE(bench.last<AbortExport>());
  EXPECT_TRUE(bench.completed(1, false));
}

TEST(DiskErrors, WithoutAConnectedPeerAFailedDiskIsTheEnd) {
  Bench bench(written_copy());
  bench.start_and_promote();
  bench.write(1, 0);
  bench.finish_journal();
  bench.finish<LocalWrite>(false);
  EXPECT_TRUE(bench.last<AbortExport>());
  EXPECT_TRUE(bench.completed(1, false));
  EXPECT_FALSE(bench.last<ProposeInSync>());
}

TEST(DiskErrors, AFlushThatFailsDetachesAndIsAnsweredByThePeers) {
  Bench bench(written_copy());
  bench.connect();
  bench.flush(1);
  bench.finish<LocalFlush>(false);
  EXPECT_TRUE(bench.sent<Detach>());
  bench.answer_peer();
  bench.receive(detached_reply());
  EXPECT_FALSE(bench.completed(1));
  bench.commit_peer();
  EXPECT_TRUE(bench.completed(1));
}

// The disk may still carry out what it was asked for: its buffer is not free before it has said so.
TEST(DiskErrors, Trap15ARequestThatTheFailedDiskStillHasKeepsItsBuffer) {
  Bench bench(written_copy());
  bench.connect();
  bench.write(1, 0);
  bench.write(3, 600);
  bench.finish_journal();
  bench.answer_peer();
  bench.finish<LocalWrite>(false);  // of request 1; that of 3 hangs
  bench.receive(detached_reply());
  bench.commit_peer();
  EXPECT_TRUE(bench.completed(1));
  EXPECT_TRUE(bench.released(1001));
  EXPECT_FALSE(bench.completed(3));
  EXPECT_FALSE(bench.released(1003)) << "in the disk's hands";
  bench.finish<LocalWrite>(false);
  EXPECT_TRUE(bench.completed(3)) << "the peer has it";
  EXPECT_TRUE(bench.released(1003));
}

TEST(DiskErrors, Trap15AnAbortedExportKeepsTheBuffersThatTheDiskHas) {
  Bench bench(written_copy());
  bench.connect();
  bench.write(1, 0);
  bench.finish_journal();
  bench.feed(Abort{"fenced"});
  EXPECT_TRUE(bench.completed(1, false));
  EXPECT_FALSE(bench.released(1001)) << "in the disk's hands";
  bench.finish_all();
  EXPECT_TRUE(bench.released(1001));
}

TEST(DiskErrors, ThePeerTakesANewGenerationBeforeItAnswersADetach) {
  Bench bench(written_copy());
  bench.serve();
  bench.receive(Detach{});
  EXPECT_FALSE(bench.sent<Detached>());
  bench.finish_all();
  ASSERT_TRUE(bench.sent<Detached>());
  const Superblock& superblock = bench.stored_.superblock;
  EXPECT_EQ(superblock.generation.counter, 3u) << "D1: what is written from here on, the other disk lacks";
  EXPECT_EQ(bench.sent<Detached>()->generation, superblock.generation);
  EXPECT_EQ(superblock.base, superblock.generation) << "no bitmap remembers what";
  EXPECT_EQ(superblock.ancestors, (std::vector<Generation>{{2, 2}}));
}

TEST(DiskErrors, AnUnfinishedTargetCannotTakeOver) {
  Bench bench(written_copy());
  bench.serve();
  bench.receive(CopyBegin{CopyKind::kFast, {}});
  bench.finish_all();
  bench.receive(Detach{});
  bench.finish_all();
  EXPECT_FALSE(bench.sent<Detached>());
  EXPECT_TRUE(bench.last<CloseLink>());
}

// ---- D2 ----

TEST(DiskErrors, AReadThatFailsIsAnsweredByThePeerAndRepaired) {
  Bench bench(written_copy());
  bench.connect();
  bench.read(1, 300, 2);
  bench.finish<LocalRead>(false);
  ASSERT_TRUE(bench.sent<ReadPeer>());
  EXPECT_EQ(bench.sent<ReadPeer>()->range, (BlockRange{300, 2}));
  EXPECT_TRUE(bench.last<Alerted>());
  EXPECT_FALSE(bench.completed(1, false));
  bench.answer_peer();
  ASSERT_TRUE(bench.last<CopyBuffer>());
  EXPECT_EQ(bench.last<CopyBuffer>()->to, 1001u);
  EXPECT_FALSE(bench.pending<LocalWrite>()) << "C1: the repair may tear these blocks";
  ASSERT_TRUE(bench.pending<PersistActivity>());
  bench.finish<PersistActivity>();
  EXPECT_EQ(bench.stored_.activity, std::vector<uint64_t>{1});
  ASSERT_TRUE(bench.pending<LocalWrite>());
  bench.read(3, 300);
  EXPECT_FALSE(bench.pending<LocalRead>()) << "O1: nobody reads what is being written";
  bench.write(2, 300);
  EXPECT_EQ(bench.all_sent<WriteData>().size(), 0u) << "O1: nobody writes there meanwhile";
  bench.finish<LocalWrite>();
  EXPECT_TRUE(bench.completed(1));
  bench.settle();
  EXPECT_TRUE(bench.completed(2));
  EXPECT_EQ(bench.copy_->report().read_errors, 1u);
}

TEST(DiskErrors, ARepairThatFailsDetaches) {
  Bench bench(written_copy());
  bench.connect();
  bench.read(1, 300);
  bench.finish<LocalRead>(false);
  bench.answer_peer();
  bench.finish<PersistActivity>();
  bench.finish<LocalWrite>(false);
  EXPECT_TRUE(bench.sent<Detach>()) << "D1";
  EXPECT_FALSE(bench.completed(1, false)) << "the data is at hand";
  bench.receive(detached_reply());
  bench.commit_peer();
  bench.settle();
  EXPECT_TRUE(bench.completed(1));
}

TEST(DiskErrors, AReadThatNobodyCanAnswerFails) {
  Bench alone(written_copy());
  alone.start_and_promote();
  alone.read(1, 300);
  alone.finish<LocalRead>(false);
  EXPECT_TRUE(alone.completed(1, false));
  EXPECT_TRUE(alone.last<Alerted>());

  Bench both(written_copy());
  both.connect();
  both.read(1, 300);
  both.finish<LocalRead>(false);
  both.answer_peer(false);
  EXPECT_TRUE(both.completed(1, false));
  both.forget();
  both.read(2, 300);
  both.finish<LocalRead>(false);
  both.link_down();
  EXPECT_TRUE(both.completed(2, false)) << "not for ever";
}

// ---- D3 ----

TEST(DiskErrors, ASecondaryWhoseDiskFailsDropsOut) {
  for (const MirrorProtocol protocol : {MirrorProtocol::kB, MirrorProtocol::kC}) {
    Bench bench(written_copy(), protocol);
    bench.serve();
    const Incarnation before = bench.own();
    bench.receive(WriteData{1, {0, 1}, 1}, kPeerBuffer);
    bench.finish<LocalWrite>(false);
    ASSERT_TRUE(bench.sent<WriteDone>());
    EXPECT_FALSE(bench.sent<WriteDone>()->ok);
    bench.finish_all();
    EXPECT_GT(bench.stored_.superblock.incarnation, before) << "S4: its receipt was enough for an answer (B)";
    EXPECT_NE(bench.copy_->report().problem, "");
    bench.link_up();
    bench.receive(Hello{protocol, Permit{1}, kBenchSize, {2, 2}, {}, {2, 2}});
    EXPECT_TRUE(bench.sent<HelloRefused>());
    bench.give_permit(2);
    bench.feed(Promote{Permit{2}});
    EXPECT_TRUE(bench.last<RoleRefused>());
  }
}

TEST(DiskErrors, ARejoinTakesTheSecondarysDiskForWellAgain) {
  Bench bench(written_copy());
  bench.serve();
  bench.receive(FlushPeer{1});
  bench.finish<LocalFlush>(false);
  EXPECT_FALSE(bench.sent<FlushPeerDone>()->ok);
  bench.finish_all();
  bench.state_.broken = true;
  bench.commit_peer();
  bench.state_.broken = false;
  bench.commit_peer();
  bench.forget();
  bench.link_up();
  bench.receive(Hello{MirrorProtocol::kC, Permit{1}, kBenchSize, {2, 2}, {}, {2, 2}});
  bench.finish_all();
  EXPECT_TRUE(bench.sent<HelloReply>());
}

// The device refuses every flush after one that failed, until it is told that the copy begins anew.
TEST(DiskErrors, ADiskThatFailedToFlushIsTriedAgainWithTheNextPrimary) {
  Bench bench(written_copy());
  bench.serve();
  bench.receive(FlushPeer{1});
  bench.finish<LocalFlush>(false);
  bench.finish_all();
  EXPECT_FALSE(bench.last<DiskRetried>());
  bench.pass(10s);
  bench.forget();
  bench.link_up();
  EXPECT_FALSE(bench.last<DiskRetried>());
  bench.receive(Hello{MirrorProtocol::kC, Permit{1}, kBenchSize, {2, 2}, {}, {2, 2}});
  bench.finish_all();
  EXPECT_TRUE(bench.sent<HelloReply>());
  EXPECT_EQ(bench.count<DiskRetried>(), 1u);
}

TEST(DiskErrors, ADiskThatFailedToFlushIsTriedAgainByItsPromotion) {
  Bench bench(written_copy());
  bench.serve();
  bench.receive(FlushPeer{1});
  bench.finish<LocalFlush>(false);
  bench.finish_all();
  bench.link_down();
  bench.give_permit(2);
  bench.state_.in_sync = {{ServerId{1}, bench.own()}};
  bench.give_permit(2);
  bench.feed(Promote{Permit{2}});
  EXPECT_TRUE(bench.last<RoleRefused>());
  EXPECT_FALSE(bench.last<DiskRetried>());
  bench.pass(10s);
  bench.forget();
  bench.feed(Promote{Permit{2}});
  EXPECT_FALSE(bench.last<RoleRefused>());
  EXPECT_TRUE(bench.last<DiskRetried>());
}

TEST(DiskErrors, AReadErrorAtTheSecondaryIsOnlySaid) {
  Bench bench(written_copy());
  bench.serve();
  bench.receive(HashRequest{7, {0, 8}});
  bench.finish<LocalRead>(false);
  ASSERT_TRUE(bench.sent<HashReply>());
  EXPECT_TRUE(bench.sent<HashReply>()->hashes.empty());
  EXPECT_TRUE(bench.last<Alerted>());
  bench.receive(WriteData{8, {0, 1}, 1}, kPeerBuffer);
  bench.finish_all();
  EXPECT_TRUE(bench.sent<WriteDone>()->ok);
}

TEST(DiskErrors, APrimaryPausesAPeerThatCannotWrite) {
  Bench bench(written_copy());
  bench.connect();
  bench.write(1, 0);
  bench.finish_all();
  bench.answer_peer(false);
  EXPECT_TRUE(bench.last<CloseLink>());
  EXPECT_FALSE(bench.last<WantLink>()->wanted);
  EXPECT_FALSE(bench.completed(1)) << "S2";
  bench.commit_alone();
  bench.finish_all();
  EXPECT_TRUE(bench.completed(1));
  bench.pass(11s);
  EXPECT_TRUE(bench.last<WantLink>()->wanted) << "tried again";
}

// ---- Slow is not dead ----

TEST(DiskErrors, ASlowPeerIsShownThenDropped) {
  Bench bench(written_copy());
  bench.connect();
  bench.write(1, 0);
  bench.finish_all();
  const auto live = [&](Duration time) {
    for (const Instant end = bench.now_ + time; bench.now_ < end;) {
      bench.pass(100ms);
      if (bench.copy_->report().link == MirrorLink::kConnected) bench.receive(Ping{});
    }
  };
  live(1s);
  EXPECT_EQ(bench.copy_->report().slow, "");
  live(1s);
  EXPECT_NE(bench.copy_->report().slow, "") << "a quarter of the time-out";
  EXPECT_EQ(bench.copy_->report().link, MirrorLink::kConnected);
  live(5s);
  EXPECT_TRUE(bench.last<CloseLink>());
  EXPECT_TRUE(bench.last<Alerted>());
  EXPECT_EQ(bench.copy_->report().dirty_bytes, kBlockBytes) << "C4";
}

/// The peer's daemon lives (its pings come), but what it was asked is never answered.
void hang(Bench& bench, Duration time) {
  bench.lose_messages();
  for (const Instant end = bench.now_ + time; bench.now_ < end;) {
    bench.pass(100ms);
    if (!bench.last<CloseLink>()) bench.receive(Ping{});
  }
}

/// Shown as slow, then dropped, then tried again.
void expect_slow_then_dropped(Bench& bench) {
  hang(bench, 1s);
  EXPECT_EQ(bench.copy_->report().slow, "");
  hang(bench, 1s);
  EXPECT_NE(bench.copy_->report().slow, "") << "a quarter of the time-out";
  EXPECT_FALSE(bench.last<CloseLink>());
  hang(bench, 5s);
  EXPECT_TRUE(bench.last<CloseLink>());
  EXPECT_TRUE(bench.last<Alerted>());
  EXPECT_NE(bench.copy_->report().problem, "");
  bench.pass(10s);
  EXPECT_TRUE(bench.last<WantLink>()->wanted);
}

TEST(DiskErrors, ASecondaryThatHangsAtTheHelloIsDropped) {
  Bench bench(written_copy());
  bench.start_and_promote();
  bench.forget();
  bench.link_up();
  ASSERT_TRUE(bench.sent<Hello>());
  expect_slow_then_dropped(bench);
}

/// The peer has been asked to take part in a copy.
Bench at_the_beginning_of_a_copy() {
  Bench bench(written_copy());
  bench.stored_.dirty = {{10, 3}};
  bench.start_and_promote();
  bench.forget();
  bench.link_up();
  bench.receive(bench.equal_peer());
  EXPECT_TRUE(bench.sent<CopyBegin>());
  return bench;
}

TEST(DiskErrors, ASecondaryThatHangsAtTheBeginningOfACopyIsDropped) {
  Bench bench = at_the_beginning_of_a_copy();
  expect_slow_then_dropped(bench);
}

TEST(DiskErrors, ASecondaryThatHangsAtTheEndOfACopyIsDropped) {
  Bench bench = at_the_beginning_of_a_copy();
  bench.receive(CopyBegun{});
  bench.run_until_sent<CopyEnd>();
  expect_slow_then_dropped(bench);
  EXPECT_FALSE(bench.last<ProposeInSync>()) << "S3: nothing was readmitted";
}

TEST(DiskErrors, AnAnsweredHandshakeIsNotTakenForASlowPeer) {
  Bench bench(written_copy());
  bench.stored_.dirty = {{10, 3}};
  bench.start_and_promote();
  bench.forget();
  bench.link_up();
  bench.receive(bench.equal_peer());
  bench.receive(CopyBegun{});
  bench.run_until_sent<CopyEnd>();
  bench.answer_peer();
  bench.commit_both();
  bench.settle();
  hang(bench, 20s);
  EXPECT_EQ(bench.copy_->report().slow, "");
  EXPECT_EQ(bench.copy_->report().link, MirrorLink::kConnected);
}

}  // namespace
}  // namespace baton::mirror
