// MirrorPair: what a loss of power at this instant would leave on either disk. docs/architecture.md, I2;
// docs/protocol.md, S1, A2.
#include <fmt/format.h>

#include "sim/mirror_pair.h"

namespace baton::sim {

/// Any moment may be that of the loss: nothing is changed here, what the disks could lose is only looked at.
void MirrorPair::check_durability() {
  for (int index = 0; index < 2; ++index) {
    const mirror::Superblock& superblock = nodes_[index].disk->stored().superblock;
    const bool new_disk = superblock.generation.counter == 0;
    if (nodes_[index].disk_dead || superblock.detached || new_disk) continue;
    check_either_disk(index);
    if (superblock.consistent) check_order(index);
  }
}

/// I2: both servers lose power now, and then the other disk dies: every acknowledged flush is on this one, and it may
/// go first (S5).
void MirrorPair::check_either_disk(int index) const {
  const auto& set = database_.committed().in_sync;
  if (set.size() != 2) return;
  const MirrorDisk& disk = *nodes_[index].disk;
  if (!disk.stored().superblock.consistent) {
    throw Violation{fmt::format("I2: copy {} is in the set and not consistent: the other disk may die", index)};
  }
  const auto judge = [&](uint64_t block, uint64_t value) {
    const size_t floor = history_.flushed_floor(block);
    if (history_.is_at_least(block, value, floor)) return;
    throw Violation{fmt::format("I2: a flush would not survive a loss of power and of disk {}: {}", 1 - index,
                                history_.judge(block, value, floor))};
  };
  for (uint64_t block = 0; block < history_.size(); ++block) {
    if (history_.flushed_floor(block) > 0) judge(block, disk.durable()[block]);
  }
  for (const auto& [block, value] : disk.unsettled()) judge(block, value);
}

/// A2: the content is one that a loss of power could have left in the primary's place.
void MirrorPair::check_order(int index) const {
  const MirrorDisk& disk = *nodes_[index].disk;
  const std::string wrong = history_.judge_order(disk.durable(), disk.unsettled());
  if (wrong.empty()) return;
  throw Violation{fmt::format("A2: copy {} has writes of after a flush, and not all of before it: {}", index, wrong)};
}

}  // namespace baton::sim
