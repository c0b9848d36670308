// What a takeover does to the in-sync sets: nothing, unless the log itself says that the other one may have gone on. W3.
#include <gtest/gtest.h>

#include "src/model/command.h"

namespace baton {
namespace {

constexpr ServerId kOne{1}, kTwo{2};
const std::map<ServerId, Incarnation> kBoth{{kOne, Incarnation{7}}, {kTwo, Incarnation{8}}};

ClusterState pair() {
  ClusterState state;
  state.voters = VoterSet{{kOne, kTwo}, {}};
  state.mirrors["db.data"].version = 5;
  state.mirrors["db.data"].in_sync = kBoth;
  return state;
}

std::map<ServerId, Incarnation> set_after_takeover(ClusterState state, ServerId server) {
  const uint64_t version = state.mirrors["db.data"].version;
  const auto before = state.mirrors["db.data"].in_sync;
  EXPECT_TRUE(apply_command(state, TakeOver{server, "the other one is off", "root"}, 9).applied);
  EXPECT_EQ(state.taken_over, server);
  EXPECT_EQ(state.voters, (VoterSet{{server}, {}}));
  EXPECT_EQ(state.mirrors["db.data"].version > version, state.mirrors["db.data"].in_sync != before);
  return state.mirrors["db.data"].in_sync;
}

std::string of_two(const std::string& np) {
  return "[cluster]\nname = \"c\"\n" + np + "[server.a]\nid = 1\ninterconnects = [\"10.0.1.1\"]\n[server.b]\nid = 2\ninterconnects = [\"10.0.1.2\"]\n";
}

TEST(TakeOverCommand, ChangesNoSetWhenBothDecidedToTheEnd) {
  EXPECT_EQ(set_after_takeover(pair(), kTwo), kBoth);
  ClusterState again = pair();
  again.taken_over = kTwo;
  EXPECT_EQ(set_after_takeover(again, kTwo), kBoth);
}

TEST(TakeOverCommand, LeavesOutTheCopyOfWhoWasLeftOut) {
  const std::map<ServerId, Incarnation> other{{kOne, Incarnation{7}}};
  ClusterState ruled = pair();
  ruled.taken_over = kOne;
  EXPECT_EQ(set_after_takeover(ruled, kTwo), other);
  ClusterState stopped = pair();
  stopped.servers[kTwo].standing = ServerStanding::kStopped;
  EXPECT_EQ(set_after_takeover(stopped, kTwo), other);
  stopped.shut_down = true;
  EXPECT_EQ(set_after_takeover(stopped, kTwo), kBoth) << "the other one ended with it";
}

/// W7, Q5: who goes on by nobody's word lacks nothing. Q6: who does so by a word beside the disk may.
TEST(TakeOverCommand, WhoGoesOnByNobodysWordKeepsItsCopies) {
  ClusterState unsettled = pair();
  unsettled.taken_over = kOne;
  unsettled.format_level = 3;
  EXPECT_TRUE(apply_command(unsettled, TakeOver{kTwo, "the other one was shut down", ""}, 9).applied);
  EXPECT_EQ(unsettled.mirrors["db.data"].in_sync, kBoth);
  ClusterState beside = pair();
  for (const std::string np : {"np = \"disk\"\nnp_disk = \"/dev/sdb\"\n", "np = \"ping\"\nping_targets = [\"192.0.2.1\"]\n"}) {
    beside.configuration_text = of_two(np);
    EXPECT_EQ(set_after_takeover(beside, kTwo), (std::map<ServerId, Incarnation>{{kOne, Incarnation{7}}})) << np;
  }
}

/// T9. With the entry on one server only, each of the two would ask something else.
TEST(TakeOverCommand, FromADiskToPingTargetsByWayOfAnOperator) {
  const std::string disk = of_two("np = \"disk\"\nnp_disk = \"/dev/sdb\"\n"), ping = of_two("np = \"ping\"\nping_targets = [\"192.0.2.1\"]\n");
  const std::string other_targets = of_two("np = \"ping\"\nping_targets = [\"192.0.2.2\"]\n");
  ClusterState state;
  auto apply = [&, index = uint64_t{0}](const std::string& text) mutable {
    ++index;
    return apply_command(state, ApplyConfiguration{state.configuration_version, text, "test", kFormatLevel}, index).applied;
  };
  EXPECT_TRUE(apply(disk));
  EXPECT_FALSE(apply(ping));
  EXPECT_TRUE(apply(of_two("np = \"operator\"\n")));
  EXPECT_TRUE(apply(ping));
  EXPECT_TRUE(apply(other_targets));
  EXPECT_FALSE(apply(disk));
  // T9. While one of them decides alone.
  state.taken_over = ServerId{1};
  EXPECT_TRUE(apply(ping));
  EXPECT_FALSE(apply(of_two("np = \"operator\"\n")));
  state.taken_over = ServerId{};
  EXPECT_TRUE(apply(of_two("np = \"operator\"\n")));
}

TEST(TakeOverCommand, TheOnlyCopyOfASetStaysInIt) {
  ClusterState ruled = pair();
  ruled.taken_over = kOne;
  ruled.mirrors["db.data"].in_sync = {{kTwo, Incarnation{8}}};
  EXPECT_EQ(set_after_takeover(ruled, kTwo), ruled.mirrors["db.data"].in_sync);
}

}  // namespace
}  // namespace baton
