// See mirror_history.h.
#include "sim/mirror_history.h"

#include <fmt/format.h>

#include <algorithm>

namespace baton::sim {

MirrorHistory::MirrorHistory(uint64_t size_blocks) : blocks_(size_blocks) {}

std::vector<uint64_t> MirrorHistory::issue(BlockRange range) {
  std::vector<uint64_t> values;
  for (uint64_t block = range.first; block < range.end(); ++block) {
    values.push_back(next_value_++);
    positions_.push_back(blocks_[block].values.size());
    blocks_[block].values.push_back({values.back(), 0, {}, flushes_.size()});
  }
  return values;
}

std::optional<size_t> MirrorHistory::position(uint64_t block, uint64_t value) const {
  if (value == 0) return 0;
  if (value >= positions_.size()) return std::nullopt;
  const size_t at = positions_[value];
  const auto& values = blocks_[block].values;
  if (at >= values.size() || values[at].value != value) return std::nullopt;
  return at;
}

void MirrorHistory::acknowledged(BlockRange range, const std::vector<uint64_t>& values, bool flushed,
                                 Instant now) {
  ++acknowledgements_;
  last_acknowledged_ = now;
  for (uint64_t index = 0; index < range.count; ++index) {
    Block& block = blocks_[range.first + index];
    const size_t at = *position(range.first + index, values[index]);
    block.values[at].acknowledged_at = acknowledgements_;
    block.values[at].when = now;
    block.acknowledged = std::max(block.acknowledged, at);
    if (flushed) block.flushed = std::max(block.flushed, at);
  }
}

void MirrorHistory::flush_acknowledged(uint64_t mark) {
  flushes_.push_back(flushes_.empty() ? mark : std::max(mark, flushes_.back()));
  for (Block& block : blocks_) {
    for (size_t at = block.acknowledged; at > block.flushed; --at) {
      const uint64_t when = block.values[at].acknowledged_at;
      if (when == 0 || when > mark) continue;
      block.flushed = at;
      break;
    }
  }
}

std::string MirrorHistory::judge(uint64_t block, uint64_t value, size_t floor) const {
  const auto at = position(block, value);
  if (!at) return fmt::format("block {} has value {}, which was never written there", block, value);
  if (*at >= floor) return {};
  return fmt::format("block {} has value {} (write {} there), but must have write {} (value {}) or a later one",
                     block, value, *at, floor, blocks_[block].values[floor].value);
}

void MirrorHistory::whole_set_crashed(const std::vector<uint64_t>& content) {
  for (uint64_t number = 0; number < blocks_.size(); ++number) {
    Block& block = blocks_[number];
    const auto at = position(number, content[number]);
    if (!at) continue;
    for (size_t later = *at + 1; later < block.values.size(); ++later) block.values[later].acknowledged_at = 0;
    block.acknowledged = *at;
    block.flushed = std::min(block.flushed, *at);
  }
  // The order of what was before is of no use any more: some of it never happened.
  flushes_.clear();
  for (Block& block : blocks_) {
    for (Value& value : block.values) value.epoch = 0;
  }
}

size_t MirrorHistory::epoch_of(uint64_t block, uint64_t value) const {
  const auto at = position(block, value);
  return at ? blocks_[block].values[*at].epoch : 0;
}

std::string MirrorHistory::judge_order(const std::vector<uint64_t>& durable, const Unsettled& unsettled) const {
  size_t newest = 0;
  for (uint64_t block = 0; block < blocks_.size(); ++block) newest = std::max(newest, epoch_of(block, durable[block]));
  for (const auto& [block, value] : unsettled) newest = std::max(newest, epoch_of(block, value));
  return newest == 0 ? std::string{} : judge_durable(durable, flushes_[newest - 1]);
}

std::string MirrorHistory::trailing_took_over(const std::vector<uint64_t>& content, Duration most) {
  for (uint64_t number = 0; number < blocks_.size(); ++number) {
    const Block& block = blocks_[number];
    const auto at = position(number, content[number]);
    if (!at) return judge(number, content[number], 0);
    for (size_t later = *at + 1; later < block.values.size(); ++later) {
      const auto& [value, acknowledged_at, when, epoch] = block.values[later];
      if (acknowledged_at == 0 || last_acknowledged_ - when <= most) continue;
      return fmt::format("block {} lacks value {}, acknowledged {} ms before the last acknowledgement", number, value,
                         (last_acknowledged_ - when) / std::chrono::milliseconds(1));
    }
  }
  whole_set_crashed(content);
  return {};
}

std::string MirrorHistory::judge_durable(const std::vector<uint64_t>& durable, uint64_t mark) const {
  for (uint64_t number = 0; number < blocks_.size(); ++number) {
    const Block& block = blocks_[number];
    size_t floor = 0;
    for (size_t at = block.acknowledged; at > 0; --at) {
      const uint64_t when = block.values[at].acknowledged_at;
      if (when == 0 || when > mark) continue;
      floor = at;
      break;
    }
    if (floor == 0) continue;
    const std::string wrong = judge(number, durable[number], floor);
    if (!wrong.empty()) return wrong;
  }
  return {};
}

}  // namespace baton::sim
