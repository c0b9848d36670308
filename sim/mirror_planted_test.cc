// Each planted bug of the mirror core must be caught: by the pair simulation within a number of seeds, or, where that
// would take too many, by a check of one copy's steps.
#include <gtest/gtest.h>

#include <cstdio>

#include "sim/mirror_pair.h"
#include "src/base/planted.h"
#include "src/core/mirror/copy_bench.h"

namespace baton {
Plant g_plant = Plant::kNone;
}

namespace baton::sim {
namespace {

/// `by`: part of what the checker says that is to bite, should others bite in other seeds.
void expect_caught(Plant plant, uint64_t most_seeds, const std::string& by = "") {
  g_plant = plant;
  for (uint64_t seed = 1; seed <= most_seeds; ++seed) {
    const PairOutcome outcome = run_mirror_pair(seed);
    if (outcome.ok || outcome.violation.find(by) == std::string::npos) continue;
    std::printf("caught at seed %llu: %s\n", static_cast<unsigned long long>(seed), outcome.violation.c_str());
    g_plant = Plant::kNone;
    return;
  }
  g_plant = Plant::kNone;
  ADD_FAILURE() << "not caught within " << most_seeds << " seeds";
}

TEST(MirrorPlanted, ReadmissionAcknowledgedAlone) { expect_caught(Plant::kReadmissionAcknowledgedAlone, 300); }
TEST(MirrorPlanted, PermitNotPersisted) { expect_caught(Plant::kPermitNotPersisted, 20); }
TEST(MirrorPlanted, BitmapAfterAcknowledgement) { expect_caught(Plant::kBitmapAfterAcknowledgement, 300); }
TEST(MirrorPlanted, UncleanCopyPromoted) { expect_caught(Plant::kUncleanCopyPromoted, 300); }
TEST(MirrorPlanted, FlushLocalOnly) { expect_caught(Plant::kFlushLocalOnly, 100); }
TEST(MirrorPlanted, GenerationNotBumped) { expect_caught(Plant::kGenerationNotBumped, 100); }
TEST(MirrorPlanted, ActivityReleasedEarly) { expect_caught(Plant::kActivityReleasedEarly, 300); }
TEST(MirrorPlanted, AnswerForgotten) { expect_caught(Plant::kAnswerForgotten, 20, "do not stay connected at rest"); }
TEST(MirrorPlanted, AloneBeforeCommitted) { expect_caught(Plant::kAloneBeforeCommitted, 100, "I2: a flush would not survive"); }
TEST(MirrorPlanted, EpochBarrierLeftOutInHistories) { expect_caught(Plant::kEpochBarrierLeftOut, 100, "A2: "); }
TEST(MirrorPlanted, LeaseIgnored) { expect_caught(Plant::kLeaseIgnored, 100); }

// ---- Bugs that need a story too particular for random histories to meet soon: one copy, step by step ----

using mirror::Bench;

/// `kept()` says whether the rule was kept: always without the bug, never with it.
void expect_caught_by_hand(Plant plant, bool (*kept)()) {
  EXPECT_TRUE(kept());
  g_plant = plant;
  EXPECT_FALSE(kept());
  g_plant = Plant::kNone;
}

/// D1: what the peer of a failed disk is asked to write from now on, the failed disk's copy lacks.
bool detach_makes_a_generation() {
  Bench peer(mirror::written_copy());
  peer.serve();
  peer.receive(mirror::Detach{});
  peer.finish_all();
  return peer.sent<mirror::Detached>() && peer.stored_.superblock.generation != Generation{2, 2};
}
TEST(MirrorPlanted, DetachWithoutGeneration) {
  expect_caught_by_hand(Plant::kDetachWithoutGeneration, detach_makes_a_generation);
}

/// D3, S4: under protocol B its receipt was enough for an answer.
bool failed_disk_takes_another_incarnation() {
  Bench peer(mirror::written_copy(), MirrorProtocol::kB);
  peer.serve();
  const Incarnation before = peer.own();
  peer.receive(mirror::WriteData{1, {0, 1}, 1}, mirror::kPeerBuffer);
  peer.finish<mirror::LocalWrite>(false);
  peer.finish_all();
  return peer.stored_.superblock.incarnation > before;
}
TEST(MirrorPlanted, FailedDiskKeepsIncarnation) {
  expect_caught_by_hand(Plant::kFailedDiskKeepsIncarnation, failed_disk_takes_another_incarnation);
}

/// A2: the later epoch waits until the earlier one is written and flushed.
bool epochs_wait_for_each_other() {
  Bench peer(mirror::written_copy(), MirrorProtocol::kA);
  peer.serve();
  peer.receive(mirror::WriteData{1, {0, 1}, 1}, mirror::kPeerBuffer);
  peer.receive(mirror::WriteData{2, {100, 1}, 2}, mirror::kPeerBuffer + 1);
  const bool one = peer.count<mirror::LocalWrite>() == 1;
  peer.finish<mirror::LocalWrite>();
  return one && peer.count<mirror::LocalWrite>() == 1 && peer.pending<mirror::LocalFlush>();
}
TEST(MirrorPlanted, EpochBarrierLeftOut) {
  expect_caught_by_hand(Plant::kEpochBarrierLeftOut, epochs_wait_for_each_other);
}

/// G2: on this disk before the first block is sent to a disk of zeroes.
bool zero_generation_is_on_disk_first() {
  Bench primary;
  primary.settings_.zeroed_store = true;
  primary.start_and_promote();
  primary.write(1, 300);
  primary.finish_all();
  primary.link_up();
  mirror::HelloReply reply = primary.equal_peer();
  reply.generation = {0, 1};
  reply.ancestors.clear();
  primary.receive(reply);
  const bool early = primary.sent<mirror::CopyBegin>().has_value();
  primary.finish_all();
  const auto begin = primary.sent<mirror::CopyBegin>();
  return !early && begin && primary.stored_.superblock.base == begin->generation;
}
TEST(MirrorPlanted, ZeroGenerationNotPersisted) {
  expect_caught_by_hand(Plant::kZeroGenerationNotPersisted, zero_generation_is_on_disk_first);
}

/// A5: a copy that may take over lacks no more than was answered within `max_lag`.
bool writes_wait_for_a_named_peer() {
  Bench primary(mirror::written_copy(), MirrorProtocol::kA);
  primary.settings_.max_lag = 1s;
  primary.settings_.link_timeout = primary.settings_.peer_timeout = 60s;
  primary.start_and_promote(true);
  primary.link_up();
  primary.receive(primary.equal_peer());
  primary.state_.trailing = {{ServerId{2}, mirror::kPeerIncarnation}};
  primary.commit_alone();
  primary.write(1, 10);
  primary.finish_all();
  primary.pass(1100ms);
  primary.write(2, 20);
  primary.finish_all();
  return primary.completed(1) && !primary.completed(2);
}
TEST(MirrorPlanted, LagIgnored) { expect_caught_by_hand(Plant::kLagIgnored, writes_wait_for_a_named_peer); }

/// D2, C1: a power loss in the middle of the repair must find its extent in the log.
bool repair_is_in_the_log_first() {
  Bench primary(mirror::written_copy());
  primary.connect();
  primary.read(1, 300);
  primary.finish<mirror::LocalRead>(false);
  primary.answer_peer();
  const bool early = primary.pending<mirror::LocalWrite>();
  primary.finish_all();
  return !early && primary.stored_.activity == std::vector<uint64_t>{1};
}
TEST(MirrorPlanted, RepairWithoutLog) { expect_caught_by_hand(Plant::kRepairWithoutLog, repair_is_in_the_log_first); }

}  // namespace
}  // namespace baton::sim
