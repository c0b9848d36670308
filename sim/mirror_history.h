// MirrorHistory: what clients wrote, what was acknowledged and flushed, and from that which values a block may
// have. The reference of invariant I2. Simulation thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "src/core/mirror/mirror_types.h"

namespace baton::sim {

using mirror::BlockRange;

class MirrorHistory {
 public:
  explicit MirrorHistory(uint64_t size_blocks);
  uint64_t size() const { return blocks_.size(); }

  /// A write is issued: its blocks get fresh values, which are returned.
  std::vector<uint64_t> issue(BlockRange range);
  /// `flushed`: FUA.
  void acknowledged(BlockRange range, const std::vector<uint64_t>& values, bool flushed, Instant now);
  /// A flush is issued: returns what flush_acknowledged() wants.
  uint64_t flush_issued() const { return acknowledgements_; }
  void flush_acknowledged(uint64_t mark);

  /// The position of the newest value that a block must have at least: by acknowledgement, or by flush.
  size_t acknowledged_floor(uint64_t block) const { return blocks_[block].acknowledged; }
  size_t flushed_floor(uint64_t block) const { return blocks_[block].flushed; }
  /// The value was written to the block at position `floor` or later.
  bool is_at_least(uint64_t block, uint64_t value, size_t floor) const {
    if (value == 0) return floor == 0;
    return value < values_.size() && values_[value].block == block && values_[value].position >= floor;
  }
  /// Empty: the value was written to the block at position `floor` or later; else what is wrong.
  std::string judge(uint64_t block, uint64_t value, size_t floor) const;

  /// A2: content that a power loss could have left on one disk: with a write that was issued after a flush had been
  /// acknowledged, everything is there that the flush covered. `unsettled`: (block, value), there or not.
  using Unsettled = std::vector<std::pair<uint64_t, uint64_t>>;
  std::string judge_order(const std::vector<uint64_t>& durable, const Unsettled& unsettled) const;

  /// The whole in-sync set crashed: what the first copy has now is what counts.
  void whole_set_crashed(const std::vector<uint64_t>& content);
  /// A copy that was a little behind took over: everything that it lacks was acknowledged within `most` of the last
  /// acknowledgement. What it has now is what counts.
  std::string trailing_took_over(const std::vector<uint64_t>& content, Duration most);
  /// For a flush issued at `mark`: each block's content must be at least what had been acknowledged before.
  std::string judge_durable(const std::vector<uint64_t>& durable, uint64_t mark) const;

 private:
  struct Value {
    uint64_t block = 0;
    size_t position = 0;           // among the values of its block, from 1: 0 are the zeroes of the beginning
    uint64_t acknowledged_at = 0;  // 0: never
    Instant when{};
    size_t epoch = 0;              // flushes that had been acknowledged when it was issued
  };
  struct Block {
    std::vector<uint64_t> values{0};  // by position
    size_t acknowledged = 0;
    size_t flushed = 0;
  };
  size_t epoch_of(uint64_t value) const { return value < values_.size() ? values_[value].epoch : 0; }
  std::optional<size_t> position(uint64_t block, uint64_t value) const;
  size_t newest_acknowledged(const Block& block, size_t above, uint64_t mark) const;

  std::vector<Block> blocks_;
  std::vector<Value> values_{Value{}};  // by value, counted from 1
  uint64_t acknowledgements_ = 0;
  Instant last_acknowledged_{};
  std::vector<uint64_t> flushes_;  // the mark of each one that was acknowledged
};

}  // namespace baton::sim
