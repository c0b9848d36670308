// The tables of the event store (event_store.cc): schema, rows, JSON. On the thread that uses the SqliteFile.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "src/base/result.h"
#include "src/core/alert/alert_core.h"
#include "src/core/node/node_types.h"
#include "src/daemon/sqlite_file.h"

namespace baton::event_rows {

constexpr int64_t kApplicationId = 0x4254454c;  // "BTEL"
constexpr int64_t kVersion = 1;

/// Of one receiver of alerts; nothing: there is no such receiver any more.
struct AlertProgress {
  std::string name;
  std::optional<alert::Progress> progress;
};

/// An entry of the cluster's log, for people.
struct History {
  uint64_t index = 0;
  uint64_t epoch = 0;
  int64_t time_ms = 0;
  std::string kind;   // "epoch", "configuration", "assign", "phase", "wish", "in_sync", "break", "force", "restrict"
  std::string group;  // empty: none
  bool applied = true;
  std::string text;
  std::string reason;
  std::string causes = "[]";  // JSON
  std::string steps = "[]";   // JSON
};

History to_history(const database::Entry& entry, const Applied& outcome);
/// As in docs/api.md, with texts made valid UTF-8.
nlohmann::json to_json(const Event& event);
nlohmann::json to_json(const History& history);

/// A new file's tables.
Status create_tables(SqliteFile& file);
/// Those that later versions of the same format have: earlier ones overlook them.
Status add_tables(SqliteFile& file);
Status add_event(SqliteFile& file, const Event& event);
/// Replaces what another log (of a cluster since founded anew) left at this index and above.
Status add_history(SqliteFile& file, const History& history);

/// The first `limit` events above `after`, or, when that is negative, the newest; oldest first.
Result<std::vector<Event>> read_events(SqliteFile& file, int64_t after, uint32_t limit, const std::string& group);
/// The last `count` applied entries that moved the group, newest first.
Result<std::vector<History>> read_transitions(SqliteFile& file, const std::string& group, uint32_t count);
Result<uint64_t> last_event(SqliteFile& file);

/// How far alerts have got.
Status keep_progress(SqliteFile& file, const AlertProgress& progress);
/// With the newest events, at most `limit`, that may be above that.
Result<alert::Backlog> read_backlog(SqliteFile& file, uint32_t limit);
Result<uint64_t> last_history(SqliteFile& file);

/// Deletes what is beyond `rows` or from before `oldest_ms`, but never of the last `least_rows`.
Status prune(SqliteFile& file, uint64_t rows, int64_t oldest_ms, uint64_t least_rows);

}  // namespace baton::event_rows
