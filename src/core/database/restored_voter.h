// A voter that begins with the log of a backup: the entries that make one history of its own out of it. Pure. docs/protocol.md,
// R7-R9.
#pragma once

#include <set>
#include <string>
#include <vector>

#include "src/core/database/database_types.h"

namespace baton::database {

struct Restoration {
  ServerId self;
  std::set<ServerId> survivors;  // this one included: those of them that hold an old database put it aside
  uint64_t round = 0;            // restore_round()
  int64_t wall_ms = 0;
  int64_t made_ms = 0;           // the backup
  std::string source;            // which server made it
  std::string author;
  std::string key;               // the fingerprint of the cluster's key here
};

/// R7: rises with the clock, so that a later restore, from whatever backup, is above an earlier one, and above recoveries since.
uint64_t restore_round(int64_t wall_ms, uint64_t random);

/// `entries`: from index 1, all of them committed once. What the voter finds on its disk then.
StoredVoter restored_voter(std::vector<Entry> entries, const Restoration& restoration);

}  // namespace baton::database
