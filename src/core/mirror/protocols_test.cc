// Protocols A and B: when a write is answered, what a flush promises, in which order the peer writes, and what a lost
// link leaves covered. docs/protocol.md, A1-A4, C3, C4.
#include <gtest/gtest.h>

#include "src/core/mirror/copy_bench.h"

namespace baton::mirror {
namespace {

Bench bench_of(MirrorProtocol protocol) { return Bench(written_copy(), protocol); }

// ---- When a write is answered ----

TEST(Protocols, CAnswersWhenItIsOnBothDisks) {
  Bench bench = bench_of(MirrorProtocol::kC);
  bench.connect();
  bench.write(1, 0);
  bench.finish_all();
  bench.receive(WriteReceived{bench.sent<WriteData>()->sequence});
  EXPECT_FALSE(bench.completed(1));
  bench.answer_peer();
  EXPECT_TRUE(bench.completed(1));
  EXPECT_EQ(bench.copy_->report().lag_bytes, 0u);
}

TEST(Protocols, BAnswersWhenThePeerHasReceivedIt) {
  Bench bench = bench_of(MirrorProtocol::kB);
  bench.connect();
  bench.write(1, 0);
  bench.finish_journal();
  const uint64_t sequence = bench.sent<WriteData>()->sequence;
  bench.receive(WriteReceived{sequence});
  EXPECT_FALSE(bench.completed(1)) << "not on this disk yet";
  bench.finish_all();
  EXPECT_TRUE(bench.completed(1));
  EXPECT_EQ(bench.copy_->report().lag_bytes, kBlockBytes);
  bench.receive(WriteDone{sequence, true});
  EXPECT_EQ(bench.copy_->report().lag_bytes, 0u);
  bench.write(2, 10);
  bench.finish_all();
  EXPECT_FALSE(bench.completed(2)) << "on this disk, but the peer has said nothing";
  bench.receive(WriteReceived{bench.sent<WriteData>()->sequence});
  EXPECT_TRUE(bench.completed(2));
}

TEST(Protocols, AAnswersWhenItIsOnThisDisk) {
  Bench bench = bench_of(MirrorProtocol::kA);
  bench.connect();
  bench.write(1, 0);
  bench.finish_journal();
  EXPECT_FALSE(bench.completed(1));
  bench.finish<LocalWrite>();
  EXPECT_TRUE(bench.completed(1));
  EXPECT_TRUE(bench.sent<WriteData>()) << "queued to the peer";
  bench.settle();
  EXPECT_EQ(bench.copy_->report().lag_bytes, 0u);
}

TEST(Protocols, AAnswersEarlyOnlyOutsideTheSet) {
  Bench bench = bench_of(MirrorProtocol::kA);
  bench.start_and_promote(true);
  bench.link_up();
  bench.receive(bench.equal_peer());
  EXPECT_EQ(bench.last<ProposeInSync>()->in_sync.size(), 1u) << "A1: the peer leaves the set although it is there";
  bench.write(1, 0);
  bench.finish_all();
  EXPECT_FALSE(bench.completed(1)) << "the set still names the peer";
  bench.commit_alone();
  bench.write(2, 10);
  bench.finish_all();
  EXPECT_TRUE(bench.completed(2));
  bench.settle();
  EXPECT_TRUE(bench.completed(1));
}

TEST(Protocols, WritesWaitWhenThePeerLagsTooFar) {
  Bench bench = bench_of(MirrorProtocol::kA);
  bench.settings_.send_limit_blocks = 8;
  bench.connect();
  bench.write(1, 0, 8);
  bench.finish_all();
  bench.write(2, 100, 8);
  bench.finish_all();
  EXPECT_TRUE(bench.completed(1) && bench.completed(2)) << "the limit may be passed once";
  bench.write(3, 200, 8);
  bench.finish_all();
  EXPECT_FALSE(bench.completed(3));
  bench.answer_peer();
  EXPECT_TRUE(bench.completed(3));
}

// ---- Flushes ----

// A flush that stands for one disk only is a lie.
TEST(Protocols, Trap1AFlushIsOfBothDisksUnderBAndC) {
  for (const MirrorProtocol protocol : {MirrorProtocol::kB, MirrorProtocol::kC}) {
    Bench bench = bench_of(protocol);
    bench.connect();
    bench.flush(1);
    ASSERT_TRUE(bench.sent<FlushPeer>());
    bench.finish_all();
    EXPECT_FALSE(bench.completed(1)) << "the peer has not flushed";
    bench.answer_peer();
    EXPECT_TRUE(bench.completed(1));
    bench.flush(2);
    bench.answer_peer();
    EXPECT_FALSE(bench.completed(2)) << "this disk has not flushed";
    bench.finish_all();
    EXPECT_TRUE(bench.completed(2));
  }
}

TEST(Protocols, AForcedWriteIsFlushedOnBothDisksUnderBAndC) {
  for (const MirrorProtocol protocol : {MirrorProtocol::kB, MirrorProtocol::kC}) {
    Bench bench = bench_of(protocol);
    bench.connect();
    bench.write(1, 0, 1, true);
    bench.finish_all();
    bench.receive(WriteReceived{bench.sent<WriteData>()->sequence});
    EXPECT_FALSE(bench.sent<FlushPeer>()) << "it is not written there yet";
    bench.answer_peer();
    ASSERT_TRUE(bench.pending<LocalFlush>());
    EXPECT_FALSE(bench.completed(1));
    bench.settle();
    EXPECT_TRUE(bench.completed(1));
    EXPECT_TRUE(bench.sent<FlushPeer>());
  }
}

TEST(Protocols, AFlushIsLocalUnderA) {
  Bench bench = bench_of(MirrorProtocol::kA);
  bench.connect();
  bench.write(1, 0, 1, true);
  bench.finish_all();
  EXPECT_TRUE(bench.completed(1));
  bench.flush(2);
  EXPECT_FALSE(bench.completed(2));
  bench.finish_all();
  EXPECT_TRUE(bench.completed(2)) << "the peer has answered nothing";
}

// ---- Order at the peer ----

TEST(Protocols, AWriteAfterAFlushCarriesAHigherEpoch) {
  for (const MirrorProtocol protocol : {MirrorProtocol::kA, MirrorProtocol::kB}) {
    Bench bench = bench_of(protocol);
    bench.connect();
    bench.write(1, 0);
    bench.write(2, 10);
    bench.settle();
    const uint64_t before = bench.sent<WriteData>()->epoch;
    bench.flush(3);
    bench.settle();
    bench.write(4, 20);
    bench.settle();
    EXPECT_GT(bench.sent<WriteData>()->epoch, before) << "A2";
    const auto writes = bench.all_sent<WriteData>();
    EXPECT_EQ(writes[0].epoch, writes[1].epoch) << "no flush between them";
    bench.write(5, 30, 1, true);
    bench.settle();
    const uint64_t forced = bench.sent<WriteData>()->epoch;
    bench.feed(ClientRequest{6, RequestKind::kZero, {40, 1}, 0});
    bench.finish_journal();
    EXPECT_GT(bench.sent<ZeroData>()->epoch, forced) << "FUA is a flush, too";
  }
}

TEST(Protocols, ThePeerFlushesBetweenEpochs) {
  for (const MirrorProtocol protocol : {MirrorProtocol::kA, MirrorProtocol::kB}) {
    Bench bench = bench_of(protocol);
    bench.serve();
    bench.receive(WriteData{1, {0, 1}, 1}, kPeerBuffer + 1);
    bench.receive(WriteData{2, {100, 1}, 2}, kPeerBuffer + 2);
    EXPECT_EQ(bench.all_sent<WriteReceived>().size(), protocol == MirrorProtocol::kB ? 2u : 0u);
    EXPECT_EQ(bench.count<LocalWrite>(), 1u) << "A2";
    bench.finish<LocalWrite>();
    ASSERT_TRUE(bench.pending<LocalFlush>()) << "written is not durable";
    EXPECT_EQ(bench.count<LocalWrite>(), 1u);
    bench.finish<LocalFlush>();
    EXPECT_EQ(bench.count<LocalWrite>(), 2u);
    bench.finish_all();
    EXPECT_EQ(bench.all_sent<WriteDone>().size(), 2u);
  }
}

TEST(Protocols, AfterAFailedWriteThePeerBeginsNothingOfALaterEpoch) {
  Bench peer(written_copy(), MirrorProtocol::kA);
  peer.serve();
  peer.receive(WriteData{1, {0, 1}, 1}, kPeerBuffer);
  peer.receive(WriteData{2, {100, 1}, 2}, kPeerBuffer + 1);
  peer.finish<LocalWrite>(false);
  peer.receive(WriteData{3, {200, 1}, 2}, kPeerBuffer + 2);
  peer.finish_all();
  EXPECT_EQ(peer.count<LocalWrite>(), 1u);
  EXPECT_EQ(peer.all_sent<WriteDone>().size(), 3u) << "answered all the same";
}

TEST(Protocols, CHasNoEpochsAtThePeer) {
  Bench bench = bench_of(MirrorProtocol::kC);
  bench.serve();
  bench.receive(WriteData{1, {0, 1}, 1}, kPeerBuffer + 1);
  bench.receive(WriteData{2, {100, 1}, 2}, kPeerBuffer + 2);
  EXPECT_EQ(bench.count<LocalWrite>(), 2u) << "what it was flushed for was answered by both";
}

// The primary's lock is gone with its answer.
TEST(Protocols, Trap7OverlappingWritesKeepTheirOrderAtThePeer) {
  for (const MirrorProtocol protocol : {MirrorProtocol::kA, MirrorProtocol::kB}) {
    Bench bench = bench_of(protocol);
    bench.serve();
    bench.receive(WriteData{1, {0, 4}, 1}, kPeerBuffer + 1);
    bench.receive(WriteData{2, {2, 4}, 1}, kPeerBuffer + 2);
    bench.receive(HashRequest{3, {0, 8}});
    EXPECT_EQ(bench.count<LocalWrite>(), 1u) << "A3";
    bench.finish<LocalWrite>();
    EXPECT_EQ(bench.count<LocalWrite>(), 2u);
    EXPECT_FALSE(bench.pending<LocalRead>());
    bench.finish<LocalWrite>();
    EXPECT_TRUE(bench.pending<LocalRead>());
  }
}

// A1: what it has received it writes, connection or not, before it is promoted or serves another one.
TEST(Protocols, WhatThePeerHasReceivedIsWrittenBeforeItIsPromoted) {
  Bench bench = bench_of(MirrorProtocol::kB);
  bench.serve();
  bench.receive(WriteData{1, {0, 1}, 1}, kPeerBuffer + 1);
  bench.receive(WriteData{2, {0, 1}, 2}, kPeerBuffer + 2);
  bench.link_down();
  bench.give_permit(2);
  bench.feed(Promote{Permit{2}});
  EXPECT_FALSE(bench.pending<PersistSuperblock>()) << "O2";
  bench.finish<LocalWrite>();
  bench.finish<LocalFlush>();
  EXPECT_FALSE(bench.pending<PersistSuperblock>()) << "the second one waited for its epoch";
  ASSERT_TRUE(bench.pending<LocalWrite>());
  EXPECT_EQ(bench.last<LocalWrite>()->buffer, kPeerBuffer + 2);
  bench.finish_all();
  EXPECT_TRUE(bench.last<Promoted>());
}

// ---- The loss of the link ----

// What was answered is not durable, and under A and B not even written, at the peer.
TEST(Protocols, Trap2AnsweredWritesBecomeDirtyWithTheLink) {
  for (const MirrorProtocol protocol : {MirrorProtocol::kA, MirrorProtocol::kB, MirrorProtocol::kC}) {
    Bench bench = bench_of(protocol);
    bench.connect();
    bench.write(1, 0);
    bench.settle();  // on both disks, not flushed
    bench.write(2, 300);
    bench.finish_all();
    bench.receive(WriteReceived{bench.sent<WriteData>()->sequence});
    EXPECT_EQ(bench.completed(2), protocol != MirrorProtocol::kC);
    bench.link_down();
    EXPECT_EQ(bench.copy_->report().dirty_bytes, 2 * kBlockBytes) << "C4";
    EXPECT_EQ(bench.copy_->report().lag_bytes, 0u);
  }
}

TEST(Protocols, AFlushedWriteIsNotDirtyAfterTheLink) {
  for (const MirrorProtocol protocol : {MirrorProtocol::kB, MirrorProtocol::kC}) {
    Bench bench = bench_of(protocol);
    bench.connect();
    bench.write(1, 0);
    bench.settle();
    bench.flush(2);
    bench.settle();
    bench.link_down();
    EXPECT_EQ(bench.copy_->report().dirty_bytes, 0u);
  }
}

// The log lets an extent go only when the peer's disk has it, too, however long ago it was answered.
TEST(Protocols, Trap3AnAnsweredWriteKeepsItsExtentUntilThePeerHasFlushed) {
  for (const MirrorProtocol protocol : {MirrorProtocol::kA, MirrorProtocol::kB, MirrorProtocol::kC}) {
    Bench bench = bench_of(protocol);
    bench.settings_.peer_timeout = 60s;
    bench.settings_.link_timeout = 60s;
    bench.connect();
    bench.write(1, 300);
    bench.finish_all();
    bench.receive(WriteReceived{bench.sent<WriteData>()->sequence});
    bench.pass(5s);
    EXPECT_EQ(bench.stored_.activity, std::vector<uint64_t>{1}) << "the peer has not written it";
    bench.receive(WriteDone{bench.sent<WriteData>()->sequence, true});
    bench.lose_messages();
    bench.pass(500ms);
    EXPECT_EQ(bench.stored_.activity, std::vector<uint64_t>{1}) << "C3: nobody has flushed it";
    for (int second = 0; second < 10; ++second) {
      bench.pass(1s);
      bench.settle();
      const auto flush = bench.sent<FlushPeer>();
      if (flush) bench.receive(FlushPeerDone{flush->sequence, true});
    }
    EXPECT_TRUE(bench.stored_.activity.empty()) << "it comes to rest";
  }
}

// ---- Takeover by a copy that is a little behind (A5) ----

constexpr Duration kMaxLag = 1s;

/// Connected under protocol A, and the record names the peer.
void trail(Bench& bench) {
  bench.settings_.max_lag = kMaxLag;
  bench.settings_.peer_timeout = 60s;
  bench.settings_.link_timeout = 60s;
  bench.start_and_promote(true);
  bench.link_up();
  bench.receive(bench.equal_peer());
  ASSERT_TRUE(bench.last<ProposeInSync>());
  EXPECT_EQ(bench.last<ProposeInSync>()->in_sync.size(), 1u);
  EXPECT_EQ(bench.last<ProposeInSync>()->trailing, (std::map<ServerId, Incarnation>{{ServerId{2}, kPeerIncarnation}}));
  bench.state_.trailing = bench.last<ProposeInSync>()->trailing;
  bench.commit_alone();
  bench.settle();
  ASSERT_EQ(bench.copy_->report().link, MirrorLink::kConnected);
  bench.forget();
}

void release(Bench& bench) {
  ASSERT_TRUE(bench.last<ProposeInSync>());
  EXPECT_TRUE(bench.last<ProposeInSync>()->trailing.empty());
  EXPECT_EQ(bench.last<ProposeInSync>()->in_sync.size(), 1u);
  bench.state_.trailing.clear();
  bench.commit_alone();
  bench.finish_all();
}

/// The peer answers whatever it is asked.
void follow(Bench& bench, Duration time) {
  for (const Instant end = bench.now_ + time; bench.now_ < end;) {
    bench.pass(50ms);
    bench.settle();
  }
}

TEST(Protocols, APeerThatFollowsStaysNamed) {
  Bench bench = bench_of(MirrorProtocol::kA);
  trail(bench);
  for (RequestId id = 1; id <= 50; ++id) {
    bench.write(id, id * 10);
    bench.finish_all();
    EXPECT_TRUE(bench.completed(id));
    follow(bench, 100ms);
  }
  EXPECT_FALSE(bench.last<ProposeInSync>());
  EXPECT_LT(bench.all_sent<FlushPeer>().size(), 25u) << "each max_lag / 4";
}

/// The first write's answer is too old; the next write waits until the peer has flushed what it lacked.
void expect_held_until_the_peer_follows(Bench& bench) {
  bench.pass(1100ms);
  EXPECT_TRUE(bench.sent<FlushPeer>());
  bench.write(2, 20);
  bench.finish_all();
  EXPECT_FALSE(bench.completed(2));
  follow(bench, 300ms);
  EXPECT_TRUE(bench.completed(2));
}

// What is in the peer's cache only is gone when it loses power, just taken over.
TEST(Protocols, WhatThePeerHasNotFlushedIsMissing) {
  Bench bench = bench_of(MirrorProtocol::kA);
  trail(bench);
  bench.write(1, 10);
  bench.settle();
  expect_held_until_the_peer_follows(bench);
}

TEST(Protocols, WhatThePeerHasNotEvenWrittenIsMissing) {
  Bench bench = bench_of(MirrorProtocol::kA);
  trail(bench);
  bench.write(1, 10);
  bench.finish_all();
  expect_held_until_the_peer_follows(bench);
}

TEST(Protocols, NoWriteIsAnsweredWhileAPeerTooFarBehindMayTakeOver) {
  Bench bench = bench_of(MirrorProtocol::kA);
  trail(bench);
  bench.write(1, 10);
  bench.finish_all();
  EXPECT_TRUE(bench.completed(1));
  bench.pass(400ms);
  EXPECT_FALSE(bench.last<ProposeInSync>());
  bench.pass(200ms);
  ASSERT_TRUE(bench.last<ProposeInSync>()) << "half of max_lag";
  bench.write(2, 20);
  bench.finish_all();
  EXPECT_TRUE(bench.completed(2)) << "still within it";
  bench.pass(500ms);
  bench.write(3, 30);
  bench.flush(4);
  bench.finish_all();
  EXPECT_FALSE(bench.completed(3)) << "A5";
  EXPECT_TRUE(bench.completed(4)) << "a flush says nothing new";
  EXPECT_NE(bench.copy_->report().waiting.find("max_lag"), std::string::npos);
  release(bench);
  EXPECT_TRUE(bench.completed(3));
  EXPECT_EQ(bench.copy_->report().waiting, "");
}

TEST(Protocols, WhatIsAnsweredWithoutThePeerCountsFromTheOldestThatItLacks) {
  Bench bench = bench_of(MirrorProtocol::kA);
  trail(bench);
  bench.write(1, 10);
  bench.finish_all();
  bench.pass(300ms);
  bench.link_down();
  bench.write(2, 20);
  bench.finish_all();
  EXPECT_TRUE(bench.completed(2)) << "a moment without the connection costs nothing";
  EXPECT_FALSE(bench.last<ProposeInSync>());
  bench.pass(800ms);
  bench.write(3, 30);
  bench.finish_all();
  EXPECT_FALSE(bench.completed(3)) << "A5: 1.1 s since the first";
  release(bench);
  EXPECT_TRUE(bench.completed(3));
}

TEST(Protocols, ACopyToANamedPeerWaitsUntilItIsNotNamed) {
  Bench bench = bench_of(MirrorProtocol::kA);
  trail(bench);
  bench.link_down();
  bench.write(1, 10);
  bench.finish_all();
  bench.link_up();
  bench.receive(bench.equal_peer());
  bench.finish_all();
  EXPECT_FALSE(bench.sent<CopyBegin>()) << "it would be inconsistent, and may be taking over just now";
  release(bench);
  EXPECT_TRUE(bench.sent<CopyBegin>());
}

TEST(Protocols, AnIdlePrimaryKeepsItsPeerNamedWithoutAConnection) {
  Bench bench = bench_of(MirrorProtocol::kA);
  trail(bench);
  bench.link_down();
  bench.pass(60s);
  EXPECT_FALSE(bench.last<ProposeInSync>()) << "it lacks nothing";
  bench.write(1, 10);
  bench.finish_all();
  EXPECT_TRUE(bench.completed(1));
}

TEST(Protocols, APeerIsNamedAgainWhenItHasCaughtUp) {
  Bench bench = bench_of(MirrorProtocol::kA);
  trail(bench);
  bench.write(1, 10);
  bench.finish_all();
  bench.pass(600ms);
  release(bench);
  bench.forget();
  follow(bench, 4s);
  EXPECT_FALSE(bench.last<ProposeInSync>()) << "each change is a commit";
  follow(bench, 2s);
  ASSERT_TRUE(bench.last<ProposeInSync>());
  EXPECT_EQ(bench.last<ProposeInSync>()->trailing.size(), 1u);
  bench.write(2, 20);
  bench.finish_all();
  bench.pass(1100ms);
  bench.write(3, 30);
  bench.finish_all();
  EXPECT_FALSE(bench.completed(3)) << "A5: from the proposal on, whether it was heard of or not";
}

TEST(Protocols, NobodyIsNamedWhereItIsNotConfigured) {
  for (const MirrorProtocol protocol : {MirrorProtocol::kA, MirrorProtocol::kB, MirrorProtocol::kC}) {
    Bench bench = bench_of(protocol);
    if (protocol != MirrorProtocol::kA) bench.settings_.max_lag = kMaxLag;
    bench.settings_.link_timeout = 60s;
    bench.connect();
    bench.write(1, 10);
    bench.settle();
    follow(bench, 10s);
    EXPECT_FALSE(bench.last<ProposeInSync>());
  }
}

// ---- A new primary's disk (A6) ----

/// Asked to be primary, and its disk has not answered yet.
Bench asked_to_be_primary(MirrorProtocol protocol) {
  Bench bench = bench_of(protocol);
  bench.start();
  bench.finish_all();
  bench.give_permit(bench.stored_.superblock.permit.value + 1, false);
  bench.forget();
  bench.feed(Promote{bench.state_.permit});
  return bench;
}

TEST(Protocols, ANewPrimaryUnderAFlushesBeforeItIsExported) {
  Bench bench = asked_to_be_primary(MirrorProtocol::kA);
  ASSERT_TRUE(bench.last<LocalFlush>());
  EXPECT_FALSE(bench.last<Promoted>());
  bench.feed(OperationDone{bench.last<LocalFlush>()->operation, true});
  bench.finish_all();
  EXPECT_TRUE(bench.last<Promoted>());
}

TEST(Protocols, ACopyUnderAThatCannotFlushIsNotPromoted) {
  Bench bench = asked_to_be_primary(MirrorProtocol::kA);
  ASSERT_TRUE(bench.last<LocalFlush>());
  bench.feed(OperationDone{bench.last<LocalFlush>()->operation, false});
  bench.finish_all();
  EXPECT_FALSE(bench.last<Promoted>());
  EXPECT_EQ(bench.copy_->report().role, MirrorRole::kSecondary);
  ASSERT_TRUE(bench.last<RoleRefused>());
  EXPECT_NE(bench.last<RoleRefused>()->reason.find("failed to flush"), std::string::npos);
}

TEST(Protocols, AFlushOfAnEarlierAttemptDoesNotCount) {
  Bench bench = asked_to_be_primary(MirrorProtocol::kA);
  const LocalFlush first = *bench.last<LocalFlush>();
  bench.feed(Demote{});
  bench.forget();
  bench.feed(Promote{bench.state_.permit});
  ASSERT_TRUE(bench.last<LocalFlush>());
  bench.feed(OperationDone{first.operation, true});
  EXPECT_FALSE(bench.last<Promoted>());
  bench.finish_all();
  EXPECT_TRUE(bench.last<Promoted>());
}

TEST(Protocols, UnderBAndCFailoverWaitsForNoFlush) {
  for (const MirrorProtocol protocol : {MirrorProtocol::kB, MirrorProtocol::kC}) {
    Bench bench = asked_to_be_primary(protocol);
    EXPECT_FALSE(bench.last<LocalFlush>());
  }
}

// ---- Hand-over under A ----

TEST(Protocols, AHandOverUnderAReadmitsThePeerFirst) {
  Bench bench = bench_of(MirrorProtocol::kA);
  bench.connect();
  bench.write(1, 300);
  bench.finish_all();
  EXPECT_TRUE(bench.completed(1));
  bench.feed(Demote{});
  bench.finish_all();
  EXPECT_FALSE(bench.last<ProposeInSync>()) << "A4: the peer has not written and flushed everything";
  for (int round = 0; round < 20 && !bench.last<ProposeInSync>(); ++round) {
    bench.settle();
    bench.pass(10ms);
  }
  ASSERT_TRUE(bench.last<ProposeInSync>());
  EXPECT_EQ(bench.last<ProposeInSync>()->in_sync.size(), 2u);
  EXPECT_FALSE(bench.last<Demoted>());
  EXPECT_TRUE(bench.stored_.activity.empty());
  bench.commit_both();
  bench.settle();
  EXPECT_TRUE(bench.last<Demoted>());
  EXPECT_FALSE(bench.stored_.superblock.was_primary);
}

}  // namespace
}  // namespace baton::mirror
