// A server has left when its removal is settled, not before (docs/protocol.md, J5 and V6).
#include "src/model/committed_members.h"

#include <gtest/gtest.h>

namespace baton {
namespace {

constexpr ServerId kOne{1}, kTwo{2}, kThree{3}, kFour{4};

Configuration with(std::initializer_list<uint32_t> ids) {
  Configuration configuration;
  for (const uint32_t id : ids) {
    configuration.servers.emplace_back();
    configuration.servers.back().id = ServerId{id};
    configuration.servers.back().name = "server" + std::to_string(id);
  }
  return configuration;
}

TEST(Membership, AServerHasLeftWhenItsRemovalIsSettled) {
  ClusterState state;
  state.voters = {{kOne, kTwo, kThree, kFour}, {}};
  EXPECT_FALSE(has_left(state, with({1, 2, 3, 4}), kFour));
  EXPECT_FALSE(has_left(state, with({1, 2, 3}), kFour)) << "it is still a voter";
  state.voters = {{kOne, kTwo, kThree}, {kOne, kTwo, kThree, kFour}};
  EXPECT_FALSE(has_left(state, with({1, 2, 3}), kFour)) << "the majority of before is needed";
  state.voters = {{kOne, kTwo, kThree}, {}};
  EXPECT_TRUE(has_left(state, with({1, 2, 3}), kFour));
  EXPECT_FALSE(has_left(state, with({1, 2, 3, 4}), kFour)) << "it has joined again, and does not vote yet";
}

TEST(Membership, AnIdIsGivenAnewOnceItsRemovalIsSettled) {
  ClusterState state;
  state.voters = {{kOne, kTwo, kThree}, {kOne, kTwo, kThree, kFour}};
  EXPECT_EQ(free_id(state, with({1, 2, 3})), ServerId{5});
  state.voters.before.clear();
  EXPECT_EQ(free_id(state, with({1, 2, 3})), kFour);
  EXPECT_EQ(free_id(state, with({1, 2, 63})), kFour) << "none is free above";
  state.voters.now.erase(kThree);
  EXPECT_EQ(free_id(state, with({1, 2, 63})), kThree);
}

}  // namespace
}  // namespace baton
