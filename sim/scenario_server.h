// One server of a scripted cluster: what survives its power, and what does not. Plain values, one thread.
#pragma once

#include <deque>

#include "sim/scenario.h"
#include "src/core/guard/clocks.h"

namespace baton::sim {

/// A message that its ring has ordered, and that waits for the server to be there again.
struct Scenario::Held {
  ServerId sender;
  Packet message;
};

struct Scenario::Server {
  ServerId id;
  std::string name;
  bool witness = false;
  // On disk
  database::StoredVoter disk;
  bool disk_full = false;
  bool given_up = false;
  std::string key = "key-0", next_key, old_key;
  std::map<std::string, Incarnation> incarnations;  // of its mirrors' copies
  std::map<std::string, uint64_t> written;          // ... and the newest answered write that each has
  // With its power
  bool powered = false;
  uint64_t boots = 0;  // what an earlier boot began has no effect
  Duration clock_ahead{};
  Instant suspended_at = kNever;    // by the script's time
  guard::ClocksAhead clocks_ahead;  // CLOCK_BOOTTIME and the wall clock, of the monotonic one
  Instant woken_until{};            // by its clock: from a suspension that its guard has not seen yet
  bool ended_in_order = false;  // before this boot
  bool machine_paused = false;
  std::vector<std::function<void()>> missed;  // while the machine stood still
  std::map<std::string, bool> resources;      // "group.resource" up
  std::set<std::string> suspended;            // addresses dropped with the lease
  std::map<std::string, uint64_t> kills;
  std::map<std::string, Instant> copying_since;
  Instant published{};
  // corosync
  bool engine = false;
  std::string ring_file = "key-0", ring_key = "key-0";
  bool engine_paused = false;
  uint64_t ring = 0;
  std::set<ServerId> ring_members;
  std::deque<Packet> outgoing;  // until a ring runs again
  std::deque<Held> held;
  // The guard
  std::unique_ptr<guard::GuardCore> guard;
  guard::Knowledge guard_knowledge;  // its page, for as long as the power
  guard::ClocksAhead guard_clocks;   // ... and what stands there of the clocks
  uint64_t guard_starts = 0;
  Instant guard_tick_at = kNever;
  // batond
  std::unique_ptr<node::NodeCore> node;
  uint64_t starts = 0;
  std::string made_key;
  bool joined = false;  // the others know of this batond
  std::set<ServerId> view;
  Instant tick_at = kNever;
  bool frozen = false;
  // Its way to the ping targets: by its cables, none, or to one on its own side whatever is cut
  enum class Targets { kByCable, kCut, kOwn } targets = Targets::kByCable;
  std::deque<node::Event> inbox;
  bool feeding = false;
};

}  // namespace baton::sim
