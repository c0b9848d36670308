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

}  // namespace
}  // namespace baton::mirror
