// One server of a scripted cluster: what survives its power, and what does not. Not for others than sim/scenario*.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <set>
#include <string>

#include "sim/scenario.h"

namespace baton::sim {

struct Scenario::Server {
  ServerId id;
  std::string name;
  bool witness = false;
  // On disk
  database::StoredVoter disk;
  std::map<std::string, Incarnation> incarnations;
  // In memory
  std::unique_ptr<node::NodeCore> node;
  uint64_t boots = 0;  // events of an earlier boot are dropped
  std::set<ServerId> view;
  std::map<std::string, bool> resources;  // "group.resource" up
  std::map<std::string, Instant> copying_since;
  Instant tick_at = kNever;
  Instant published{};
  bool frozen = false;
  std::deque<node::Event> inbox;
  bool feeding = false;
  // The guard: it goes on while batond is stopped
  std::unique_ptr<guard::GuardCore> guard;
  Instant guard_tick_at = kNever;
};

}  // namespace baton::sim
