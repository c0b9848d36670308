// The cluster database's vocabulary: log entries, what a voter keeps on disk, the messages between voters.
// Plain values. docs/protocol.md, "Cluster database".
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <variant>
#include <vector>

#include "src/base/ids.h"
#include "src/base/time.h"
#include "src/model/command.h"
#include "src/model/log_position.h"

namespace baton::database {

struct Entry {
  Epoch epoch;
  uint64_t index = 0;  // from 1
  Command command;
  ServerId origin;       // who proposed it, and
  uint64_t request = 0;  // its number there: (origin, request) is unique; 0 for StartEpoch
  int64_t wall_ms = 0;   // the proposer's wall clock, for people only
  bool operator==(const Entry&) const = default;
};

/// What a voter finds on its disk at start.
struct StoredVoter {
  Epoch promised;
  bool counting = false;       // false: the database was lost (or never founded): does not vote until caught up
  std::vector<Entry> entries;  // from index 1, without gaps
};

/// The leader's id is part of an epoch's number: `round * 64 + id`, ids 1 to 64.
constexpr Epoch make_epoch(uint64_t round, ServerId leader) { return Epoch{round * 64 + leader.value}; }
constexpr uint64_t round_of(Epoch epoch) { return epoch.value == 0 ? 0 : (epoch.value - 1) / 64; }
constexpr ServerId leader_of(Epoch epoch) {
  return epoch.value == 0 ? ServerId{} : ServerId{static_cast<uint32_t>((epoch.value - 1) % 64 + 1)};
}

using baton::LogPosition;

struct Prepare {
  Epoch epoch;
  Epoch taken_over;  // of the TakeOver by which its sender decides alone (W5); 0: it does not
};
struct Promise {
  Epoch epoch;
  LogPosition last;
  uint64_t committed = 0;
  std::map<ServerId, Duration> lease_left;  // by this voter's account, at sending
  VoterSet voters;                          // by this voter's log (docs/protocol.md, V3)
};
struct Refuse {
  Epoch promised;
};
struct Fetch {  // the leader asks the most advanced voter for entries
  Epoch epoch;
  ServerId to;
  LogPosition previous;  // an entry of its own; entries above this index
};
struct Fetched {
  Epoch epoch;
  bool ok = false;          // false: `previous` of the Fetch is not in this log; try at or below `previous`
  LogPosition previous;     // the entry before `entries`
  uint64_t last_index = 0;  // of this log
  std::vector<Entry> entries;
};
struct Append {
  Epoch epoch;
  ServerId to;  // 0: everybody
  LogPosition previous;
  std::vector<Entry> entries;
  uint64_t committed = 0;
};
struct AppendDone {  // entries are on this voter's disk
  Epoch epoch;
  bool ok = false;         // false: `previous` is not in this log; try at or below `matched`
  LogPosition matched;     // ok: everything up to this index is the leader's and on disk
  uint64_t committed = 0;  // known to be committed here
  bool counting = true;
  std::map<ServerId, Duration> lease_left;  // by this voter's account when they were on its disk (L2, L3)
};
struct Propose {  // to the leader
  ServerId origin;
  uint64_t request = 0;
  Command command;
  int64_t wall_ms = 0;
};
/// A voter without a counting database asks what it must hold to count.
struct CatchUpRequest {};

using Message =
    std::variant<Prepare, Promise, Refuse, Fetch, Fetched, Append, AppendDone, Propose, CatchUpRequest>;

}  // namespace baton::database
