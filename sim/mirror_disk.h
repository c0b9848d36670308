// MirrorDisk: a copy's disk in the simulation: a 64-bit value per block, a volatile write cache that loses or
// keeps each unflushed write at a power loss, and metadata whose writes are atomic but may be lost. Simulation
// thread.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "sim/random.h"
#include "src/core/mirror/mirror_copy.h"

namespace baton::sim {

using mirror::BlockRange;
using mirror::OperationId;

class MirrorDisk {
 public:
  MirrorDisk(const std::string& name, uint64_t size_blocks);

  // Data. A write's blocks may or may not be there until end_write; afterwards they are, unless a power loss
  // comes before a flush that began later has ended.
  void begin_write(OperationId operation, BlockRange range, std::vector<uint64_t> values);
  void end_write(OperationId operation, bool ok, Random& random);
  void begin_flush(OperationId operation);
  void end_flush(OperationId operation, bool ok);
  std::vector<uint64_t> read(BlockRange range) const;
  /// A write under way that overlaps: a breach of O1.
  bool busy(BlockRange range) const;

  // The last consistent state, kept beside the data (durable at once).
  void take_snapshot() { snapshot_ = current_; }
  void revert_to_snapshot();
  void drop_snapshot() { snapshot_.clear(); }

  // Metadata.
  void begin_persist(OperationId operation, std::function<void(mirror::StoredCopy&)> apply);
  void end_persist(OperationId operation, bool ok, Random& random);

  /// The power fails: each unflushed block write and each metadata write under way is kept or dropped at
  /// random.
  void power_loss(Random& random);
  /// The daemon dies, the machine lives: what was written stays; what was under way lands or not.
  void daemon_loss(Random& random);

  const mirror::StoredCopy& stored() const { return stored_; }
  mirror::StoredCopy& stored() { return stored_; }
  const std::vector<uint64_t>& current() const { return current_; }
  const std::vector<uint64_t>& durable() const { return durable_; }
  /// (block, value): what a power loss now may leave there instead of the durable value.
  std::vector<std::pair<uint64_t, uint64_t>> unsettled() const;

 private:
  struct Write {
    BlockRange range;
    std::vector<uint64_t> values;
  };
  struct Unflushed {
    uint64_t number;
    uint64_t block;
    uint64_t value;
  };
  void put(uint64_t block, uint64_t value);
  void land_operations(Random& random);

  mirror::StoredCopy stored_;
  std::vector<uint64_t> durable_;
  std::vector<uint64_t> current_;
  std::vector<Unflushed> cache_;
  std::vector<uint64_t> snapshot_;
  uint64_t next_number_ = 1;
  std::map<OperationId, Write> writes_;
  std::map<OperationId, uint64_t> flushes_;
  std::map<OperationId, std::function<void(mirror::StoredCopy&)>> persists_;
};

}  // namespace baton::sim
