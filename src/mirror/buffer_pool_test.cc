// Buffers: sizes, reuse, ownership by number.
#include "src/mirror/buffer_pool.h"

#include <gtest/gtest.h>

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
  EXPECT_LE(pool.reserved_bytes(), 2400u << 10);
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

}  // namespace
}  // namespace baton::mirror
