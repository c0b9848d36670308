// Who is one of the cluster's servers, by what is committed: never by what a log only proposes (docs/protocol.md, J5 and
// V6). Plain values, any thread.
#pragma once

#include "src/model/cluster_state.h"
#include "src/model/configuration.h"

namespace baton {

/// It was removed, and its removal is settled: nobody needs its vote or its disk any more.
bool has_left(const ClusterState& state, const Configuration& configuration, ServerId server);

/// The first id above all that are in use, else the lowest free one; 0: all are taken.
ServerId free_id(const ClusterState& state, const Configuration& configuration);

}  // namespace baton
