// DirtyMap: the blocks to be sent to the peer, and which pages of the on-disk bitmap lag behind. Pages are
// written only when somebody asks (an extent wants to leave the activity log, a hand-over). Pure.
// docs/protocol.md, C2, C4, C6.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <vector>

#include "src/core/mirror/block_set.h"
#include "src/core/mirror/mirror_types.h"

namespace baton::mirror {

class DirtyMap {
 public:
  DirtyMap(uint64_t size_blocks, const std::vector<BlockRange>& stored);

  const BlockSet& blocks() const { return blocks_; }
  void mark(BlockRange range);
  /// REQUIRES: not smaller than before.
  void grow(uint64_t size_blocks) { size_blocks_ = size_blocks; }
  void mark_all() { mark({0, size_blocks_}); }
  void unmark(BlockRange range);
  void unmark_all();

  /// True when every bit that was set in this extent is on disk (bits that were cleared since may be there
  /// still).
  bool extent_durable(uint64_t extent) const { return !fresh_.contains(extent) && !flying_.contains(extent); }
  void want_page(uint64_t page);
  void want_all();
  bool all_durable() const { return stale_.empty() && in_flight_.empty(); }

  // Writing: at most one batch at a time.
  bool batch_wanted() const { return in_flight_.empty() && !wanted_.empty(); }
  std::map<uint64_t, std::vector<BlockRange>> begin_batch();
  void end_batch(bool ok);

 private:
  void changed(BlockRange range);
  uint64_t pages() const { return (size_blocks_ + kBitmapPageBlocks - 1) / kBitmapPageBlocks; }

  uint64_t size_blocks_;
  BlockSet blocks_;
  BlockSet fresh_;                      // extents with bits that no batch has taken along yet
  BlockSet flying_;                     // extents with bits in the batch under way
  std::set<uint64_t> stale_;            // differ from the page on disk
  std::set<uint64_t> wanted_;           // stale pages that somebody waits for
  std::map<uint64_t, bool> in_flight_;  // page -> whether it has bits
  std::set<uint64_t> bits_on_disk_;     // pages that may have bits on disk
};

}  // namespace baton::mirror
