// Who votes in the cluster database, and what counts as a majority of them, also while a change of voters is on its
// way (docs/protocol.md, "Voters"). Plain values, any thread.
#pragma once

#include <algorithm>
#include <map>
#include <optional>
#include <set>
#include <vector>

#include "src/base/ids.h"

namespace baton {

struct VoterSet {
  std::set<ServerId> now;
  std::set<ServerId> before;  // not empty: the change from these is not settled, both majorities are needed
  bool operator==(const VoterSet&) const = default;

  bool joint() const { return !before.empty(); }
  bool contains(ServerId server) const { return now.contains(server) || before.contains(server); }
  std::set<ServerId> all() const;
  /// The sets of each of which a majority is needed.
  std::vector<const std::set<ServerId>*> deciding() const;
  /// Is a majority (of each of the sets) among `present`? Never of an empty set.
  bool majority(const std::set<ServerId>& present) const;

  /// The best value that majorities have reached, if majorities have any: sorted by `better`, in each deciding set
  /// that of the last one needed, of these the worst. Servers that do not vote are passed over.
  template <class Value, class Better>
  std::optional<Value> reached(const std::map<ServerId, Value>& values, Better better) const {
    std::optional<Value> agreed;
    for (const auto* set : deciding()) {
      std::vector<Value> of_set;
      for (const auto& [server, value] : values)
        if (set->contains(server)) of_set.push_back(value);
      const size_t needed = set->size() / 2 + 1;
      if (of_set.size() < needed) return std::nullopt;
      std::sort(of_set.begin(), of_set.end(), better);
      const Value& last = of_set[needed - 1];
      if (!agreed || better(*agreed, last)) agreed = last;
    }
    return agreed;
  }
};

}  // namespace baton
