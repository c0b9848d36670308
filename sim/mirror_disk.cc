// See mirror_disk.h.
#include "sim/mirror_disk.h"

#include <algorithm>

#include "src/base/assert.h"

namespace baton::sim {

MirrorDisk::MirrorDisk(const std::string& name, uint64_t size_blocks)
    : stored_(mirror::blank_copy(name, size_blocks)), durable_(size_blocks, 0), current_(size_blocks, 0) {}

void MirrorDisk::put(uint64_t block, uint64_t value) {
  current_[block] = value;
  cache_.push_back({next_number_++, block, value});
}

void MirrorDisk::begin_write(OperationId operation, BlockRange range, std::vector<uint64_t> values) {
  BATON_ASSERT(values.size() >= range.count);
  writes_[operation] = Write{range, std::move(values)};
}

void MirrorDisk::end_write(OperationId operation, bool ok, Random& random) {
  const Write write = std::move(writes_.at(operation));
  writes_.erase(operation);
  for (uint64_t index = 0; index < write.range.count; ++index) {
    if (ok || random.chance(0.5)) put(write.range.first + index, write.values[index]);
  }
}

void MirrorDisk::begin_flush(OperationId operation) { flushes_[operation] = next_number_; }

void MirrorDisk::end_flush(OperationId operation, bool ok) {
  const uint64_t end = flushes_.at(operation);
  flushes_.erase(operation);
  if (!ok) return;
  const auto rest =
      std::find_if(cache_.begin(), cache_.end(), [&](const Unflushed& entry) { return entry.number >= end; });
  for (auto entry = cache_.begin(); entry != rest; ++entry) durable_[entry->block] = entry->value;
  cache_.erase(cache_.begin(), rest);
}

std::vector<uint64_t> MirrorDisk::read(BlockRange range) const {
  const auto first = current_.begin() + static_cast<std::ptrdiff_t>(range.first);
  return {first, first + static_cast<std::ptrdiff_t>(range.count)};
}

std::vector<std::pair<uint64_t, uint64_t>> MirrorDisk::unsettled() const {
  std::vector<std::pair<uint64_t, uint64_t>> found;
  for (const Unflushed& entry : cache_) found.emplace_back(entry.block, entry.value);
  for (const auto& [operation, write] : writes_) {
    for (uint64_t at = 0; at < write.range.count; ++at) found.emplace_back(write.range.first + at, write.values[at]);
  }
  return found;
}

void MirrorDisk::revert_to_snapshot() {
  BATON_ASSERT(!snapshot_.empty());
  cache_.clear();
  durable_ = current_ = snapshot_;
}

bool MirrorDisk::busy(BlockRange range) const {
  return std::any_of(writes_.begin(), writes_.end(),
                     [&](const auto& entry) { return entry.second.range.overlaps(range); });
}

void MirrorDisk::begin_persist(OperationId operation, std::function<void(mirror::StoredCopy&)> apply) {
  persists_[operation] = std::move(apply);
}

void MirrorDisk::end_persist(OperationId operation, bool ok, Random& random) {
  if (ok || random.chance(0.5)) persists_.at(operation)(stored_);
  persists_.erase(operation);
}

/// Operations under way end with the machine: each block and each record is there or not.
void MirrorDisk::land_operations(Random& random) {
  for (const auto& [operation, write] : writes_) {
    for (uint64_t index = 0; index < write.range.count; ++index) {
      if (random.chance(0.5)) put(write.range.first + index, write.values[index]);
    }
  }
  for (const auto& [operation, apply] : persists_) {
    if (random.chance(0.5)) apply(stored_);
  }
  writes_.clear();
  persists_.clear();
  flushes_.clear();
}

void MirrorDisk::power_loss(Random& random) {
  land_operations(random);
  // Some losses take all of the cache, some nothing, most something.
  const double kept = random.below(3) == 0 ? static_cast<double>(random.below(2))
                                           : static_cast<double>(random.below(101)) / 100;
  for (const Unflushed& entry : cache_) {
    if (random.chance(kept)) durable_[entry.block] = entry.value;
  }
  cache_.clear();
  current_ = durable_;
}

void MirrorDisk::daemon_loss(Random& random) { land_operations(random); }

}  // namespace baton::sim
