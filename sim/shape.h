// How a run's cluster is made up: its voters, groups of different kinds and policies, and the changed configurations that an
// operator may apply meanwhile. Plain values, one thread.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include "sim/random.h"
#include "src/model/configuration.h"

namespace baton::sim {

struct Shape {
  uint32_t servers = 2;
  bool witness = true;
  enum class Fencing { kNone, kBesides, kRequired };
  Fencing fencing = Fencing::kNone;
  bool strict = false;  // servers return by hand, and the breaker's bounds are narrow
  bool policies = false;  // groups say more of their places than their servers
  std::vector<NpKind> nps;  // what decides between two servers: as founded, then what else a person may apply; none: not said
  bool monitored = false;  // somebody looks whether the database does its work
  bool rich = true;  // many groups; else one with a mirror and one without

  bool may_be(NpKind np) const { return std::find(nps.begin(), nps.end(), np) != nps.end(); }
  uint32_t voters() const { return servers + (witness ? 1 : 0); }
};

/// 2 to 5 servers. Two without a witness freeze when either is away: as far as the core supports it today.
Shape make_shape(Random& random);
std::string describe(const Shape& shape);

/// The founding configuration first; the others differ from it in ways that an operator may want at any time. As many for each
/// np that the shape may have, in the same order.
std::vector<std::string> make_texts(const Shape& shape);

/// Everything that any of the texts configures: for checkers and stand-ins, which have to know what may be left over.
Configuration everything_in(const std::vector<std::string>& texts);

}  // namespace baton::sim
