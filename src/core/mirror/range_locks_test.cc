// RangeLocks: turns, sharing, and never two that exclude each other.
#include "src/core/mirror/range_locks.h"

#include <gtest/gtest.h>

#include <random>

namespace baton::mirror {
namespace {

TEST(RangeLocks, OverlappingWritesTakeTurns) {
  RangeLocks locks;
  bool granted = false;
  const auto first = locks.acquire({0, 10}, LockMode::kWrite, 1, granted);
  EXPECT_TRUE(granted);
  locks.acquire({5, 10}, LockMode::kWrite, 2, granted);
  EXPECT_FALSE(granted);
  locks.acquire({20, 1}, LockMode::kWrite, 3, granted);
  EXPECT_TRUE(granted);
  std::vector<uint64_t> next;
  locks.release(first, next);
  EXPECT_EQ(next, std::vector<uint64_t>{2});
}

TEST(RangeLocks, ReadsShareAndDoNotOvertakeAWaitingWrite) {
  RangeLocks locks;
  bool granted = false;
  const auto read = locks.acquire({0, 4}, LockMode::kRead, 1, granted);
  const auto copy = locks.acquire({0, 4}, LockMode::kCopy, 2, granted);
  EXPECT_TRUE(granted);
  const auto write = locks.acquire({0, 4}, LockMode::kWrite, 3, granted);
  EXPECT_FALSE(granted);
  locks.acquire({2, 1}, LockMode::kRead, 4, granted);
  EXPECT_FALSE(granted) << "or writes would starve";
  locks.acquire({0, 4}, LockMode::kCopy, 5, granted);
  EXPECT_FALSE(granted);
  std::vector<uint64_t> next;
  locks.release(read, next);
  EXPECT_TRUE(next.empty());
  locks.release(copy, next);
  EXPECT_EQ(next, std::vector<uint64_t>{3});
  next.clear();
  locks.release(write, next);
  EXPECT_EQ(next, (std::vector<uint64_t>{5, 4}));
}

TEST(RangeLocks, AWaitingLockMayBeGivenUp) {
  RangeLocks locks;
  bool granted = false;
  const auto first = locks.acquire({0, 1}, LockMode::kWrite, 1, granted);
  const auto second = locks.acquire({0, 9}, LockMode::kWrite, 2, granted);
  locks.acquire({3, 1}, LockMode::kWrite, 3, granted);
  EXPECT_FALSE(granted);
  std::vector<uint64_t> next;
  locks.release(second, next);
  EXPECT_EQ(next, std::vector<uint64_t>{3});
  locks.clear();
  next.clear();
  locks.release(first, next);
  EXPECT_TRUE(next.empty());
}

TEST(RangeLocks, NeverTwoThatExcludeEachOther) {
  struct Held {
    BlockRange range;
    LockMode mode;
    LockHandle handle;
    bool granted;
  };
  std::mt19937_64 random(3);
  RangeLocks locks;
  std::map<uint64_t, Held> held;
  for (uint64_t owner = 1; owner < 4000; ++owner) {
    Held lock{{random() % 60, 1 + random() % 12}, static_cast<LockMode>(random() % 3), {}, false};
    lock.handle = locks.acquire(lock.range, lock.mode, owner, lock.granted);
    held[owner] = lock;
    while (held.size() > 12) {
      auto victim = std::next(held.begin(), static_cast<std::ptrdiff_t>(random() % held.size()));
      std::vector<uint64_t> next;
      locks.release(victim->second.handle, next);
      held.erase(victim);
      for (const uint64_t granted : next) held.at(granted).granted = true;
    }
    bool any = false;
    for (const auto& [left_owner, left] : held) {
      any |= left.granted;
      for (const auto& [right_owner, right] : held) {
        if (left_owner >= right_owner || !left.granted || !right.granted || !left.range.overlaps(right.range))
          continue;
        const bool writes = left.mode == LockMode::kWrite || right.mode == LockMode::kWrite;
        EXPECT_FALSE(writes || (left.mode == LockMode::kCopy && right.mode == LockMode::kCopy));
      }
    }
    EXPECT_TRUE(any) << "the first in the queue always has its turn";
  }
}

}  // namespace
}  // namespace baton::mirror
