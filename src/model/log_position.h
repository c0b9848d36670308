// A place in the cluster database's log: what logs, fences and what a server knows are compared by. Plain value, any
// thread. docs/protocol.md, "Cluster database" and "Fences".
#pragma once

#include <compare>
#include <cstdint>

#include "src/base/ids.h"

namespace baton {

/// Where a log ends: the greater one is the more advanced.
struct LogPosition {
  Epoch epoch;         // of the last entry
  uint64_t index = 0;  // of the last entry
  auto operator<=>(const LogPosition&) const = default;
};

}  // namespace baton
