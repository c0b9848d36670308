// Bits by words of 64. See block_set.h.
#include "src/core/mirror/block_set.h"

#include <algorithm>
#include <bit>
#include <limits>

namespace baton::mirror {

namespace {
uint64_t mask_of(uint64_t first_bit, uint64_t end_bit) {
  const uint64_t below_end = end_bit == 64 ? ~uint64_t{0} : (uint64_t{1} << end_bit) - 1;
  return below_end & ~((uint64_t{1} << first_bit) - 1);
}
}  // namespace

bool BlockSet::add(BlockRange range) { return change(range, Change::kAdd); }
bool BlockSet::remove(BlockRange range) { return change(range, Change::kRemove); }

void BlockSet::clear() {
  pages_.clear();
  count_ = 0;
}

bool BlockSet::change(BlockRange range, Change kind) {
  bool changed = false;
  uint64_t at = range.first;
  while (at < range.end()) {
    const uint64_t number = at / kBitmapPageBlocks;
    const uint64_t page_first = number * kBitmapPageBlocks;
    const uint64_t end = std::min(range.end(), page_first + kBitmapPageBlocks);
    auto place = pages_.find(number);
    if (place == pages_.end() && kind == Change::kAdd) place = pages_.try_emplace(number).first;
    if (place != pages_.end()) {
      const uint64_t touched = change_page(place->second, at - page_first, end - page_first, kind);
      changed |= touched > 0;
      count_ = kind == Change::kAdd ? count_ + touched : count_ - touched;
      if (place->second.count == 0) pages_.erase(place);
    }
    at = end;
  }
  return changed;
}

uint64_t BlockSet::change_page(Page& page, uint64_t first, uint64_t end, Change kind) {
  uint64_t touched = 0;
  for (uint64_t word = first / kWordBits; word * kWordBits < end; ++word) {
    const uint64_t word_first = word * kWordBits;
    const uint64_t mask =
        mask_of(std::max(first, word_first) - word_first, std::min(end, word_first + kWordBits) - word_first);
    const uint64_t before = page.words[word];
    const uint64_t after = kind == Change::kAdd ? before | mask : before & ~mask;
    touched += static_cast<uint64_t>(std::popcount(before ^ after));
    page.words[word] = after;
  }
  page.count = kind == Change::kAdd ? page.count + touched : page.count - touched;
  return touched;
}

bool BlockSet::contains(uint64_t block) const {
  const auto place = pages_.find(block / kBitmapPageBlocks);
  if (place == pages_.end()) return false;
  const uint64_t bit = block % kBitmapPageBlocks;
  return (place->second.words[bit / kWordBits] >> (bit % kWordBits)) & 1;
}

uint64_t BlockSet::find(const Page& page, uint64_t from, bool set) {
  for (uint64_t word = from / kWordBits; word < kWords; ++word) {
    uint64_t bits = set ? page.words[word] : ~page.words[word];
    if (word == from / kWordBits) bits &= mask_of(from % kWordBits, 64);
    if (bits != 0) return word * kWordBits + static_cast<uint64_t>(std::countr_zero(bits));
  }
  return kBitmapPageBlocks;
}

std::optional<BlockRange> BlockSet::next(uint64_t from, uint64_t limit) const {
  for (auto place = pages_.lower_bound(from / kBitmapPageBlocks); place != pages_.end(); ++place) {
    const uint64_t page_first = place->first * kBitmapPageBlocks;
    const uint64_t first = find(place->second, from > page_first ? from - page_first : 0, true);
    if (first == kBitmapPageBlocks) continue;
    BlockRange run{page_first + first, find(place->second, first, false) - first};
    // A run may go on in the pages that follow.
    for (auto more = std::next(place); run.end() % kBitmapPageBlocks == 0 && run.count < limit &&
                                       more != pages_.end() && more->first == run.end() / kBitmapPageBlocks;
         ++more) {
      const uint64_t length = find(more->second, 0, false);
      if (length == 0) break;
      run.count += length;
    }
    run.count = std::min(run.count, limit);
    return run;
  }
  return std::nullopt;
}

std::vector<BlockRange> BlockSet::runs(BlockRange range) const {
  std::vector<BlockRange> found;
  uint64_t at = range.first;
  while (at < range.end()) {
    const auto run = next(at, range.end() - at);
    if (!run || run->first >= range.end()) break;
    found.push_back({run->first, std::min(run->end(), range.end()) - run->first});
    at = found.back().end();
  }
  return found;
}

}  // namespace baton::mirror
