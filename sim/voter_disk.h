// A voter's disk under the cluster database: atomic Persists that take time, may or may not have happened when
// the power goes, or fail while the disk is full. Deterministic, one thread.
#pragma once

#include <optional>
#include <vector>

#include "sim/random.h"
#include "src/core/database/database.h"

namespace baton::sim {

class VoterDisk {
 public:
  VoterDisk() { stored_.counting = true; }  // as `baton cluster create` leaves it

  const database::StoredVoter& stored() const { return stored_; }
  /// What was on this disk when it was lost: a majority had counted on it.
  const std::vector<database::Entry>& lost() const { return lost_; }

  void begin(const database::Persist& persist);
  /// The Persist under way is durable now, or nothing of it happened (the disk is full).
  bool finish();
  /// Power or program ends: what was under way happened or not.
  void interrupt(Random& random);
  void lose_everything();
  /// As `baton cluster restore` leaves it.
  void restore(database::StoredVoter voter) { stored_ = std::move(voter); }

  bool full = false;
  bool slow = false;
  bool rotten = false;  // a row's checksum is wrong: seen when it is read at the next start

 private:
  void apply(const database::Persist& persist);

  database::StoredVoter stored_;
  std::vector<database::Entry> lost_;
  std::optional<database::Persist> under_way_;
};

}  // namespace baton::sim
