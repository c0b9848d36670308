// The voter's disk. Deterministic, one thread.
#include "sim/voter_disk.h"

#include "src/base/assert.h"

namespace baton::sim {

void VoterDisk::begin(const database::Persist& persist) {
  BATON_ASSERT(!under_way_);
  under_way_ = persist;
}

bool VoterDisk::finish() {
  BATON_ASSERT(under_way_);
  const database::Persist persist = *under_way_;
  under_way_.reset();
  if (full) return false;
  apply(persist);
  return true;
}

void VoterDisk::interrupt(Random& random) {
  if (under_way_ && !full && random.chance(0.5)) apply(*under_way_);
  under_way_.reset();
}

void VoterDisk::lose_everything() {
  lost_ = stored_.entries;
  stored_ = database::StoredVoter{};
  under_way_.reset();
  rotten = false;
}

void VoterDisk::apply(const database::Persist& persist) {
  if (persist.promised) {
    BATON_ASSERT(*persist.promised >= stored_.promised);
    stored_.promised = *persist.promised;
  }
  if (persist.counting) stored_.counting = *persist.counting;
  if (persist.keep_up_to) {
    BATON_ASSERT(*persist.keep_up_to <= stored_.entries.size());
    stored_.entries.resize(*persist.keep_up_to);
  }
  for (const auto& entry : persist.append) {
    BATON_ASSERT(entry.index == stored_.entries.size() + 1);
    stored_.entries.push_back(entry);
  }
}

}  // namespace baton::sim
