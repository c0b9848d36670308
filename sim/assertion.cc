// In the simulation a failed BATON_ASSERT is a finding like any other: it takes the place of the one of
// src/base.
#include <fmt/format.h>

#include "sim/world.h"

namespace baton {

void assertion_failed(const char* condition, const char* file, int line) {
  throw sim::Violation("assertion", fmt::format("{} ({}:{})", condition, file, line));
}

}  // namespace baton
