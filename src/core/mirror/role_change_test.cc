// Forced promotions, and the last consistent state that a copy's target keeps beside its store. docs/protocol.md,
// G4, M4, O4. (Ordinary promotions: mirror_copy_test.cc.)
#include "src/core/mirror/role_change.h"

#include <gtest/gtest.h>

#include "src/core/mirror/copy_bench.h"

namespace baton::mirror {
namespace {

/// The target of an unfinished copy, which may have kept what it was.
StoredCopy unfinished(bool snapshot) {
  StoredCopy stored = written_copy();
  stored.superblock.consistent = false;
  stored.superblock.snapshot = snapshot;
  return stored;
}

void force(Bench& bench, uint64_t permit) {
  bench.state_.forced = ServerId{1};
  bench.give_permit(permit);
  bench.feed(Promote{Permit{permit}});
}

TEST(RoleChange, Trap10AnInconsistentCopyIsPromotedByAPersonOnly) {
  Bench bench(unfinished(false));
  bench.start();
  bench.finish_all();
  bench.give_permit(2);
  bench.feed(Promote{Permit{2}});
  EXPECT_TRUE(bench.last<RoleRefused>());
  EXPECT_TRUE(bench.idle());
  force(bench, 3);
  bench.finish_all();
  ASSERT_TRUE(bench.last<Promoted>());
  EXPECT_FALSE(bench.last<RevertToSnapshot>()) << "it has none";
  const Superblock& superblock = bench.stored_.superblock;
  EXPECT_EQ(superblock.generation.counter, 3u) << "G4";
  EXPECT_EQ(superblock.base, superblock.generation) << "G4: its bitmap says nothing about what it was";
  EXPECT_TRUE(superblock.consistent);
}

TEST(RoleChange, Trap10TheLastConsistentStateComesBack) {
  Bench bench(unfinished(true));
  bench.start();
  bench.finish_all();
  force(bench, 3);
  for (int step = 0; step < 5 && !bench.pending<RevertToSnapshot>(); ++step) bench.finish_one();
  ASSERT_TRUE(bench.pending<RevertToSnapshot>());
  EXPECT_FALSE(bench.stored_.superblock.was_primary);
  bench.finish<RevertToSnapshot>();
  EXPECT_FALSE(bench.last<DropSnapshot>()) << "a crash now must find it again";
  bench.finish_all();
  ASSERT_TRUE(bench.last<Promoted>());
  EXPECT_TRUE(bench.last<DropSnapshot>());
  EXPECT_FALSE(bench.stored_.superblock.snapshot);
  EXPECT_EQ(bench.stored_.superblock.ancestors, (std::vector<Generation>{{2, 2}}));
}

TEST(RoleChange, ASnapshotThatDoesNotComeBackIsNoPromotion) {
  Bench bench(unfinished(true));
  bench.start();
  bench.finish_all();
  force(bench, 3);
  for (int step = 0; step < 5 && !bench.pending<RevertToSnapshot>(); ++step) bench.finish_one();
  bench.finish<RevertToSnapshot>(false);
  EXPECT_TRUE(bench.last<RoleRefused>());
  bench.finish_all();
  EXPECT_FALSE(bench.last<Promoted>());
  EXPECT_FALSE(bench.stored_.superblock.consistent);
}

TEST(RoleChange, AForcedConsistentCopyHasDiverged) {
  Bench bench(written_copy());
  bench.start();
  bench.finish_all();
  force(bench, 2);
  bench.finish_all();
  ASSERT_TRUE(bench.last<Promoted>());
  EXPECT_EQ(bench.stored_.superblock.generation.counter, 3u) << "G4, before anything is written";
  EXPECT_EQ(bench.stored_.superblock.base, (Generation{2, 2}));
  bench.link_up();
  HelloReply old = bench.equal_peer();
  old.generation = {3, 12345};  // it went on alone from the same past
  old.ancestors = {{2, 2}};
  bench.receive(old);
  EXPECT_EQ(bench.copy_->report().link, MirrorLink::kRefused) << "never merged";
}

// The other copy sent blocks here, which the revert undoes: it must not take them for settled.
TEST(RoleChange, ARevertThatComesToNothingIsComparedAsAWhole) {
  Bench bench(unfinished(true));
  bench.start();
  bench.finish_all();
  force(bench, 3);
  for (int step = 0; step < 5 && !bench.pending<RevertToSnapshot>(); ++step) bench.finish_one();
  EXPECT_EQ(bench.stored_.dirty, (std::vector<BlockRange>{{0, kBenchSize}})) << "on disk before the revert begins";
  bench.finish<RevertToSnapshot>();
  Bench again(bench.stored_);  // a crash before the promotion is on disk
  again.start();
  again.finish_all();
  again.link_up();
  again.receive(Hello{MirrorProtocol::kC, Permit{4}, kBenchSize, {2, 2}, {}, {2, 2}});
  again.finish_all();
  ASSERT_TRUE(again.sent<HelloReply>());
  const HelloReply reply = *again.sent<HelloReply>();
  EXPECT_TRUE(reply.all_suspect || reply.suspects.size() == kBenchSize / kExtentBlocks);
}

TEST(RoleChange, NothingIsTakenFromAPrimaryWhileTheStoreIsReverted) {
  Bench bench(unfinished(true));
  bench.start();
  bench.finish_all();
  force(bench, 3);
  for (int step = 0; step < 5 && !bench.pending<RevertToSnapshot>(); ++step) bench.finish_one();
  bench.feed(Abort{"given up"});
  bench.link_up();
  bench.receive(Hello{MirrorProtocol::kC, Permit{4}, kBenchSize, {2, 2}, {}, {2, 2}});
  bench.finish_journal();
  EXPECT_FALSE(bench.sent<HelloReply>()) << "O2";
  bench.finish_all();
  EXPECT_TRUE(bench.sent<HelloReply>());
}

TEST(RoleChange, EachForcedPromotionRevertsAnew) {
  Bench bench(unfinished(true));
  bench.start();
  bench.finish_all();
  force(bench, 3);
  for (int step = 0; step < 5 && !bench.pending<RevertToSnapshot>(); ++step) bench.finish_one();
  bench.feed(Abort{"given up"});
  bench.finish_all();
  bench.link_up();
  bench.receive(Hello{MirrorProtocol::kC, Permit{4}, kBenchSize, {2, 2}, {}, {2, 2}});
  bench.finish_all();
  bench.receive(CopyBegin{CopyKind::kFast, {}});
  bench.finish_all();
  bench.receive(WriteData{1, {0, 4}, 1}, kPeerBuffer);
  bench.finish_all();
  bench.link_down();
  bench.forget();
  force(bench, 5);
  for (int step = 0; step < 5 && !bench.pending<RevertToSnapshot>(); ++step) {
    if (!bench.idle()) bench.finish_one();
  }
  EXPECT_TRUE(bench.pending<RevertToSnapshot>()) << "M4: it has received blocks of a copy since";
}

// ---- The target keeps what it was ----

TEST(RoleChange, Trap10ATargetKeepsItsLastConsistentStateFirst) {
  Bench bench(written_copy());
  bench.serve({3, 3});
  bench.receive(CopyBegin{CopyKind::kFast, {}});
  ASSERT_TRUE(bench.pending<TakeSnapshot>());
  EXPECT_FALSE(bench.pending<PersistSuperblock>());
  bench.finish<TakeSnapshot>();
  EXPECT_FALSE(bench.sent<CopyBegun>()) << "O4";
  bench.finish_all();
  EXPECT_TRUE(bench.sent<CopyBegun>());
  EXPECT_TRUE(bench.stored_.superblock.snapshot);
  EXPECT_FALSE(bench.stored_.superblock.consistent);
  EXPECT_TRUE(bench.copy_->report().snapshot);
  bench.receive(CopyEnd{{3, 3}, {{2, 2}}});
  bench.finish<LocalFlush>();
  EXPECT_FALSE(bench.last<DropSnapshot>()) << "the copy's end is not on disk yet";
  bench.finish_all();
  EXPECT_TRUE(bench.last<DropSnapshot>());
  EXPECT_FALSE(bench.stored_.superblock.snapshot);
}

TEST(RoleChange, AnInterruptedCopyKeepsTheFirstSnapshot) {
  Bench bench(unfinished(true));
  bench.serve({3, 3});
  bench.receive(CopyBegin{CopyKind::kFast, {}});
  EXPECT_FALSE(bench.last<TakeSnapshot>()) << "what it is now is not whole";
  bench.finish_all();
  EXPECT_TRUE(bench.sent<CopyBegun>());
  EXPECT_TRUE(bench.stored_.superblock.snapshot);
}

// The primary drops a target that does not answer within `peer_timeout`; a clone of a large store may take longer.
TEST(RoleChange, ASnapshotThatTookTooLongIsUsedByTheNextCopy) {
  for (const bool ended_between : {false, true}) {
    Bench bench(written_copy());
    bench.serve({3, 3});
    bench.receive(CopyBegin{CopyKind::kFast, {}});
    bench.link_down();
    if (ended_between) bench.finish<TakeSnapshot>();
    bench.link_up();
    bench.receive(Hello{MirrorProtocol::kC, Permit{1}, kBenchSize, {3, 3}, {}, {3, 3}});
    bench.forget();
    bench.receive(CopyBegin{CopyKind::kFast, {}});
    EXPECT_FALSE(bench.last<TakeSnapshot>()) << "it would never be done in time";
    if (!ended_between) {
      EXPECT_FALSE(bench.pending<PersistSuperblock>()) << "O4";
      bench.finish<TakeSnapshot>();
    }
    bench.finish_all();
    EXPECT_TRUE(bench.sent<CopyBegun>());
    EXPECT_TRUE(bench.stored_.superblock.snapshot);
  }
}

TEST(RoleChange, ASnapshotFromBeforeAWriteIsNotUsed) {
  Bench bench(written_copy());
  bench.serve({3, 3});
  bench.receive(CopyBegin{CopyKind::kFast, {}});
  bench.link_down();
  bench.finish<TakeSnapshot>();
  bench.link_up();
  bench.receive(Hello{MirrorProtocol::kC, Permit{1}, kBenchSize, {3, 3}, {}, {3, 3}});
  bench.receive(WriteData{1, {0, 1}, 1}, kPeerBuffer);
  bench.finish_all();
  bench.forget();
  bench.receive(CopyBegin{CopyKind::kFast, {}});
  EXPECT_TRUE(bench.last<TakeSnapshot>()) << "the store holds something else by now";
}

TEST(RoleChange, AStoreWithoutSnapshotsIsCopiedToAllTheSame) {
  Bench bench(written_copy());
  bench.serve({3, 3});
  bench.receive(CopyBegin{CopyKind::kFast, {}});
  bench.finish<TakeSnapshot>(false);
  bench.finish_all();
  EXPECT_TRUE(bench.sent<CopyBegun>());
  EXPECT_FALSE(bench.stored_.superblock.snapshot);
  EXPECT_FALSE(bench.stored_.superblock.consistent);
}

TEST(RoleChange, ARestrictedCopyIsNotPromoted) {
  Bench bench(written_copy());
  bench.start();
  bench.finish_all();
  bench.state_.restricted = {ServerId{1}};
  bench.give_permit(2);
  bench.feed(Promote{Permit{2}});
  EXPECT_TRUE(bench.last<RoleRefused>()) << "M5";
  bench.state_.restricted.clear();
  bench.give_permit(3);
  bench.feed(Promote{Permit{3}});
  bench.finish_all();
  EXPECT_TRUE(bench.last<Promoted>());
}

TEST(RoleChange, ABrokenMirrorWantsNoConnection) {
  Bench bench(written_copy());
  bench.connect();
  bench.state_.broken = true;
  bench.commit_both();
  EXPECT_TRUE(bench.last<CloseLink>()) << "M3";
  EXPECT_FALSE(bench.last<WantLink>()->wanted);
  ASSERT_TRUE(bench.last<ProposeInSync>()) << "S2, without waiting";
  bench.commit_alone();
  bench.write(1, 0);
  bench.finish_all();
  EXPECT_TRUE(bench.completed(1));
  bench.state_.broken = false;
  bench.commit_alone();
  EXPECT_TRUE(bench.last<WantLink>()->wanted) << "rejoined";
}

}  // namespace
}  // namespace baton::mirror
