// Both builds of the hash agree; zeroes are found. Prints how fast both are.
#include "src/mirror/mirror_hash.h"

#include <gtest/gtest.h>

#include <random>

#include "src/mirror/mirror_hash_wide.h"
#include "src/mirror/ring.h"

namespace baton::mirror {
namespace {

TEST(MirrorHash, BothBuildsAgree) {
  if (!__builtin_cpu_supports("avx2")) GTEST_SKIP() << "no AVX2 here";
  std::mt19937_64 random(1);
  std::vector<uint64_t> data(64 * kBlockBytes / 8);
  for (uint64_t& word : data) word = random();
  const auto* bytes = reinterpret_cast<const uint8_t*>(data.data());
  std::vector<BlockHash> plain(64), wide(64);
  hash_blocks_plain(bytes, 64, plain.data());
  hash_blocks_wide(bytes, 64, wide.data());
  EXPECT_EQ(plain, wide);
  EXPECT_EQ(hash_blocks(bytes, 64), plain);
  EXPECT_NE(plain[0], plain[1]);
}

TEST(MirrorHash, Zeroes) {
  std::vector<uint8_t> data(1 << 16, 0);
  EXPECT_TRUE(is_zero(data.data(), data.size()));
  EXPECT_TRUE(is_zero(data.data(), 0));
  for (size_t at : {size_t{0}, size_t{1}, size_t{63}, size_t{4096}, data.size() - 1}) {
    data[at] = 1;
    EXPECT_FALSE(is_zero(data.data(), data.size())) << at;
    data[at] = 0;
  }
}

TEST(MirrorHash, Speed) {
  std::vector<uint8_t> data(16u << 20, 0);
  const auto measure = [&](auto&& work) {
    Duration best = 1h;
    for (int i = 0; i < 5; ++i) {
      const Instant before = Ring::now();
      work();
      best = std::min(best, Ring::now() - before);
    }
    return static_cast<double>(data.size()) / static_cast<double>(best.count());
  };
  std::vector<BlockHash> hashes(data.size() / kBlockBytes);
  bool zero = true;
  const double plain = measure([&] { hash_blocks_plain(data.data(), hashes.size(), hashes.data()); });
  const double chosen = measure([&] { hashes = hash_blocks(data.data(), hashes.size()); });
  const double zeroes = measure([&] { zero = zero && is_zero(data.data(), data.size()); });
  EXPECT_TRUE(zero);
  fmt::print("hash: {:.1f} GB/s (the library's build: {:.1f}); zero detection: {:.1f} GB/s\n", chosen, plain, zeroes);
}

}  // namespace
}  // namespace baton::mirror
