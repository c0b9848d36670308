// The cluster's run and the mirror pair's run of one seed. One thread.
#include "sim/whole_seed.h"

#include "sim/mirror_pair.h"

namespace baton::sim {

Outcome run_whole_seed(uint64_t seed, bool verbose, const std::string& weather) {
  Outcome outcome = run_seed(seed, verbose, weather);
  if (!outcome.ok) return outcome;
  const PairOutcome pair = run_mirror_pair(seed, verbose);
  outcome.ok = pair.ok;
  if (!pair.ok) outcome.violation = "mirror: " + pair.violation;
  outcome.hash = (outcome.hash ^ pair.hash) * 0x100000001b3;  // FNV's step: the order of the two counts
  outcome.events += pair.steps;
  return outcome;
}

}  // namespace baton::sim
