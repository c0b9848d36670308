// The breaker: how many groups may leave their servers because something of them keeps failing. Pure, the same on every
// voter; asked by a group's owner, and again when its stop is committed. docs/operations.md, "The breaker".
#pragma once

#include <string>

#include "src/model/cluster_state.h"
#include "src/model/configuration.h"

namespace baton {

struct FailureQuestion {
  std::string group;
  std::string cause;      // the kind of the resource that keeps failing
  uint64_t clock_ms = 0;  // cluster time
};

/// Why the group must not leave its server for that now; empty: it may.
std::string breaker_verdict(const ClusterState& state, const Configuration& configuration,
                            const FailureQuestion& question);

/// Remembers a failure for which a group leaves its server, and forgets those before the window.
void note_failure(ClusterState& state, const Configuration& configuration, const Failure& failure);

}  // namespace baton
