// Servers' states (O, X, Xd, Od): what follows from them for groups, and what is to be recorded when a server goes or is
// back. Pure. docs/operations.md, "Server states".
#pragma once

#include <string>

#include "src/core/planner/planner.h"

namespace baton::planner {

/// How a server stands now, with what would be recorded in a moment counted as recorded.
struct Standing {
  ServerStanding standing = ServerStanding::kNormal;
  std::string bar;           // why it gets no group: "is isolated (Od): ..."; empty: it may be given some
  std::string help;
  bool soon = false;         // only until its return is recorded
  bool last_resort = false;  // gets one all the same if nobody else can
  std::string reason;        // of the standing
  uint64_t hold_until_ms = 0;
};
Standing standing_of(const Input& input, ServerId server);

/// Records losses, returns, ends of holds, and servers whose shutdown is complete.
void plan_standings(const Input& input, Plan& plan);

/// Raises the level of commands when every voter knows a higher one.
void plan_format_level(const Input& input, Plan& plan);

}  // namespace baton::planner
