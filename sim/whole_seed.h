// One seed of everything: the whole cluster's control planes, then two mirror copies with their disks, link and client.
// One thread.
#pragma once

#include <string>

#include "sim/cluster.h"

namespace baton::sim {

/// The first violation of the two runs; the hash is of both. `weather` is the cluster's (see cluster.h).
Outcome run_whole_seed(uint64_t seed, bool verbose, const std::string& weather = "");

}  // namespace baton::sim
