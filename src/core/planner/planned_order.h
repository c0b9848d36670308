// What follows for a group from what others do: start_after, with. Internal to the planner. Pure. docs/operations.md, "Failover policy".
#pragma once

#include <string>

#include "src/core/planner/planner.h"

namespace baton::planner {

/// Why a group that is wanted does not start yet: one that comes before it is not started. Empty: all are.
std::string why_not_yet(const Input& input, const GroupConfiguration& group, const Plan& plan);

/// A group that must be with another one follows it: it is stopped where it is, and starts where the other one is.
void plan_followers(const Input& input, Plan& plan);

/// What comes after a group that is being stopped or moved in order is stopped first, and starts again after it.
void plan_ordered_stops(const Input& input, Plan& plan);

}  // namespace baton::planner
