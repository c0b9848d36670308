// Suspension, drain and shutdown as the planner carries them out. Internal to the planner. Pure.
// docs/operations.md, "Maintenance".
#pragma once

#include <string>

#include "src/core/planner/planner.h"
#include "src/model/placement.h"

namespace baton::planner {

/// Why a group that is wanted and down (or whose owner is lost) is not started now, whoever could; empty: it may be.
std::string why_not_now(const Input& input, const GroupConfiguration& group, const GroupState& state);

/// Groups leave servers that are drained or shut down: one after another; what cannot leave says why.
void plan_departures(const Input& input, Placement& placement, Plan& plan);

/// A group is on its way, or (by this plan) about to be: one is moved at a time.
bool something_moves(const Input& input, const Plan& plan);

/// Why the shutdown of a server, or (none named) of the cluster, is over without having come to its end; empty: it is not.
std::string why_given_up(const Input& input, ServerId server);

/// Suspensions whose time is over, and the ends of the cluster's shutdown.
void plan_maintenance(const Input& input, Plan& plan);

}  // namespace baton::planner
