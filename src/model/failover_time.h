// How long a group is away when its server is lost, computed from the timing and what the group consists of. For people and for
// script/bench failover; nobody decides by it. Pure, any thread. docs/operations.md, "Timing".
#pragma once

#include <map>
#include <string>
#include <vector>

#include "src/model/configuration.h"

namespace baton {

/// One thing after the other, but for resources: those that do not stand on each other start at the same time.
struct FailoverPart {
  std::string name;  // "detection", "lease", "decision", or a resource's name
  std::string kind;  // of a resource; else empty
  milliseconds expected{0};
  milliseconds worst{0};
  bool measured = false;     // `expected` is from past starts; else assumed or configured
  bool in_expected = true;   // it counts for the sum: its resource is on the longest path
  bool in_worst = true;
  std::string text;          // where the figures come from
};

struct FailoverTime {
  milliseconds expected{0};
  milliseconds worst{0};  // until the first server has started it or given up; one fault at a time
  std::vector<FailoverPart> parts;
};

/// What the computation takes from elsewhere.
struct FailoverAssumptions {
  milliseconds decision_expected{30};  // a new epoch and the assignment on the disks of a majority
  milliseconds decision_worst{1000};
  std::map<std::string, milliseconds> usual_starts;  // by resource: the median of its past starts, where there were some
};

FailoverTime failover_time(const Configuration& configuration, const GroupConfiguration& group,
                           const FailoverAssumptions& assumptions);

/// The past starts of resources, as the committed transitions tell them: the same on every server.
class UsualStarts {
 public:
  void add(const std::string& group, const std::string& resource, milliseconds took);
  /// The medians of the latest starts of a group's resources.
  std::map<std::string, milliseconds> of(const std::string& group) const;

 private:
  std::map<std::string, std::map<std::string, std::vector<milliseconds>>> latest_;  // group -> resource -> oldest first
};

}  // namespace baton
