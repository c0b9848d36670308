// Buffers: sizes, reuse, ownership by number.
#include "src/mirror/buffer_pool.h"

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>

#include "src/mirror/process_setup.h"
#include "src/mirror/ring.h"

namespace baton::mirror {
namespace {

TEST(BufferPool, ClassesAndAlignment) {
  BufferPool pool;
  for (uint32_t bytes : {1u, 4096u, 4097u, 65536u, 1u << 20}) {
    const BufferId name = pool.allocate(bytes);
    EXPECT_GE(pool.capacity(name), bytes);
    EXPECT_LT(pool.capacity(name), std::max(8192u, bytes * 2));
    EXPECT_EQ(reinterpret_cast<uintptr_t>(pool.data(name)) % 4096, 0u);
    pool.data(name)[bytes - 1] = 1;
  }
  EXPECT_EQ(pool.in_use(), 5u);
}

TEST(BufferPool, ReleasedMemoryIsReusedOnlyAfterTheLastReference) {
  BufferPool pool;
  const BufferId first = pool.allocate(4096);
  uint8_t* memory = pool.data(first);
  pool.retain(first);
  pool.release(first);
  const BufferId second = pool.allocate(4096);
  EXPECT_NE(pool.data(second), memory);
  pool.release(first);
  const BufferId third = pool.allocate(4096);
  EXPECT_EQ(pool.data(third), memory);
  EXPECT_NE(third, first);
}

TEST(BufferPool, NeverTwoBuffersInOnePlace) {
  BufferPool pool;
  std::vector<BufferId> names;
  for (int i = 0; i < 1000; ++i) names.push_back(pool.allocate(8192));
  for (size_t i = 0; i < names.size(); ++i) std::fill_n(pool.data(names[i]), 8192, static_cast<uint8_t>(i));
  for (size_t i = 0; i < names.size(); ++i) {
    EXPECT_EQ(pool.data(names[i])[0], static_cast<uint8_t>(i));
    EXPECT_EQ(pool.data(names[i])[8191], static_cast<uint8_t>(i));
  }
  const uint64_t reserved = pool.reserved_bytes();
  for (BufferId name : names) pool.release(name);
  for (int i = 0; i < 1000; ++i) pool.allocate(8192);
  EXPECT_EQ(pool.reserved_bytes(), reserved);
}

TEST(BufferPool, NamesOfTheCore) {
  BufferPool pool;
  pool.allocate_as(uint64_t{1} << 63, 4096);
  EXPECT_TRUE(pool.contains(uint64_t{1} << 63));
  pool.release(uint64_t{1} << 63);
  EXPECT_FALSE(pool.contains(uint64_t{1} << 63));
}

TEST(BufferPool, WhatRestsIsGivenBack) {
  BufferPool pool;
  Instant now{};
  const auto pass = [&](Duration time) {
    for (Instant end = now + time; now < end; now += 1s) pool.trim(now);
  };
  std::vector<BufferId> names;
  for (int i = 0; i < 64; ++i) names.push_back(pool.allocate(1 << 20));
  for (int i = 0; i < 512; ++i) names.push_back(pool.allocate(4096));
  EXPECT_TRUE(pool.full());
  EXPECT_GE(pool.reserved_bytes(), 66u << 20);
  pass(20s);
  EXPECT_GE(pool.reserved_bytes(), 66u << 20);  // all of it is in use
  while (names.size() > 3) {
    pool.release(names.back());
    names.pop_back();
  }
  EXPECT_FALSE(pool.full());
  pass(3s);
  EXPECT_GE(pool.reserved_bytes(), 66u << 20);  // it may be needed again at once
  pass(20s);
  EXPECT_LE(pool.reserved_bytes(), 6u << 20);
  EXPECT_GE(pool.reserved_bytes(), BufferPool::kKeptBytes);
  for (BufferId name : names) std::fill_n(pool.data(name), 1 << 20, uint8_t{1});
  for (int i = 0; i < 100; ++i) std::fill_n(pool.data(pool.allocate(1 << 20)), 1 << 20, uint8_t{1});
}

TEST(BufferPool, UnderSteadyLoadNothingComesOrGoes) {
  BufferPool pool;
  std::vector<BufferId> names;
  uint64_t reserved = 0;
  for (int round = 0; round < 100; ++round) {
    for (int i = 0; i < 300; ++i) names.push_back(pool.allocate(65536));
    for (BufferId name : names) pool.release(name);
    names.clear();
    pool.trim(Instant{} + round * 1s);
    if (round == 0) reserved = pool.reserved_bytes();
    EXPECT_EQ(pool.reserved_bytes(), reserved);
  }
  EXPECT_LT(reserved, 300 * 65536 * 5 / 4);
}

TEST(BufferPool, SmallUseTakesLittle) {
  BufferPool pool;
  for (uint32_t bytes = 4096; bytes <= 1 << 20; bytes *= 2) pool.allocate(bytes);
  EXPECT_LE(pool.reserved_bytes(), (2400u << 10) + SpareMemory::kLeast);
}

TEST(BufferPool, MemoryIsPartedWith) {
  BufferPool pool;
  const BufferId name = pool.allocate(8192);
  uint8_t* memory = pool.data(name);
  EXPECT_EQ(pool.name_of(memory + 5000), name);
  const BufferId kept = pool.part_with_memory(name);
  EXPECT_EQ(pool.data(kept), memory);
  EXPECT_NE(pool.data(name), memory);
  EXPECT_EQ(pool.name_of(memory), kept);
  pool.release(name);
  EXPECT_NE(pool.data(pool.allocate(8192)), memory);
  pool.release(kept);
  EXPECT_EQ(pool.data(pool.allocate(8192)), memory);
}

/// Whether all of its pages are there.
bool resident(const uint8_t* memory, size_t bytes) {
  std::vector<unsigned char> pages(bytes / 4096);
  EXPECT_EQ(mincore(const_cast<uint8_t*>(memory), bytes, pages.data()), 0);
  return std::all_of(pages.begin(), pages.end(), [](unsigned char page) { return (page & 1) != 0; });
}

/// What the owner of a pool is asked for, done when the test wants it.
struct Grower {
  explicit Grower(BufferPool* owned) : pool(owned) {
    owned->set_grow([this](uint8_t* memory, size_t bytes) { asked.emplace_back(memory, bytes); });
  }
  void grow() {
    const auto [memory, bytes] = asked.back();
    EXPECT_FALSE(resident(memory, bytes));
    EXPECT_EQ(madvise(memory, bytes, MADV_POPULATE_WRITE), 0);
    asked.pop_back();
    pool->grown(true);
  }
  BufferPool* pool;
  std::vector<std::pair<uint8_t*, size_t>> asked;
};

/// In a process of its own, whose memory is locked as that of the mirror daemon; 0: `test` says yes.
int with_locked_memory(bool (*test)()) {
  const pid_t pid = fork();
  if (pid == 0) {
    if (mlockall(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT) != 0) _exit(77);
    _exit(test() ? 0 : 1);
  }
  int status = 0;
  EXPECT_EQ(waitpid(pid, &status, 0), pid);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

TEST(BufferPool, WhatIsTakenIsPresentUnderLockOnFault) {
  const int result = with_locked_memory([] {
    BufferPool pool;
    bool all = true;
    // The spare memory, and what a burst takes at once.
    for (int i = 0; i < 32; ++i) all = resident(pool.data(pool.allocate(65536)), 65536) && all;
    return all && resident(pool.data(pool.allocate(1 << 20)), 1 << 20);
  });
  if (result == 77) GTEST_SKIP() << "memory cannot be locked here";
  EXPECT_EQ(result, 0);
}

TEST(BufferPool, TheRingMakesMemoryPresentUnderLockOnFault) {
  const int result = with_locked_memory([] {
    auto ring = Ring::create();
    if (!ring) return false;
    BufferPool pool;
    int grown = 0;
    pool.set_grow([&](uint8_t* memory, size_t bytes) {
      (*ring)->madvise(memory, bytes, MADV_POPULATE_WRITE, [&, memory, bytes](int error) {
        grown += error == 0 && resident(memory, bytes);
        pool.grown(error == 0);
      });
    });
    pool.allocate(1 << 20);
    return (*ring)->run_until([&] { return grown > 0; }, 10s) && !pool.short_of(1 << 20);
  });
  if (result == 77) GTEST_SKIP() << "memory cannot be locked here";
  EXPECT_EQ(result, 0);
}

/// Pages that this thread's writes and the kernel's had to make or copy.
long faults() {
  rusage usage{};
  getrusage(RUSAGE_THREAD, &usage);
  return usage.ru_minflt + usage.ru_majflt;
}

TEST(BufferPool, AForkCostsNoWriteAFault) {
  const int result = with_locked_memory([] {
    BufferPool pool;
    std::vector<uint8_t> heap(1 << 20, 1);
    int sockets[2];
    if (pipe(sockets) != 0) return false;
    const pid_t child = fork();
    if (child == 0) {
      close(sockets[1]);
      char byte = 0;
      _exit(read(sockets[0], &byte, 1) != 0);  // lives as long as the parent
    }
    own_memory_alone();
    const BufferId name = pool.allocate(1 << 19);
    const long before = faults();
    std::fill_n(pool.data(name), 1 << 19, uint8_t{2});
    std::fill(heap.begin(), heap.end(), uint8_t{2});
    return faults() - before < 10;
  });
  if (result == 77) GTEST_SKIP() << "memory cannot be locked here";
  EXPECT_EQ(result, 0);
}

TEST(BufferPool, MoreIsAskedForAheadOfNeed) {
  BufferPool pool;
  Grower grower(&pool);
  for (int i = 0; i < 8; ++i) pool.allocate(65536);
  EXPECT_TRUE(grower.asked.empty());
  pool.allocate(65536);
  ASSERT_EQ(grower.asked.size(), 1u);
  pool.allocate(65536);
  EXPECT_EQ(grower.asked.size(), 1u);  // one at a time
  grower.grow();
  for (int i = 0; i < 600; ++i) {
    pool.allocate(65536);
    while (!grower.asked.empty()) grower.grow();
  }
  EXPECT_LE(pool.reserved_bytes(), 610 * 65536 * 5 / 4 + SpareMemory::kMost * 3 / 2);
}

TEST(BufferPool, LargeBuffersAreAskedForAheadOfNeedToo) {
  BufferPool pool;
  Grower grower(&pool);
  pool.allocate(4096);  // takes its piece out of the first MiB
  pool.allocate(1 << 20);
  for (int i = 0; i < 5; ++i) {
    ASSERT_EQ(grower.asked.size(), 1u);
    grower.grow();
    const uint64_t reserved = pool.reserved_bytes();
    pool.allocate(1 << 20);
    ASSERT_EQ(grower.asked.size(), 1u);
    EXPECT_EQ(pool.reserved_bytes(), reserved + grower.asked[0].second) << "nothing was mapped at once";
  }
  for (int i = 0; i < 3; ++i) pool.allocate(1 << 20);  // all that was on its way, and more
  pool.grown(true);
  EXPECT_FALSE(pool.short_of(4096));
}

TEST(BufferPool, NewDataWaitsWhileMemoryIsOnItsWay) {
  BufferPool pool;
  Grower grower(&pool);
  EXPECT_FALSE(pool.short_of(1 << 20));
  const BufferId large = pool.allocate(1 << 20);
  ASSERT_EQ(grower.asked.size(), 1u);
  EXPECT_TRUE(pool.short_of(4096));
  EXPECT_TRUE(pool.short_of(1 << 20));
  pool.release(large);
  EXPECT_FALSE(pool.short_of(1 << 20));
  EXPECT_FALSE(pool.short_of(4096));
  // A small one lives in the large one's memory as long as there is nothing else.
  const BufferId small = pool.allocate(4096);
  EXPECT_EQ(pool.capacity(small), 1u << 20);
  EXPECT_TRUE(pool.short_of(4096));
  pool.release(small);
  pool.allocate(1 << 20);
  grower.grow();
  EXPECT_FALSE(pool.short_of(4096));
  EXPECT_EQ(pool.capacity(pool.allocate(4096)), 4096u);
}

TEST(BufferPool, WhatHasBegunIsServedFromTheReserveAndFromWhatIsOnItsWay) {
  BufferPool pool;
  Grower grower(&pool);
  for (int i = 0; i < 9; ++i) pool.allocate(65536);
  EXPECT_TRUE(pool.short_of(65536));
  const uint64_t reserved = pool.reserved_bytes();
  std::vector<BufferId> names;
  for (int i = 0; i < 7 + 8; ++i) names.push_back(pool.allocate(65536));
  EXPECT_EQ(pool.reserved_bytes(), reserved);
  ASSERT_EQ(grower.asked.size(), 1u);
  for (size_t i = 0; i < names.size(); ++i) {
    const auto* memory = pool.data(names[i]);
    EXPECT_TRUE(resident(memory, 65536));
    const bool on_its_way = memory >= grower.asked[0].first && memory < grower.asked[0].first + grower.asked[0].second;
    EXPECT_EQ(on_its_way, i >= 7);
  }
  // All that was on its way, and more.
  for (int i = 0; i < 20; ++i) names.push_back(pool.allocate(65536));
  for (size_t i = 0; i < names.size(); ++i) std::fill_n(pool.data(names[i]), 65536, static_cast<uint8_t>(i));
  pool.trim(Instant{} + 100s);  // nothing while it grows
  madvise(grower.asked[0].first, grower.asked[0].second, MADV_POPULATE_WRITE);
  pool.grown(true);
  for (size_t i = 0; i < names.size(); ++i) EXPECT_EQ(pool.data(names[i])[65535], static_cast<uint8_t>(i));
  for (int i = 0; i < 100; ++i) std::fill_n(pool.data(pool.allocate(65536)), 65536, uint8_t{255});
  for (size_t i = 0; i < names.size(); ++i) EXPECT_EQ(pool.data(names[i])[0], static_cast<uint8_t>(i));
}

TEST(BufferPool, SpareMemoryIsGivenBackAtRest) {
  BufferPool pool;
  Grower grower(&pool);
  std::vector<BufferId> names;
  for (int i = 0; i < 40; ++i) {
    names.push_back(pool.allocate(1 << 20));
    while (!grower.asked.empty()) grower.grow();
  }
  for (BufferId name : names) pool.release(name);
  for (int i = 0; i < 20; ++i) pool.trim(Instant{} + i * 1s);
  EXPECT_EQ(pool.reserved_bytes(), BufferPool::kKeptBytes);
}

}  // namespace
}  // namespace baton::mirror
