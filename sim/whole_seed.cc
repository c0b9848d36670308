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
  outcome.simulated += pair.simulated;
  outcome.counts["copies: power lost"] = pair.power_losses;
  outcome.counts["copies: moved off a failed disk"] = pair.detached;
  outcome.counts["copies: disk dead"] = pair.dead_disks;
  outcome.counts["copies: forced"] = pair.forced;
  outcome.counts["copies: takeover behind"] = pair.takeovers_behind;
  outcome.counts["copies: writes answered"] = pair.acknowledged_writes;
  outcome.counts["copies: full copies"] = pair.full_copies;
  outcome.counts["copies: fast copies"] = pair.fast_copies;
  outcome.counts["copies: promotions"] = pair.promotions;
  return outcome;
}

}  // namespace baton::sim
