// Online failback: groups that are stopped and moved because a server that stands earlier in their policy can run them again.
// Internal to the planner. Pure. docs/operations.md, "Failover policy".
#pragma once

#include "src/core/planner/planner.h"
#include "src/model/placement.h"

namespace baton::planner {

/// One move at a time; Plan::failback says of the others why they are where they are.
void plan_failbacks(const Input& input, Placement& placement, Plan& plan);

}  // namespace baton::planner
