// BlockSet: a set of blocks as a bitmap in pages that exist only where something is set: memory is bounded by
// the device's bitmap however scattered the blocks are. Pure. docs/protocol.md, "Coverage".
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <vector>

#include "src/core/mirror/mirror_types.h"

namespace baton::mirror {

class BlockSet {
 public:
  /// True if something changed.
  bool add(BlockRange range);
  bool remove(BlockRange range);
  void clear();

  bool empty() const { return count_ == 0; }
  uint64_t count() const { return count_; }
  bool contains(uint64_t block) const;
  /// The first run of set blocks that begins at or after `from`, cut to `limit` blocks.
  std::optional<BlockRange> next(uint64_t from, uint64_t limit) const;
  /// All runs within `range`, ascending.
  std::vector<BlockRange> runs(BlockRange range) const;
  bool page_empty(uint64_t page) const { return !pages_.contains(page); }

 private:
  static constexpr uint64_t kWordBits = 64;
  static constexpr uint64_t kWords = kBitmapPageBlocks / kWordBits;
  struct Page {
    std::array<uint64_t, kWords> words{};
    uint64_t count = 0;
  };
  enum class Change { kAdd, kRemove };

  bool change(BlockRange range, Change change);
  static uint64_t change_page(Page& page, uint64_t first, uint64_t end, Change change);
  /// The first block at or after `from` that is set (or clear) within the page; kBitmapPageBlocks if none.
  static uint64_t find(const Page& page, uint64_t from, bool set);

  std::map<uint64_t, Page> pages_;
  uint64_t count_ = 0;
};

}  // namespace baton::mirror
