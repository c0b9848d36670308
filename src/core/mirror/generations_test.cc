// The table G2 of docs/protocol.md, row by row and over a whole history with forks.
#include "src/core/mirror/generations.h"

#include <gtest/gtest.h>

namespace baton::mirror {
namespace {

Generation gen(uint64_t counter, uint64_t random = 1) { return {counter, random}; }

Resync decide(Generation primary, std::vector<Generation> ancestors, Generation base, Generation secondary,
              std::vector<Generation> secondary_ancestors = {}) {
  return decide_resync(primary, ancestors, base, secondary, secondary_ancestors).resync;
}

// The table of docs/protocol.md, G2, row by row.
TEST(Generations, BlankSecondaryGetsAFullCopy) {
  EXPECT_EQ(decide(gen(1), {}, gen(1), gen(0)), Resync::kFull);
  EXPECT_EQ(decide(gen(5), {gen(4), gen(3)}, gen(4), gen(0, 0)), Resync::kFull);
}

TEST(Generations, SameGenerationIsFast) {
  EXPECT_EQ(decide(gen(3), {gen(2), gen(1)}, gen(3), gen(3), {gen(2), gen(1)}), Resync::kFast);
  EXPECT_EQ(decide(gen(3), {gen(2), gen(1)}, gen(1), gen(3), {gen(2), gen(1)}), Resync::kFast);
}

TEST(Generations, FromTheBaseOnTheBitmapKnows) {
  EXPECT_EQ(decide(gen(3), {gen(2), gen(1)}, gen(2), gen(2), {gen(1)}), Resync::kFast);
  EXPECT_EQ(decide(gen(4), {gen(3), gen(2), gen(1)}, gen(2), gen(3), {gen(2), gen(1)}), Resync::kFast);
  EXPECT_EQ(decide(gen(40), {gen(39), gen(38)}, gen(2), gen(2)), Resync::kFast)
      << "the base itself has left the list";
}

TEST(Generations, BeforeTheBaseIsFull) {
  EXPECT_EQ(decide(gen(3), {gen(2), gen(1)}, gen(2), gen(1)), Resync::kFull);
  EXPECT_EQ(decide(gen(3), {gen(2), gen(1)}, gen(3), gen(2), {gen(1)}), Resync::kFull);
}

TEST(Generations, AnOlderPrimaryIsRefused) {
  EXPECT_EQ(decide(gen(2), {gen(1)}, gen(2), gen(3), {gen(2), gen(1)}), Resync::kRefusedOlder);
  EXPECT_EQ(decide(gen(1), {}, gen(1), gen(3), {gen(2), gen(1)}), Resync::kRefusedOlder);
}

TEST(Generations, DivergedIsRefused) {
  EXPECT_EQ(decide(gen(3, 7), {gen(2)}, gen(2), gen(3, 8), {gen(2)}), Resync::kRefusedDiverged);
  EXPECT_EQ(decide(gen(1, 7), {}, gen(1, 7), gen(5), {gen(4)}), Resync::kRefusedDiverged)
      << "a new disk became primary";
  EXPECT_EQ(decide(gen(1, 7), {}, gen(1, 7), gen(1, 8)), Resync::kRefusedDiverged);
}

// Every pair of positions in a history that may fork: the answer follows from where the copies stand.
TEST(Generations, WholeTable) {
  constexpr uint64_t kLength = 6;
  for (uint64_t primary = 1; primary <= kLength; ++primary) {
    for (uint64_t secondary = 0; secondary <= kLength; ++secondary) {
      for (uint64_t base = 1; base <= primary; ++base) {
        for (uint64_t fork = 1; fork <= kLength;
             ++fork) {  // from here on the secondary's history is another one
          const auto on = [&](uint64_t counter, bool its) {
            return gen(counter, its && counter >= fork ? 2 : 1);
          };
          std::vector<Generation> ancestors, its_ancestors;
          for (uint64_t at = primary - 1; at >= 1; --at) ancestors.push_back(on(at, false));
          for (uint64_t at = secondary; at >= 2; --at) its_ancestors.push_back(on(at - 1, true));
          const Resync found =
              decide(on(primary, false), ancestors, on(base, false), on(secondary, true), its_ancestors);
          Resync expected = Resync::kRefusedDiverged;
          if (secondary == 0) {
            expected = Resync::kFull;
          } else if (secondary < fork && secondary <= primary) {
            expected = secondary == primary || secondary >= base ? Resync::kFast : Resync::kFull;
          } else if (secondary > primary && primary < fork) {
            expected = Resync::kRefusedOlder;
          }
          EXPECT_EQ(found, expected) << primary << " " << secondary << " base " << base << " fork " << fork;
        }
      }
    }
  }
}

TEST(Generations, ANewOneKeepsTheAncestors) {
  Superblock superblock;
  take_new_generation(superblock, 11);
  EXPECT_EQ(superblock.generation, gen(1, 11));
  EXPECT_EQ(superblock.base, superblock.generation);
  EXPECT_TRUE(superblock.ancestors.empty());
  take_new_generation(superblock, 12);
  EXPECT_EQ(superblock.generation, gen(2, 12));
  EXPECT_EQ(superblock.base, gen(1, 11));
  EXPECT_EQ(superblock.ancestors, (std::vector<Generation>{gen(1, 11)}));
  for (uint64_t count = 0; count < 2 * kMaxAncestors; ++count) take_new_generation(superblock, count);
  EXPECT_EQ(superblock.ancestors.size(), kMaxAncestors);
  EXPECT_EQ(superblock.ancestors.front().counter + 1, superblock.generation.counter);
}

}  // namespace
}  // namespace baton::mirror
