// Loss and flapping of links, from counters as corosync gives them.
#include "src/daemon/link_watch.h"

#include <gtest/gtest.h>

namespace baton {
namespace {

LinkStatus link(uint64_t pings, uint64_t pongs, uint32_t downs = 0, bool connected = true) {
  LinkStatus status{ServerId(2), 1, connected, {}};
  status.counters.pings = pings;
  status.counters.pongs = pongs;
  status.counters.downs = downs;
  status.counters.latency_us = 210;
  return status;
}

const LinkReport& only(const LinkWatch& watch) {
  EXPECT_EQ(watch.reports().size(), 1u);
  return watch.reports().front();
}

TEST(LinkWatch, KnowsNoLossBeforeThereArePings) {
  LinkWatch watch;
  watch.take(Instant{1s}, {link(1000, 900)});
  EXPECT_EQ(only(watch).loss_per_mille, std::nullopt);  // what was lost before is no news
  watch.take(Instant{2s}, {link(1005, 905)});
  EXPECT_EQ(only(watch).loss_per_mille, 0u);
  EXPECT_EQ(only(watch).round_trip_us, 210u);
}

TEST(LinkWatch, ForgivesTheAnswerThatIsOnItsWay) {
  LinkWatch watch;
  watch.take(Instant{1s}, {link(0, 0)});
  watch.take(Instant{2s}, {link(10, 9)});
  EXPECT_EQ(only(watch).loss_per_mille, 0u);
  watch.take(Instant{3s}, {link(20, 15)});
  EXPECT_EQ(only(watch).loss_per_mille, 250u);
}

TEST(LinkWatch, ForgetsLossAfterHalfAMinute) {
  LinkWatch watch;
  watch.take(Instant{0s}, {link(0, 0)});
  watch.take(Instant{1s}, {link(10, 0)});
  EXPECT_EQ(only(watch).loss_per_mille, 1000u);
  for (int second = 2; second <= 40; ++second)
    watch.take(Instant{seconds(second)}, {link(10ull * second, 10ull * second - 10)});
  EXPECT_EQ(only(watch).loss_per_mille, 0u);
}

TEST(LinkWatch, OneCutIsNoFlapping) {
  LinkWatch watch;
  watch.take(Instant{0s}, {link(0, 0)});
  for (int second = 1; second < 60; ++second) watch.take(Instant{seconds(second)}, {link(10, 0, 1, false)});
  EXPECT_EQ(only(watch).downs_recent, 1u);
  EXPECT_FALSE(only(watch).flapping());
  watch.take(Instant{61s}, {link(20, 10, 2, true)});
  EXPECT_TRUE(only(watch).flapping());
  watch.take(Instant{400s}, {link(30, 20, 2, true)});
  EXPECT_FALSE(only(watch).flapping());
  EXPECT_EQ(only(watch).downs, 2u);
}

TEST(LinkWatch, AStartOfCorosyncIsNoLoss) {
  LinkWatch watch;
  watch.take(Instant{0s}, {link(5000, 5000, 3)});
  watch.take(Instant{1s}, {});
  watch.take(Instant{2s}, {link(10, 10)});
  EXPECT_EQ(only(watch).downs_recent, 0u);
  watch.take(Instant{3s}, {link(5, 4)});  // unnoticed in between
  EXPECT_EQ(only(watch).loss_per_mille, std::nullopt);
  EXPECT_EQ(only(watch).downs_recent, 0u);
}

}  // namespace
}  // namespace baton
