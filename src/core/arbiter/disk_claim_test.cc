// Every interleaving of two servers' reads, writes, crashes and wishes on the two blocks: never do both have the lock, except that a
// person made one claim void whose server has not looked since. docs/protocol.md, "The arbiter on a disk".
#include "src/core/arbiter/disk_claim.h"

#include <gtest/gtest.h>

#include <array>
#include <deque>
#include <optional>
#include <set>
#include <tuple>
#include <vector>

#include "src/base/planted.h"

namespace baton::arbiter {
namespace {

constexpr uint64_t kMostNumber = 3;

using Key = std::vector<uint64_t>;
enum class At : uint64_t { kDown, kReadOwn, kReadOtherUnwritten, kIdle, kWrote };

struct Process {
  At at = At::kDown;
  DiskBlock own;    // as it believes, or is being written
  DiskBlock other;  // as it read it last
  bool has = false;
};

struct World {
  std::array<DiskBlock, 2> disk;
  std::array<Process, 2> processes;
};

void put(Key& key, const DiskBlock& block) {
  key.insert(key.end(), {block.claim, block.number, static_cast<uint64_t>(block.held), block.voids});
}
Key key_of(const World& world) {
  Key key;
  for (int id = 0; id < 2; ++id) {
    const Process& process = world.processes[static_cast<size_t>(id)];
    put(key, world.disk[static_cast<size_t>(id)]);
    put(key, process.own);
    put(key, process.other);
    key.insert(key.end(), {static_cast<uint64_t>(process.at), static_cast<uint64_t>(process.has)});
  }
  return key;
}

struct Explorer {
  bool forced = false;  // may a person make claims void?
  bool read_first = false;  // the bug: the other one's block is read before the own one is written
  std::set<Key> seen;
  std::deque<World> open;
  uint64_t had = 0;
  std::string violation;

  void add(const World& world) {
    if (!violation.empty() || world.disk[0].number > kMostNumber || world.disk[1].number > kMostNumber) return;
    if (!seen.insert(key_of(world)).second) return;
    std::array<bool, 2> has{};
    for (size_t id = 0; id < 2; ++id) has[id] = world.processes[id].has && claims(world.disk[id], world.disk[1 - id]);
    had += has[0] || has[1] ? 1 : 0;
    if (has[0] && has[1]) violation = "both have the lock";
    // What was decided by a lock that was held is not to be passed over after a restart, either.
    std::array<bool, 2> held{};
    for (size_t id = 0; id < 2; ++id) held[id] = world.disk[id].held && claims(world.disk[id], world.disk[1 - id]);
    if (held[0] && held[1]) violation = "both hold it by their blocks";
    if ((has[0] && held[1]) || (has[1] && held[0])) violation = "one has it while the other one held it";
    open.push_back(world);
  }

  void step(const World& world, size_t id) {
    const Process& process = world.processes[id];
    if (process.at != At::kDown) {
      World crashed = world;
      crashed.processes[id] = Process{};
      add(crashed);
    }
    World next = world;
    Process& changed = next.processes[id];
    switch (process.at) {
      case At::kDown:
        changed.at = At::kReadOwn;
        return add(next);
      case At::kReadOwn:
        changed.own = world.disk[id];
        changed.at = At::kReadOtherUnwritten;
        return add(next);
      case At::kReadOtherUnwritten:
        changed.other = world.disk[1 - id];
        changed.at = At::kIdle;
        return add(next);
      case At::kIdle:
        return write(world, id);
      case At::kWrote:
        if (!read_first) changed.other = world.disk[1 - id];
        changed.has = changed.own.held && has_lock(changed.own, changed.other);
        changed.at = At::kIdle;
        return add(next);
    }
  }

  void write(const World& world, size_t id) {
    const Process& process = world.processes[id];
    for (const auto kind : {DiskWish::Kind::kKeep, DiskWish::Kind::kHold, DiskWish::Kind::kFree})
      for (const uint64_t voids : {uint64_t{0}, process.other.claim}) {
        if (voids != 0 && (!forced || kind != DiskWish::Kind::kHold)) continue;
        World next = world;
        Process& changed = next.processes[id];
        changed.own = prepare(process.own, process.other, {kind, voids}, id == 1);
        changed.own.sequence = 0;
        if (!claims(changed.own, process.other)) changed.has = false;
        next.disk[id] = changed.own;
        changed.at = At::kWrote;
        add(next);
      }
  }

