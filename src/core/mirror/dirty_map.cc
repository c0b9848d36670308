// See dirty_map.h.
#include "src/core/mirror/dirty_map.h"

#include <algorithm>

#include "src/base/assert.h"

namespace baton::mirror {

namespace {
constexpr size_t kPagesPerBatch = 256;
constexpr uint64_t kPageExtents = kBitmapPageBlocks / kExtentBlocks;

BlockRange extents_of_page(uint64_t page) { return {page * kPageExtents, kPageExtents}; }
}  // namespace

DirtyMap::DirtyMap(uint64_t size_blocks, const std::vector<BlockRange>& stored) : size_blocks_(size_blocks) {
  for (BlockRange range : stored) {
    if (range.first >= size_blocks_) continue;
    range.count = std::min(range.count, size_blocks_ - range.first);
    if (range.count == 0) continue;
    blocks_.add(range);
    for (uint64_t page = range.first / kBitmapPageBlocks; page <= (range.end() - 1) / kBitmapPageBlocks;
         ++page) {
      bits_on_disk_.insert(page);
    }
  }
}

void DirtyMap::changed(BlockRange range) {
  for (uint64_t page = range.first / kBitmapPageBlocks; page <= (range.end() - 1) / kBitmapPageBlocks; ++page) {
    const bool clear_on_disk = !bits_on_disk_.contains(page) && !in_flight_.contains(page);
    if (clear_on_disk && blocks_.page_empty(page)) {
      stale_.erase(page);
      wanted_.erase(page);
      fresh_.remove(extents_of_page(page));
    } else {
      stale_.insert(page);
    }
  }
}

void DirtyMap::mark(BlockRange range) {
  if (range.count == 0 || !blocks_.add(range)) return;
  const uint64_t first = range.first / kExtentBlocks;
  fresh_.add({first, (range.end() - 1) / kExtentBlocks - first + 1});
  changed(range);
}

void DirtyMap::unmark(BlockRange range) {
  if (range.count > 0 && blocks_.remove(range)) changed(range);
}

void DirtyMap::unmark_all() {
  if (blocks_.empty()) return;
  blocks_.clear();
  changed({0, size_blocks_});
}

void DirtyMap::want_page(uint64_t page) {
  if (stale_.contains(page)) wanted_.insert(page);
}

void DirtyMap::want_all() { wanted_ = stale_; }

std::map<uint64_t, std::vector<BlockRange>> DirtyMap::begin_batch() {
  BATON_ASSERT(in_flight_.empty());
  std::map<uint64_t, std::vector<BlockRange>> batch;
  while (!wanted_.empty() && batch.size() < kPagesPerBatch) {
    const uint64_t page = *wanted_.begin();
    wanted_.erase(wanted_.begin());
    stale_.erase(page);
    const uint64_t first = page * kBitmapPageBlocks;
    auto runs = blocks_.runs({first, std::min(kBitmapPageBlocks, size_blocks_ - first)});
    in_flight_[page] = !runs.empty();
    for (const BlockRange& extents : fresh_.runs(extents_of_page(page))) flying_.add(extents);
    fresh_.remove(extents_of_page(page));
    batch.emplace(page, std::move(runs));
  }
  return batch;
}

void DirtyMap::end_batch(bool ok) {
  for (const auto& [page, has_bits] : in_flight_) {
    if (!ok) {  // either content may be on disk now
      bits_on_disk_.insert(page);
      stale_.insert(page);
      wanted_.insert(page);
    } else if (has_bits) {
      bits_on_disk_.insert(page);
    } else {
      bits_on_disk_.erase(page);
    }
  }
  if (!ok) {
    for (const BlockRange& extents : flying_.runs({0, pages() * kPageExtents})) fresh_.add(extents);
  }
  in_flight_.clear();
  flying_.clear();
}

}  // namespace baton::mirror
