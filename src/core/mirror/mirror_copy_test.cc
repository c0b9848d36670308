// Single steps of one copy, by hand. The long histories are in sim/mirror_pair_test.cc.
#include "src/core/mirror/mirror_copy.h"

#include <gtest/gtest.h>

#include "src/core/mirror/copy_bench.h"

namespace baton::mirror {
namespace {

constexpr uint64_t kSize = kBenchSize;

TEST(MirrorCopy, AnUncleanStopGivesANewIncarnationBeforeAnythingElse) {
  StoredCopy stored = blank_copy("m", kSize);
  stored.superblock.incarnation = Incarnation{41};
  stored.superblock.clean = false;
  Bench bench(stored);
  bench.start();
  bench.feed(LinkUp{1});
  bench.feed(MessageReceived{1, Hello{MirrorProtocol::kC, Permit{3}, kSize, {4, 4}, {}, {}}, 0});
  EXPECT_EQ(bench.count<SendMessage>(), 0u);
  ASSERT_EQ(bench.count<PersistSuperblock>(), 1u);
  EXPECT_EQ(bench.last<PersistSuperblock>()->superblock.incarnation, Incarnation{42});
  EXPECT_FALSE(bench.last<PersistSuperblock>()->superblock.clean);
  bench.finish_all();
  ASSERT_TRUE(bench.sent<HelloReply>());
  EXPECT_EQ(bench.sent<HelloReply>()->incarnation, Incarnation{42});
  EXPECT_EQ(bench.stored_.superblock.permit, Permit{3}) << "P1";
}

TEST(MirrorCopy, AStopInOrderKeepsTheIncarnation) {
  Bench bench;
  bench.start();
  bench.finish_all();
  const Incarnation first = bench.copy_->report().incarnation;
  EXPECT_NE(first.value, 0u);
  bench.feed(Stop{});
  ASSERT_TRUE(bench.pending<LocalFlush>()) << "S4: clean means durable";
  EXPECT_FALSE(bench.pending<PersistSuperblock>());
  bench.finish_all();
  ASSERT_TRUE(bench.last<Stopped>());
  EXPECT_TRUE(bench.stored_.superblock.clean);
  Bench again(bench.stored_);
  again.start();
  again.finish_all();
  EXPECT_EQ(again.copy_->report().incarnation, first);
  Bench crashed(again.stored_);
  crashed.start();
  crashed.finish_all();
  EXPECT_EQ(crashed.copy_->report().incarnation.value, first.value + 1);
}

TEST(MirrorCopy, ANewDiskIsNotTakenForTheOldOne) {
  Bench first;
  first.settings_.seed = 1;
  first.start();
  first.finish_all();
  Bench second;
  second.start();
  second.finish_all();
  EXPECT_NE(first.copy_->report().incarnation, second.copy_->report().incarnation);
}

TEST(MirrorCopy, PromotionPersistsPermitAndFirstGeneration) {
  Bench bench;
  bench.start();
  bench.finish_all();
  bench.give_permit(1);
  bench.feed(Promote{Permit{1}});
  EXPECT_FALSE(bench.last<Promoted>());
  bench.finish_all();
  EXPECT_TRUE(bench.last<Promoted>());
  EXPECT_EQ(bench.stored_.superblock.permit, Permit{1});
  EXPECT_TRUE(bench.stored_.superblock.was_primary);
  EXPECT_EQ(bench.stored_.superblock.generation.counter, 1u);
  bench.forget();
  bench.feed(Promote{Permit{1}});
  EXPECT_TRUE(bench.last<Promoted>()) << "repeated";
}

TEST(MirrorCopy, PromotionIsRefused) {
  StoredCopy stored = blank_copy("m", kSize);
  stored.superblock.incarnation = Incarnation{7};
  stored.superblock.permit = Permit{5};
  stored.superblock.consistent = false;
  Bench bench(stored);
  bench.start();
  bench.finish_all();
  bench.feed(Promote{Permit{6}});
  EXPECT_TRUE(bench.last<RoleRefused>()) << "no record";
  bench.forget();
  bench.give_permit(6);
  bench.feed(Promote{Permit{6}});
  EXPECT_TRUE(bench.last<RoleRefused>()) << "O4";

  stored.superblock.consistent = true;
  Bench other(stored);
  other.start();
  other.finish_all();
  MirrorState state{6, Permit{6}, ServerId{1}, {{ServerId{1}, Incarnation{6}}}};
  other.feed(StateCommitted{state});
  other.feed(Promote{Permit{6}});
  EXPECT_TRUE(other.last<RoleRefused>()) << "S4";
  other.forget();
  state = {7, Permit{5}, ServerId{1}, {{ServerId{1}, Incarnation{7}}}};
  other.feed(StateCommitted{state});
  other.feed(Promote{Permit{5}});
  EXPECT_TRUE(other.last<RoleRefused>()) << "an old permit";
}

TEST(MirrorCopy, AWriteAloneNeedsLogAndGenerationOnDisk) {
  Bench bench;
  bench.start_and_promote();
  bench.stored_.superblock.generation = {};  // to see it written again
  bench.forget();
  bench.write(1, 300);
  EXPECT_FALSE(bench.pending<LocalWrite>()) << "C1";
  bench.finish_one();
  EXPECT_EQ(bench.stored_.activity, std::vector<uint64_t>{1});
  ASSERT_TRUE(bench.pending<LocalWrite>());
  bench.finish_all();
  EXPECT_TRUE(bench.completed(1));
  EXPECT_EQ(bench.copy_->report().dirty_bytes, kBlockBytes);
  bench.write(2, 301);
  EXPECT_TRUE(bench.pending<LocalWrite>()) << "the extent is hot";
}

TEST(MirrorCopy, TheGenerationIsNewAndOnDiskBeforeTheFirstAcknowledgement) {
  StoredCopy stored = blank_copy("m", kSize);
  stored.superblock.incarnation = Incarnation{3};
  stored.superblock.generation = stored.superblock.base = {8, 9};
  Bench bench(stored);
  bench.start_and_promote();
  bench.forget();
  bench.write(1, 100);
  bench.finish_one();  // activity log
  bench.finish_one();  // data
  EXPECT_FALSE(bench.completed(1)) << "G1";
  EXPECT_TRUE(bench.pending<PersistSuperblock>());
  bench.finish_all();
  EXPECT_TRUE(bench.completed(1));
  EXPECT_EQ(bench.stored_.superblock.generation.counter, 9u);
  EXPECT_EQ(bench.stored_.superblock.base, (Generation{8, 9}));
  EXPECT_EQ(bench.stored_.superblock.ancestors, (std::vector<Generation>{{8, 9}}));
}

TEST(MirrorCopy, AnIdleMirrorComesToRest) {
  Bench bench;
  bench.start_and_promote();
  for (uint64_t id = 1; id <= 20; ++id) bench.write(id, id * 100);
  bench.finish_all();
  bench.pass(10s);
  EXPECT_TRUE(bench.stored_.activity.empty());
  EXPECT_EQ(bench.stored_.dirty.size(), 20u) << "C2";
  EXPECT_EQ(bench.copy_->next_tick(), kNever);
  EXPECT_LT(bench.ticks_, 20);
}

TEST(MirrorCopy, AFullLogOfSuspectsDoesNotBlockWrites) {
  StoredCopy stored = blank_copy("m", kSize);
  stored.superblock.generation = stored.superblock.base = {2, 2};
  stored.superblock.incarnation = Incarnation{4};
  stored.activity = {1, 2, 3};
  Bench bench(stored);
  bench.settings_.activity_capacity = 3;
  bench.start_and_promote();
  bench.write(1, 40 * kExtentBlocks);
  bench.finish_all();
  EXPECT_TRUE(bench.completed(1));
  bench.pass(10s);
  uint64_t covered = bench.stored_.activity.size() * kExtentBlocks;
  for (const BlockRange& run : bench.stored_.dirty) covered += run.count;
  EXPECT_EQ(covered, 3 * kExtentBlocks + 1) << "what was suspect is dirty now, or suspect still";
}

TEST(MirrorCopy, WithoutTheLeaseNothingIsCompleted) {
  Bench bench;
  bench.start_and_promote();
  bench.lease_ = bench.now_;
  bench.write(1, 0);
  bench.feed(ClientRequest{2, RequestKind::kRead, {50, 1}, 9, false});
  bench.finish_all();
  EXPECT_EQ(bench.count<CompleteRequest>(), 0u);
  EXPECT_NE(bench.copy_->report().waiting.find("lease"), std::string::npos);
  bench.lease_ = bench.now_ + 5s;
  bench.pass(100ms);
  EXPECT_TRUE(bench.completed(1) && bench.completed(2));
  EXPECT_EQ(bench.copy_->report().waiting, "");

  bench.lease_ = bench.now_;
  bench.write(3, 0);
  bench.finish_all();
  bench.pass(9s);
  EXPECT_FALSE(bench.last<AbortExport>());
  bench.pass(2s);
  EXPECT_TRUE(bench.last<AbortExport>());
  EXPECT_TRUE(bench.completed(3, false));
  EXPECT_EQ(bench.copy_->report().role, MirrorRole::kSecondary);
}

TEST(MirrorCopy, ANewerPermitFences) {
  Bench bench;
  bench.start_and_promote();
  bench.write(1, 0);
  bench.finish_one();
  bench.feed(StateCommitted{{9, Permit{2}, ServerId{2}, {}}});
  EXPECT_TRUE(bench.last<AbortExport>());
  EXPECT_TRUE(bench.completed(1, false));
  bench.finish_all();
  EXPECT_FALSE(bench.completed(1, true));
  bench.feed(LinkUp{1});
  bench.feed(MessageReceived{1, Hello{MirrorProtocol::kC, Permit{2}, kSize, {4, 4}, {}, {}}, 0});
  bench.finish_all();
  ASSERT_TRUE(bench.sent<HelloReply>());
  EXPECT_EQ(bench.sent<HelloReply>()->suspects, std::vector<uint64_t>{0})
      << "C5: it may have written what the peer lacks";
}

TEST(MirrorCopy, ASecondaryRefusesAnOlderPermitAndStaleConnections) {
  StoredCopy stored = blank_copy("m", kSize);
  stored.superblock.permit = Permit{5};
  Bench bench(stored);
  bench.start();
  bench.finish_all();
  bench.feed(LinkUp{1});
  bench.feed(MessageReceived{1, Hello{MirrorProtocol::kC, Permit{4}, kSize, {4, 4}, {}, {}}, 0});
  ASSERT_TRUE(bench.sent<HelloRefused>());
  EXPECT_EQ(bench.sent<HelloRefused>()->newer_permit, Permit{5});
  bench.feed(LinkUp{2});
  bench.feed(MessageReceived{2, Hello{MirrorProtocol::kC, Permit{5}, kSize, {4, 4}, {}, {}}, 0});
  ASSERT_TRUE(bench.sent<HelloReply>());
  bench.feed(MessageReceived{2, WriteData{1, {0, 1}}, 50});
  EXPECT_TRUE(bench.pending<LocalWrite>());
  bench.feed(LinkUp{3});
  bench.forget();
  bench.feed(MessageReceived{3, Hello{MirrorProtocol::kC, Permit{5}, kSize, {4, 4}, {}, {}}, 0});
  EXPECT_FALSE(bench.sent<HelloReply>()) << "O2: the older connection's write is under way";
  bench.feed(MessageReceived{2, WriteData{2, {7, 1}}, 51});
  EXPECT_EQ(bench.last<ReleaseBuffer>()->buffer, 51u);
  bench.finish_all();
  EXPECT_TRUE(bench.sent<HelloReply>());
  EXPECT_FALSE(bench.sent<WriteDone>()) << "it belongs to a connection that is gone";
}

TEST(MirrorCopy, ATargetIsInconsistentUntilTheEndIsDurable) {
  Bench bench;
  bench.start();
  bench.finish_all();
  bench.feed(LinkUp{1});
  bench.feed(MessageReceived{1, Hello{MirrorProtocol::kC, Permit{1}, kSize, {4, 4}, {}, {}}, 0});
  bench.finish_all();
  bench.feed(MessageReceived{1, CopyBegin{CopyKind::kFull}, 0});
  EXPECT_FALSE(bench.sent<CopyBegun>());
  bench.finish_all();
  EXPECT_TRUE(bench.sent<CopyBegun>());
  EXPECT_FALSE(bench.stored_.superblock.consistent);
  bench.feed(MessageReceived{1, CopyEnd{{4, 4}, {{3, 3}}}, 0});
  EXPECT_FALSE(bench.pending<PersistSuperblock>()) << "first the flush";
  bench.finish_one();
  EXPECT_FALSE(bench.sent<CopyEnded>());
  bench.finish_all();
  EXPECT_TRUE(bench.sent<CopyEnded>());
  EXPECT_TRUE(bench.stored_.superblock.consistent);
  EXPECT_EQ(bench.stored_.superblock.generation, (Generation{4, 4}));
}

TEST(MirrorCopy, AFreshPrimaryWaitsForItsPeerThenAsksToBeAlone) {
  Bench bench(written_copy());
  bench.start_and_promote(true);
  bench.write(1, 0);
  bench.finish_all();
  EXPECT_FALSE(bench.last<LocalWrite>()) << "held";
  bench.pass(300ms);
  EXPECT_FALSE(bench.last<ProposeInSync>());
  bench.pass(200ms);
  ASSERT_TRUE(bench.last<ProposeInSync>());
  EXPECT_EQ(bench.last<ProposeInSync>()->in_sync.size(), 1u);
  bench.forget();
  bench.pass(600ms);
  EXPECT_GE(bench.count<ProposeInSync>(), 2u) << "repeated";
  bench.state_.in_sync.erase(ServerId{2});
  ++bench.state_.version;
  bench.feed(StateCommitted{bench.state_});
  bench.finish_all();
  EXPECT_TRUE(bench.completed(1));
}

TEST(MirrorCopy, AnEqualPeerIsConnectedWithoutACommit) {
  Bench bench(written_copy());
  bench.start_and_promote(true);
  bench.feed(LinkUp{1});
  ASSERT_TRUE(bench.sent<Hello>());
  bench.feed(MessageReceived{1, HelloReply{Permit{1}, Incarnation{77}, kSize, true, {2, 2}, {}, {}, false}, 0});
  EXPECT_EQ(bench.copy_->report().link, MirrorLink::kConnected);
  EXPECT_FALSE(bench.last<ProposeInSync>());
  bench.write(1, 0);
  bench.finish_all();
  EXPECT_FALSE(bench.completed(1)) << "S1";
  bench.feed(MessageReceived{1, WriteDone{bench.sent<WriteData>()->sequence, true}, 0});
  EXPECT_TRUE(bench.completed(1));

  bench.write(2, 5);
  bench.feed(LinkDown{1, "cut"});
  bench.finish_all();
  EXPECT_FALSE(bench.completed(2)) << "S2";
  EXPECT_TRUE(bench.last<ProposeInSync>());
  EXPECT_EQ(bench.copy_->report().dirty_bytes, 2 * kBlockBytes) << "C4: unflushed and under way";
}

TEST(MirrorCopy, AFullMetadataDiskStopsAcknowledgementsAndIsTriedAgain) {
  Bench bench;
  bench.start_and_promote();
  bench.write(1, 100);
  bench.finish_one(false);
  EXPECT_FALSE(bench.pending<LocalWrite>());
  EXPECT_NE(bench.copy_->report().problem, "");
  EXPECT_EQ(bench.copy_->next_tick(), bench.now_ + 250ms);
  bench.pass(300ms);
  bench.finish_all();
  EXPECT_TRUE(bench.completed(1));
  EXPECT_EQ(bench.copy_->report().problem, "");
}

TEST(MirrorCopy, DemotionEmptiesTheLog) {
  Bench bench;
  bench.start_and_promote();
  bench.write(1, 100);
  bench.finish_all();
  bench.feed(Demote{});
  EXPECT_FALSE(bench.last<Demoted>());
  bench.finish_all();
  EXPECT_TRUE(bench.last<Demoted>());
  EXPECT_TRUE(bench.stored_.activity.empty());
  EXPECT_EQ(bench.stored_.dirty, (std::vector<BlockRange>{{100, 1}}));
  EXPECT_FALSE(bench.stored_.superblock.was_primary);
  bench.write(2, 100);
  EXPECT_TRUE(bench.completed(2, false));
}

TEST(MirrorCopy, AWriteErrorGivesTheExportUp) {
  Bench bench;
  bench.start_and_promote();
  bench.write(1, 100);
  bench.finish_one();
  bench.finish_one(false);
  EXPECT_TRUE(bench.last<AbortExport>());
  EXPECT_TRUE(bench.completed(1, false));
  EXPECT_NE(bench.copy_->report().problem, "");
  bench.finish_all();
}

TEST(MirrorCopy, RequestsBeyondTheEndFail) {
  Bench bench;
  bench.start_and_promote();
  bench.write(1, kSize - 1, 2);
  bench.write(2, ~uint64_t{0}, 2);
  bench.write(3, 0, 0);
  EXPECT_TRUE(bench.completed(1, false) && bench.completed(2, false) && bench.completed(3, false));
}

TEST(MirrorCopy, ACopyWithAnUnreliableJournalIsComparedAsAWhole) {
  Bench bench;
  bench.start_and_promote();
  bench.feed(LinkUp{1});
  const Generation generation = bench.stored_.superblock.generation;
  bench.feed(
      MessageReceived{1, HelloReply{Permit{1}, Incarnation{77}, kSize, true, generation, {}, {}, true}, 0});
  ASSERT_TRUE(bench.sent<CopyBegin>());
  EXPECT_EQ(bench.sent<CopyBegin>()->kind, CopyKind::kFast);
  bench.feed(MessageReceived{1, CopyBegun{}, 0});
  bench.pass(20ms);
  EXPECT_TRUE(bench.sent<HashRequest>());
  EXPECT_EQ(bench.copy_->report().copy_total_bytes, kSize * kBlockBytes);
}

TEST(MirrorCopy, DivergedCopiesAreRefusedAndThePrimaryGoesOn) {
  Bench bench;
  bench.start_and_promote();
  bench.feed(LinkUp{1});
  bench.feed(MessageReceived{1, HelloReply{Permit{1}, Incarnation{77}, kSize, true, {9, 9}, {}, {}, false}, 0});
  EXPECT_EQ(bench.copy_->report().link, MirrorLink::kRefused);
  EXPECT_NE(bench.copy_->report().problem, "");
  bench.write(1, 0);
  bench.finish_all();
  EXPECT_TRUE(bench.completed(1));
}

TEST(MirrorCopy, SilenceDropsTheLink) {
  Bench bench;
  bench.start();
  bench.finish_all();
  bench.feed(LinkUp{1});
  bench.pass(900ms);
  EXPECT_TRUE(bench.sent<Ping>());
  EXPECT_FALSE(bench.last<CloseLink>());
  bench.pass(200ms);
  EXPECT_TRUE(bench.last<CloseLink>());
  EXPECT_EQ(bench.copy_->next_tick(), kNever);
}

}  // namespace
}  // namespace baton::mirror
