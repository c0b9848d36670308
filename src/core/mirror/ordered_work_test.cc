// OrderedWork: what may begin when, at a secondary of protocol A or B. docs/protocol.md, A2, A3.
#include "src/core/mirror/ordered_work.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <set>

namespace baton::mirror {
namespace {

using Kind = OrderedWork::Kind;
using Numbers = std::vector<uint64_t>;

/// take(), and whether it wants a flush.
struct Taken {
  Numbers begin;
  bool flush = false;
};
Taken take(OrderedWork& work) {
  Taken taken;
  taken.flush = work.take(taken.begin);
  return taken;
}

TEST(OrderedWork, WithinAnEpochTheOrderIsFree) {
  OrderedWork work;
  work.add(Kind::kWrite, 1, {0, 8}, 1);
  work.add(Kind::kWrite, 2, {8, 8}, 1);
  const Taken taken = take(work);
  EXPECT_EQ(taken.begin, (Numbers{1, 2}));
  EXPECT_FALSE(taken.flush);
  work.done(2);
  EXPECT_FALSE(work.empty());
  work.done(1);
  EXPECT_TRUE(work.empty());
}

TEST(OrderedWork, AHigherEpochWaitsUntilTheLowerOneIsWrittenAndFlushed) {
  OrderedWork work;
  work.add(Kind::kWrite, 1, {0, 1}, 1);
  work.add(Kind::kWrite, 2, {100, 1}, 2);
  EXPECT_EQ(take(work).begin, (Numbers{1}));
  work.done(1);
  Taken taken = take(work);
  EXPECT_TRUE(taken.begin.empty()) << "written is not durable";
  EXPECT_TRUE(taken.flush);
  EXPECT_FALSE(work.empty()) << "a flush is under way";
  EXPECT_FALSE(take(work).flush) << "once is enough";
  work.barrier_done();
  EXPECT_EQ(take(work).begin, (Numbers{2}));
}

TEST(OrderedWork, ABarrierThatHasNothingToFlushIsLeftOut) {
  OrderedWork work;
  work.add(Kind::kWrite, 1, {0, 1}, 5);
  EXPECT_EQ(take(work).begin, (Numbers{1})) << "the first write of all";
  work.done(1);
  work.add(Kind::kWrite, 2, {0, 1}, 6);
  EXPECT_TRUE(take(work).flush);
  work.barrier_done();
  EXPECT_EQ(take(work).begin, (Numbers{2}));
  work.add(Kind::kRead, 3, {50, 1}, 0);
  EXPECT_EQ(take(work).begin, (Numbers{3})) << "a read has no epoch";
}

TEST(OrderedWork, AFlushWaitsForAllBeforeItAndFlushesThem) {
  OrderedWork work;
  work.add(Kind::kWrite, 1, {0, 1}, 1);
  work.add(Kind::kFlush, 2, {}, 0);
  EXPECT_EQ(take(work).begin, (Numbers{1}));
  work.done(1);
  EXPECT_EQ(take(work).begin, (Numbers{2}));
  EXPECT_TRUE(work.empty()) << "nothing waits for a flush that runs";
}

// What the flush covers is durable only when it has ended: until then a later epoch must not reach the disk.
TEST(OrderedWork, AFlushUnderWayIsNoBarrier) {
  OrderedWork work;
  work.add(Kind::kWrite, 1, {0, 1}, 1);
  work.add(Kind::kFlush, 2, {}, 0);
  work.add(Kind::kWrite, 3, {100, 1}, 2);
  EXPECT_EQ(take(work).begin, (Numbers{1}));
  work.done(1);
  const Taken taken = take(work);
  EXPECT_FALSE(std::count(taken.begin.begin(), taken.begin.end(), 3u)) << "A2: write 1 is not durable yet";
}

TEST(OrderedWork, OverlappingOnesRunInTheOrderInWhichTheyCame) {
  OrderedWork work;
  work.add(Kind::kWrite, 1, {0, 4}, 1);
  work.add(Kind::kWrite, 2, {2, 4}, 1);
  work.add(Kind::kRead, 3, {5, 1}, 0);
  work.add(Kind::kRead, 4, {5, 2}, 0);
  work.add(Kind::kWrite, 5, {9, 1}, 1);
  EXPECT_EQ(take(work).begin, (Numbers{1, 5}));
  work.done(1);
  EXPECT_EQ(take(work).begin, (Numbers{2}));
  work.done(2);
  EXPECT_EQ(take(work).begin, (Numbers{3, 4})) << "reads share";
}

// Random work against the rules, ends in random order.
TEST(OrderedWork, KeepsBothRulesInALongRun) {
  struct Item {
    Kind kind;
    BlockRange range;
    uint64_t epoch;
    bool begun = false, done = false, durable = false;
  };
  for (uint64_t seed = 1; seed <= 50; ++seed) {
    std::mt19937_64 random(seed);
    OrderedWork work;
    std::vector<Item> items;
    std::vector<uint64_t> running;
    uint64_t epoch = 1;
    bool barrier = false;
    std::set<uint64_t> covered;  // by the barrier under way
    for (int step = 0; step < 400; ++step) {
      if (random() % 10 == 0) ++epoch;
      if (items.size() < 200 && random() % 2 == 0) {
        const Kind kind = random() % 4 == 0 ? Kind::kRead : Kind::kWrite;
        items.push_back({kind, {random() % 40, 1 + random() % 8}, kind == Kind::kRead ? 0 : epoch});
        work.add(kind, items.size() - 1, items.back().range, items.back().epoch);
      } else if (barrier && random() % 2 == 0) {
        for (const uint64_t number : covered) items[number].durable = true;
        barrier = false;
        work.barrier_done();
      } else if (!running.empty()) {
        const size_t place = random() % running.size();
        items[running[place]].done = true;
        work.done(running[place]);
        running.erase(running.begin() + static_cast<std::ptrdiff_t>(place));
      }
      const Taken taken = take(work);
      for (const uint64_t number : taken.begin) {
        Item& item = items[number];
        ASSERT_FALSE(item.begun);
        item.begun = true;
        running.push_back(number);
        for (uint64_t earlier = 0; earlier < number; ++earlier) {
          const Item& other = items[earlier];
          const bool both_read = item.kind == Kind::kRead && other.kind == Kind::kRead;
          if (!both_read && other.range.overlaps(item.range)) {
            ASSERT_TRUE(other.done) << "A3, seed " << seed;
          }
          if (item.kind == Kind::kWrite && other.kind == Kind::kWrite && other.epoch < item.epoch) {
            ASSERT_TRUE(other.durable) << "A2, seed " << seed;
          }
        }
      }
      if (!taken.flush) continue;
      ASSERT_FALSE(barrier);
      barrier = true;
      covered.clear();
      for (uint64_t number = 0; number < items.size(); ++number) {
        if (items[number].done) covered.insert(number);
      }
    }
  }
}

}  // namespace
}  // namespace baton::mirror