  void explore() {
    add(World{});
    while (!open.empty() && violation.empty()) {
      const World world = open.front();
      open.pop_front();
      for (size_t id = 0; id < 2; ++id) step(world, id);
    }
  }
};

TEST(DiskClaim, NeverBothInAnyInterleaving) {
  Explorer explorer;
  explorer.explore();
  EXPECT_EQ(explorer.violation, "");
  EXPECT_GT(explorer.seen.size(), 5000u);
  EXPECT_GT(explorer.had, 500u);
}

TEST(DiskClaim, AWordThatVoidsAClaimEndsItWhereItIsLookedAt) {
  Explorer explorer;
  explorer.forced = true;
  explorer.explore();
  EXPECT_EQ(explorer.violation, "");
  EXPECT_GT(explorer.seen.size(), 20000u);
}

TEST(DiskClaim, TheExplorationFindsAWrongOrder) {
  Explorer explorer;
  explorer.read_first = true;
  explorer.explore();
  EXPECT_NE(explorer.violation, "");
}

/// A server by itself, as far as it needs one.
struct Side {
  DiskBlock own, other;
  void round(std::array<DiskBlock, 2>& disk, size_t id, const DiskWish& wish) {
    own = disk[id] = prepare(own, other, wish, id == 1);
    other = disk[1 - id];
  }
  bool has() const { return own.held && has_lock(own, other); }
};

TEST(DiskClaim, OneOfTwoThatClaimAtOnceGetsIt) {
  std::array<DiskBlock, 2> disk;
  std::array<Side, 2> sides;
  const DiskWish hold{DiskWish::Kind::kHold};
  for (size_t id = 0; id < 2; ++id) sides[id].own = disk[id] = prepare(sides[id].own, sides[id].other, hold, id == 1);
  for (size_t id = 0; id < 2; ++id) sides[id].other = disk[1 - id];
  EXPECT_FALSE(sides[0].has() || sides[1].has());
  for (int turn = 0; turn < 4; ++turn)
    for (size_t id = 0; id < 2; ++id) sides[id].round(disk, id, hold);
  EXPECT_TRUE(sides[0].has());
  EXPECT_FALSE(sides[1].has());
}

TEST(DiskClaim, IsKeptOverCrashesAndFreedByItsHolderAlone) {
  std::array<DiskBlock, 2> disk;
  Side holder, other;
  const DiskWish hold{DiskWish::Kind::kHold}, free{DiskWish::Kind::kFree};
  for (int turn = 0; turn < 3; ++turn) holder.round(disk, 1, hold);
  EXPECT_TRUE(holder.has());
  for (int turn = 0; turn < 5; ++turn) other.round(disk, 0, hold);
  EXPECT_FALSE(other.has());
  Side back{disk[1], disk[0]};
  for (int turn = 0; turn < 3; ++turn) back.round(disk, 1, hold);
  EXPECT_TRUE(back.has());
  back.round(disk, 1, free);
  for (int turn = 0; turn < 3; ++turn) other.round(disk, 0, hold);
  EXPECT_TRUE(other.has());
}

TEST(DiskClaim, AClaimMadeLaterThanWhatAPersonSawIsNotVoided) {
  std::array<DiskBlock, 2> disk;
  Side one, two;
  const DiskWish hold{DiskWish::Kind::kHold}, free{DiskWish::Kind::kFree};
  for (int turn = 0; turn < 3; ++turn) one.round(disk, 0, hold);
  const uint64_t seen = disk[0].claim;
  one.round(disk, 0, free);
  for (int turn = 0; turn < 3; ++turn) one.round(disk, 0, hold);
  for (int turn = 0; turn < 3; ++turn) two.round(disk, 1, {DiskWish::Kind::kHold, seen});
  EXPECT_FALSE(two.has());
  for (int turn = 0; turn < 3; ++turn) two.round(disk, 1, {DiskWish::Kind::kHold, disk[0].claim});
  EXPECT_TRUE(two.has());
  one.round(disk, 0, {});
  EXPECT_FALSE(one.has());
}

}  // namespace
}  // namespace baton::arbiter
