// A backup of the cluster database: its committed log in one file of JSON, with a checksum. No secret of the cluster's own is in it
// unless the key was asked for. Stateless, any thread. docs/disk-format.md, "Backup of the cluster database".
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "src/base/ids.h"
#include "src/base/result.h"
#include "src/model/cluster_state.h"
#include "src/model/command.h"

namespace baton {

struct BackupEntry {
  uint64_t epoch = 0;
  uint64_t index = 0;  // from 1, without gaps
  uint32_t origin = 0;
  uint64_t request = 0;
  int64_t wall_ms = 0;
  Command command;
  bool operator==(const BackupEntry&) const = default;
};

struct DatabaseBackup {
  std::string cluster;
  std::string server;           // who made it
  int64_t made_ms = 0;          // by its wall clock
  uint32_t format_level = 1;    // of the cluster then (docs/protocol.md, "Levels")
  std::string key_fingerprint;  // of the cluster's key then
  std::string key;              // the key itself; empty: not in it
  std::vector<BackupEntry> entries;
};

nlohmann::json backup_to_json(const DatabaseBackup& backup);

/// Any text is safe. What is no backup, is damaged or cut off, or was made by a later version is an error (kInvalid) that says so.
Result<DatabaseBackup> backup_from_text(const std::string& text);

/// The state after all of its entries.
ClusterState state_of(const DatabaseBackup& backup);

/// The file "restoring" in the state directory: what `baton cluster restore` leaves for batond's next start.
struct RestoreOrder {
  uint64_t random = 0;              // of the epoch that the database begins anew in, with wall_ms
  std::vector<uint32_t> survivors;  // whose old databases are put aside by themselves; the restored server included
  int64_t wall_ms = 0;
  std::string author;
  bool had_database = false;        // one that is to be put aside
  std::string backup;               // the file's text
};
std::string write_restore_order(const RestoreOrder& order);
Result<RestoreOrder> read_restore_order(const std::string& text);

}  // namespace baton
