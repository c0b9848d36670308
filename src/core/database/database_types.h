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

namespace baton::database {

struct Entry {
  Epoch epoch;
  uint64_t index = 0;   // from 1
  Command command;
  ServerId origin;      // who proposed it, and
  uint64_t request = 0; // its number there: (origin, request) is unique; 0 for StartEpoch
  int64_t wall_ms = 0;  // the proposer's wall clock, for people only
  bool operator==(const Entry&) const = default;
};

/// What a voter finds on its disk at start.
struct StoredVoter {
  Epoch promised;
  bool counting = false;       // false: the database was lost (or never founded): does not vote until caught up
  std::vector<Entry> entries;  // from index 1, without gaps
};

/// Where a log ends: the greater one is the more advanced.
struct LogPosition {
  Epoch epoch;         // of the last entry
  uint64_t index = 0;  // of the last entry
  auto operator<=>(const LogPosition&) const = default;
};

struct Prepare {
  Epoch epoch;
};
struct Promise {
  Epoch epoch;
  LogPosition last;
  uint64_t committed = 0;
  std::map<ServerId, Duration> lease_left;  // by this voter's account, at sending
};
struct Refuse {
  Epoch promised;
};
struct Fetch {  // the leader asks the most advanced voter for entries
  Epoch epoch;
  ServerId to;
  uint64_t after_index = 0;  // entries above this
};
struct Fetched {
  Epoch epoch;
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
  bool ok = false;          // false: `previous` is not in this log; matched says from where to send
  uint64_t matched = 0;
  bool counting = true;
  std::map<ServerId, Duration> lease_left;  // by this voter's account when they were on its disk (L2, L3)
};
struct Propose {  // to the leader
  ServerId origin;
  uint64_t request = 0;
  Command command;
  int64_t wall_ms = 0;
};
struct ProposalRefused {  // the leader does not serve, or is none
  ServerId origin;
  uint64_t request = 0;
  std::string reason;
};
/// A voter without a counting database asks what it must hold to count.
struct CatchUpRequest {};

using Message = std::variant<Prepare, Promise, Refuse, Fetch, Fetched, Append, AppendDone, Propose, ProposalRefused,
                             CatchUpRequest>;

}  // namespace baton::database
