// Histograms, and which profile bears which figures.
#include "src/survey/tune.h"

#include <gtest/gtest.h>

namespace baton::survey {
namespace {

Distribution of(std::initializer_list<int64_t> times, int copies = 100) {
  Distribution made;
  for (int copy = 0; copy < copies; ++copy)
    for (const auto time : times) made.add(time);
  return made;
}

TuneFigures quiet() {
  TuneFigures figures;
  figures.watched = 10s;
  figures.normal = figures.real_time = of({50, 80, 200});
  figures.network = {{"server2", 0, 300, 0, of({150, 200, 400})}, {"server2", 1, 300, 0, of({150, 900})}};
  figures.flush = of({700, 900});
  return figures;
}

TEST(Distribution, KnowsQuantilesToItsBuckets) {
  Distribution made;
  for (int64_t time = 1; time <= 1000; ++time) made.add(time);
  EXPECT_EQ(made.count(), 1000u);
  EXPECT_EQ(made.worst_us(), 1000);
  EXPECT_NEAR(static_cast<double>(made.quantile_us(0.5)), 500, 130);
  EXPECT_GE(made.quantile_us(0.99), 990);
  EXPECT_EQ(made.quantile_us(1), 1000);
  EXPECT_EQ(Distribution().quantile_us(0.5), 0);
  uint64_t sum = 0;
  for (const auto& [end, number] : made.powers()) sum += number;
  EXPECT_EQ(sum, 1000u);
  made.add(INT64_MAX);
  EXPECT_EQ(made.worst_us(), INT64_MAX);
}

TEST(Recommend, FastForQuietMachines) {
  const auto made = recommend(quiet());
  EXPECT_EQ(made.profile, "fast");
  EXPECT_EQ(made.token, 100ms);
  EXPECT_EQ(made.needed, 4ms + 4ms + 50ms);
  EXPECT_TRUE(made.warnings.empty());
}

TEST(Recommend, LongerTokensForPauses) {
  auto figures = quiet();
  figures.real_time.add(11000);  // a virtual machine that was not let run
  EXPECT_EQ(recommend(figures).profile, "fast");  // 4 x 11 + 4 + 50 = 98
  figures.real_time.add(20000);
  EXPECT_EQ(recommend(figures).profile, "lan");
  figures.real_time.add(200000);
  EXPECT_EQ(recommend(figures).profile, "wan");
  figures.real_time.add(2000000);
  const auto made = recommend(figures);
  EXPECT_EQ(made.profile, "custom");
  EXPECT_EQ(made.token, 8100ms);  // 4 x 2000 + 4 + 50, up to a multiple of 50
}

TEST(Recommend, OrdinaryPriorityMustBearTheLease) {
  auto figures = quiet();
  figures.normal.add(130000);  // 4 x 130 = 520 > 330 - 3 x 15
  const auto made = recommend(figures);
  EXPECT_EQ(made.profile, "lan");
}

TEST(Recommend, TheBestLinkCounts) {
  auto figures = quiet();
  figures.network[1].round_trip.add(400000);
  EXPECT_EQ(recommend(figures).profile, "fast");
  figures.network[0].round_trip.add(70000);
  EXPECT_EQ(recommend(figures).profile, "lan");
}

TEST(Recommend, SaysWhatItCouldNotSee) {
  auto figures = quiet();
  figures.has_real_time = false;
  figures.why_no_real_time = "Operation not permitted";
  figures.network[0].lost = 30;
  figures.network[1].round_trip = {};
  figures.flush = {};
  const auto made = recommend(figures);
  EXPECT_EQ(made.warnings.size(), 4u);
}

TEST(Watch, FindsWhatThisMachineDoes) {
  TuneOptions options;
  options.state_directory = "/tmp";
  options.duration = 1s;
  const auto figures = watch(options);
  EXPECT_GT(figures.normal.count(), 50u);
  EXPECT_GT(figures.flush.count(), 0u) << figures.why_no_flush;
}

}  // namespace
}  // namespace baton::survey
