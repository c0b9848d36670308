// The tables of a voter's database (voter_store.cc): schema, rows, checksums. On the thread that uses the SqliteFile.
// Each row carries a CRC32C over its columns: SQLite itself does not notice a flipped bit in a value.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "src/base/result.h"
#include "src/core/database/database_types.h"
#include "src/daemon/sqlite_file.h"

namespace baton::voter_rows {

constexpr int64_t kApplicationId = 0x42544e56;  // "BTNV"
constexpr int64_t kVersion = 1;

struct Voter {
  ServerId server;
  Epoch promised;
  bool counting = false;
};

/// An entry as it is on the disk.
struct EntryRow {
  uint64_t index = 0;
  uint64_t epoch = 0;
  uint64_t origin = 0;
  uint64_t request = 0;
  int64_t wall_ms = 0;
  std::string command;
};

/// A new file's tables, with the voter and an empty log.
Status create_tables(SqliteFile& file, const Voter& voter);

Result<Voter> read_voter(SqliteFile& file);
Status write_voter(SqliteFile& file, const Voter& voter);

EntryRow to_row(const database::Entry& entry);
/// Nothing but an error that names the index when the command cannot be read.
Result<database::Entry> from_row(const SqliteFile& file, const EntryRow& row);

/// Entries above `index`, in order; each checksum checked.
Result<std::vector<EntryRow>> read_entries(SqliteFile& file, uint64_t above);
Status cut_entries(SqliteFile& file, uint64_t above);
Status add_entries(SqliteFile& file, const std::vector<EntryRow>& rows);
/// 0 when the log is empty.
Result<uint64_t> last_index(SqliteFile& file);

}  // namespace baton::voter_rows
