// What is left of a state that comes from a backup: nobody owns anything, no copy is known, permits go on above all. R7-R10.
#include <gtest/gtest.h>

#include "src/model/command.h"

namespace baton {
namespace {

constexpr ServerId kOne{1}, kTwo{2};
constexpr const char* kMirror = "db.data";
constexpr uint64_t kAbove = uint64_t{1} << 40;
const char* kText = R"(
[cluster]
name = "demo"
[server.server1]
id = 1
interconnects = ["10.0.0.1"]
[server.server2]
id = 2
interconnects = ["10.0.0.2"]
[group.db]
servers = ["server1", "server2"]
[group.db.mirror.data]
store = "/var/lib/baton/store/db.img"
size = "64 MiB"
)";

class Restored : public testing::Test {
 protected:
  Restored() {
    const Applied founded = apply_command(state_, ApplyConfiguration{0, kText, "test", kFormatLevel}, 1);
    EXPECT_TRUE(founded.applied) << founded.refusal;
    GroupState& group = state_.groups.at("db");
    group.phase = GroupPhase::kStarted;
    group.owner = kOne;
    group.wanted = true;
    MirrorState& mirror = state_.mirrors.at(kMirror);
    mirror.permit = Permit{7};
    mirror.holder = kOne;
    mirror.in_sync = {{kOne, Incarnation{5}}, {kTwo, Incarnation{6}}};
    mirror.trailing = {{kTwo, Incarnation{6}}};
  }

  void restore() { apply(RestoreDatabase{{kOne, kTwo}, kAbove, 1700000000000, "server1", "root", "present"}); }
  void apply(const Command& command) {
    const Applied done = apply_command(state_, command, ++index_);
    EXPECT_TRUE(done.applied) << done.refusal;
  }
  Applied assign(ServerId server, std::map<ServerId, Incarnation> reported, std::set<std::string> unused = {}) {
    AssignGroup command{.group = "db", .expected_version = state_.groups.at("db").version, .server = server};
    command.mirror_versions[kMirror] = state_.mirrors.at(kMirror).version;
    command.reported[kMirror] = std::move(reported);
    command.unused = std::move(unused);
    return apply_command(state_, command, ++index_);
  }

  ClusterState state_;
  uint64_t index_ = 10;
  const std::map<ServerId, Incarnation> both_{{kOne, Incarnation{5}}, {kTwo, Incarnation{6}}};
};

TEST_F(Restored, TakesEveryGroupFromItsOwnerAndKeepsTheWish) {
  const uint64_t version = state_.groups.at("db").version;
  restore();
  const GroupState& group = state_.groups.at("db");
  EXPECT_EQ(group.phase, GroupPhase::kStopped);
  EXPECT_EQ(group.owner, ServerId{});
  EXPECT_TRUE(group.wanted);
  EXPECT_GT(group.version, version) << "a proposal of before would still fit";
}

TEST_F(Restored, StartsNoCopyByTheSetsOfTheBackup) {
  restore();
  for (const ServerId server : {kOne, kTwo}) {
    const Applied refused = assign(server, both_);
    EXPECT_FALSE(refused.applied) << server.value;
    EXPECT_NE(refused.refusal.find("restored from a backup"), std::string::npos) << refused.refusal;
    EXPECT_FALSE(assign(server, both_, {kMirror}).applied) << "used then, whatever anybody says";
  }
  EXPECT_TRUE(state_.mirrors.at(kMirror).in_sync.empty() && state_.mirrors.at(kMirror).trailing.empty());
}

TEST_F(Restored, StartsTheCopyThatAPersonNamesUnderAPermitAboveAll) {
  restore();
  apply(ForceMirror{kMirror, state_.mirrors.at(kMirror).version, kTwo, Incarnation{9}, "as shown", "root"});
  EXPECT_FALSE(assign(kOne, {{kOne, Incarnation{5}}, {kTwo, Incarnation{9}}}).applied);
  const Applied started = assign(kTwo, {{kOne, Incarnation{5}}, {kTwo, Incarnation{9}}});
  EXPECT_TRUE(started.applied) << started.refusal;
  const MirrorState& mirror = state_.mirrors.at(kMirror);
  EXPECT_GT(mirror.permit.value, kAbove);
  EXPECT_FALSE(mirror.unknown);
  EXPECT_EQ(mirror.in_sync, (std::map<ServerId, Incarnation>{{kTwo, Incarnation{9}}}));
}

TEST_F(Restored, AFormerPrimaryChangesNoSet) {
  restore();
  const SetInSync late{kMirror, state_.mirrors.at(kMirror).version, Permit{7}, {{kOne, Incarnation{5}}}, "late", {}};
  EXPECT_FALSE(apply_command(state_, late, ++index_).applied);
}

TEST_F(Restored, AMirrorOfLaterStartsByItselfOnlyWhenAllItsCopiesAreBlank) {
  restore();
  state_.mirrors.erase(kMirror);
  apply(ApplyConfiguration{state_.configuration_version, kText, "test"});
  ASSERT_TRUE(state_.mirrors.at(kMirror).unknown);
  EXPECT_FALSE(assign(kOne, both_).applied);
  EXPECT_FALSE(assign(kOne, {{kOne, Incarnation{5}}}, {kMirror}).applied) << "the other copy has not been heard of";
  EXPECT_FALSE(assign(kOne, {{kOne, Incarnation{5}}, {kTwo, Incarnation{}}}, {kMirror}).applied) << "it cannot be opened";
  EXPECT_FALSE(assign(kTwo, both_, {kMirror}).applied) << "S6: the first of the policy";
  const Applied started = assign(kOne, both_, {kMirror});
  EXPECT_TRUE(started.applied) << started.refusal;
  EXPECT_GT(state_.mirrors.at(kMirror).permit.value, kAbove);
}

TEST_F(Restored, ForgetsWhatWasUnderWayAndKeepsWhatPeopleWanted) {
  state_.shutdown.emplace();
  state_.shut_down = true;
  state_.keys.number = 3;
  state_.keys.phase = KeyRotation::Phase::kInForce;
  state_.keys.after = "another";
  state_.servers[kTwo].shutdown.emplace();
  state_.servers[kTwo].drain.emplace();
  state_.servers[kTwo].standing = ServerStanding::kIsolated;
  state_.fences[kTwo].outcome = FenceOutcome::kOff;
  restore();
  EXPECT_FALSE(state_.shutdown || state_.shut_down || state_.servers[kTwo].shutdown);
  EXPECT_TRUE(state_.servers[kTwo].drain);
  EXPECT_EQ(state_.servers[kTwo].standing, ServerStanding::kIsolated);
  EXPECT_EQ(state_.fences[kTwo].outcome, FenceOutcome::kNone);
  EXPECT_FALSE(state_.keys.under_way());
  EXPECT_EQ(state_.keys.after, "present");
}

TEST(RestoreDatabase, IsOfLevelThree) {
  EXPECT_EQ(required_level(RestoreDatabase{}), 3U);
  EXPECT_EQ(required_level(AssignGroup{}), 1U);
  AssignGroup assign;
  assign.unused = {kMirror};
  EXPECT_EQ(required_level(assign), 3U);
}

}  // namespace
}  // namespace baton
