// See mirror_history.h.
#include "sim/mirror_history.h"

#include <fmt/format.h>

#include <algorithm>

namespace baton::sim {

MirrorHistory::MirrorHistory(uint64_t size_blocks) : blocks_(size_blocks) {}

std::vector<uint64_t> MirrorHistory::issue(BlockRange range) {
  std::vector<uint64_t> issued;
  for (uint64_t number = range.first; number < range.end(); ++number) {
    Block& block = blocks_[number];
    issued.push_back(values_.size());
    values_.push_back({number, block.values.size(), 0, {}, flushes_.size()});
    block.values.push_back(issued.back());
  }
  return issued;
}

std::optional<size_t> MirrorHistory::position(uint64_t block, uint64_t value) const {
  if (value == 0) return 0;
  if (value >= values_.size() || values_[value].block != block) return std::nullopt;
  return values_[value].position;
}

void MirrorHistory::acknowledged(BlockRange range, const std::vector<uint64_t>& values, bool flushed,
                                 Instant now) {
  ++acknowledgements_;
  last_acknowledged_ = now;
  for (uint64_t index = 0; index < range.count; ++index) {
    Block& block = blocks_[range.first + index];
    const size_t at = *position(range.first + index, values[index]);
    values_[values[index]].acknowledged_at = acknowledgements_;
    values_[values[index]].when = now;
    block.acknowledged = std::max(block.acknowledged, at);
    if (flushed) block.flushed = std::max(block.flushed, at);
  }
}

void MirrorHistory::flush_acknowledged(uint64_t mark) {
  flushes_.push_back(flushes_.empty() ? mark : std::max(mark, flushes_.back()));
  for (Block& block : blocks_) block.flushed = newest_acknowledged(block, block.flushed, mark);
}

/// The position of the newest value that was acknowledged by `mark`, beyond a position; that one if there is none.
size_t MirrorHistory::newest_acknowledged(const Block& block, size_t above, uint64_t mark) const {
  for (size_t at = block.acknowledged; at > above; --at) {
    const uint64_t when = values_[block.values[at]].acknowledged_at;
    if (when != 0 && when <= mark) return at;
  }
  return above;
}

std::string MirrorHistory::judge(uint64_t block, uint64_t value, size_t floor) const {
  if (is_at_least(block, value, floor)) return {};
  const auto at = position(block, value);
  if (!at) return fmt::format("block {} has value {}, which was never written there", block, value);
  return fmt::format("block {} has value {} (write {} there), but must have write {} (value {}) or a later one",
                     block, value, *at, floor, blocks_[block].values[floor]);
}

void MirrorHistory::whole_set_crashed(const std::vector<uint64_t>& content) {
  for (uint64_t number = 0; number < blocks_.size(); ++number) {
    Block& block = blocks_[number];
    const auto at = position(number, content[number]);
    if (!at) continue;
    for (size_t later = *at + 1; later < block.values.size(); ++later) values_[block.values[later]].acknowledged_at = 0;
    block.acknowledged = *at;
    block.flushed = std::min(block.flushed, *at);
  }
  // The order of what was before is of no use any more: some of it never happened.
  flushes_.clear();
  for (Value& value : values_) value.epoch = 0;
}

std::string MirrorHistory::judge_order(const std::vector<uint64_t>& durable, const Unsettled& unsettled) const {
  size_t newest = 0;
  for (uint64_t block = 0; block < blocks_.size(); ++block) newest = std::max(newest, epoch_of(durable[block]));
  for (const auto& [block, value] : unsettled) newest = std::max(newest, epoch_of(value));
  return newest == 0 ? std::string{} : judge_durable(durable, flushes_[newest - 1]);
}

std::string MirrorHistory::trailing_took_over(const std::vector<uint64_t>& content, Duration most) {
  for (uint64_t number = 0; number < blocks_.size(); ++number) {
    const Block& block = blocks_[number];
    const auto at = position(number, content[number]);
    if (!at) return judge(number, content[number], 0);
    for (size_t later = *at + 1; later < block.values.size(); ++later) {
      const Value& value = values_[block.values[later]];
      if (value.acknowledged_at == 0 || last_acknowledged_ - value.when <= most) continue;
      return fmt::format("block {} lacks value {}, acknowledged {} ms before the last acknowledgement", number,
                         block.values[later], (last_acknowledged_ - value.when) / std::chrono::milliseconds(1));
    }
  }
  whole_set_crashed(content);
  return {};
}

std::string MirrorHistory::judge_durable(const std::vector<uint64_t>& durable, uint64_t mark) const {
  for (uint64_t number = 0; number < blocks_.size(); ++number) {
    const Block& block = blocks_[number];
    // What has the newest of all has enough, whatever the flush covered.
    if (block.acknowledged == 0 || is_at_least(number, durable[number], block.acknowledged)) continue;
    const size_t floor = newest_acknowledged(block, 0, mark);
    if (floor == 0) continue;
    const std::string wrong = judge(number, durable[number], floor);
    if (!wrong.empty()) return wrong;
  }
  return {};
}

}  // namespace baton::sim
