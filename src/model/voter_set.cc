// Majorities of voters, through a change of them. docs/protocol.md, "Voters".
#include "src/model/voter_set.h"

#include "src/base/planted.h"

namespace baton {

std::set<ServerId> VoterSet::all() const {
  std::set<ServerId> both = now;
  both.insert(before.begin(), before.end());
  return both;
}

std::vector<const std::set<ServerId>*> VoterSet::deciding() const {
  if (!joint()) return {&now};
  if (planted(Plant::kNewMajorityOnly)) return {&now};
  if (planted(Plant::kOldMajorityOnly)) return {&before};
  // SAFETY: V2. Neither the old voters nor the new ones may decide without the others.
  return {&before, &now};
}

bool VoterSet::majority(const std::set<ServerId>& present) const {
  for (const auto* set : deciding()) {
    const auto there = static_cast<size_t>(
        std::count_if(set->begin(), set->end(), [&](ServerId voter) { return present.contains(voter); }));
    if (there < set->size() / 2 + 1) return false;
  }
  return true;
}

}  // namespace baton
