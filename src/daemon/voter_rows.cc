// Rows of the voter's database. The caller's thread.
#include "src/daemon/voter_rows.h"

#include "src/base/bytes.h"
#include "src/base/checksum.h"
#include "src/format/command_codec.h"

namespace baton::voter_rows {
namespace {

constexpr const char* kSchema = R"(
CREATE TABLE voter (
  id INTEGER PRIMARY KEY CHECK (id = 1),
  server INTEGER NOT NULL,
  promised INTEGER NOT NULL,
  counting INTEGER NOT NULL,
  checksum INTEGER NOT NULL
);
CREATE TABLE entry (
  position INTEGER PRIMARY KEY,
  epoch INTEGER NOT NULL,
  origin INTEGER NOT NULL,
  request INTEGER NOT NULL,
  wall_ms INTEGER NOT NULL,
  command BLOB NOT NULL,
  checksum INTEGER NOT NULL
);
)";

constexpr const char* kRestore =
    "if a majority of the other voters is there, move the file away and restart batond: this voter then catches up "
    "before it counts again. Never put an older copy of it there: it would forget promises";

uint32_t checksum_of(const Voter& voter) {
  Bytes bytes;
  ByteWriter writer(bytes);
  writer.put(voter.server.value);
  writer.put(voter.promised.value);
  writer.put(static_cast<uint8_t>(voter.counting));
  return crc32c(bytes);
}

uint32_t checksum_of(const EntryRow& row) {
  Bytes bytes;
  ByteWriter writer(bytes);
  writer.put(row.index);
  writer.put(row.epoch);
  writer.put(row.origin);
  writer.put(row.request);
  writer.put(row.wall_ms);
  writer.put_string(row.command);
  return crc32c(bytes);
}

}  // namespace

Status create_tables(SqliteFile& file, const Voter& voter) {
  auto transaction = SqliteTransaction::begin(file);
  if (!transaction) return pass(transaction);
  if (auto made = file.execute(kSchema); !made) return made;
  auto marked = file.execute(
      fmt::format("PRAGMA application_id={}; PRAGMA user_version={};", kApplicationId, kVersion));
  if (!marked) return marked;
  if (auto written = write_voter(file, voter); !written) return written;
  return transaction->commit();
}

Result<Voter> read_voter(SqliteFile& file) {
  auto statement = file.prepare("SELECT server, promised, counting, checksum FROM voter WHERE id = 1");
  if (!statement) return pass(statement);
  auto row = statement->step();
  if (!row) return pass(row);
  if (!*row) return fail_as(ErrorCode::kInvalid, "{} is damaged: the voter's row is missing; {}", file.path(), kRestore);
  const Voter voter{ServerId(static_cast<uint32_t>(statement->number(0))), Epoch(statement->number(1)),
                    statement->integer(2) != 0};
  if (statement->number(3) != checksum_of(voter)) {
    return fail_as(ErrorCode::kInvalid, "{} is damaged: the voter's row has a wrong checksum; {}", file.path(), kRestore);
  }
  return voter;
}

Status write_voter(SqliteFile& file, const Voter& voter) {
  auto statement = file.prepare("INSERT OR REPLACE INTO voter VALUES (1, ?, ?, ?, ?)");
  if (!statement) return pass(statement);
  const auto counting = static_cast<int64_t>(voter.counting);
  return statement->bind(voter.server.value, voter.promised.value, counting, checksum_of(voter)).run();
}

EntryRow to_row(const database::Entry& entry) {
  return {entry.index,   entry.epoch.value, entry.origin.value,
          entry.request, entry.wall_ms,     encode_command(entry.command)};
}

Result<database::Entry> from_row(const SqliteFile& file, const EntryRow& row) {
  auto command = decode_command(row.command);
  if (!command) {
    return fail_as(ErrorCode::kInvalid, "{}: log entry {} cannot be read: {}", file.path(), row.index,
                   command.error().message);
  }
  return database::Entry{Epoch(row.epoch), row.index,   std::move(*command), ServerId(static_cast<uint32_t>(row.origin)),
                         row.request,      row.wall_ms};
}

Result<std::vector<EntryRow>> read_entries(SqliteFile& file, uint64_t above) {
  auto statement = file.prepare(
      "SELECT position, epoch, origin, request, wall_ms, command, checksum FROM entry WHERE position > ? "
      "ORDER BY position");
  if (!statement) return pass(statement);
  statement->bind(above);
  std::vector<EntryRow> rows;
  while (true) {
    auto more = statement->step();
    if (!more) return pass(more);
    if (!*more) return rows;
    EntryRow row{statement->number(0), statement->number(1),  statement->number(2),
                 statement->number(3), statement->integer(4), std::string(statement->bytes(5))};
    const uint64_t expected = above + rows.size() + 1;
    if (row.index != expected) {
      return fail_as(ErrorCode::kInvalid, "{} is damaged: log entry {} is missing (entry {} follows); {}", file.path(),
                     expected, row.index, kRestore);
    }
    if (statement->number(6) != checksum_of(row)) {
      return fail_as(ErrorCode::kInvalid, "{} is damaged: log entry {} has a wrong checksum; {}", file.path(), row.index,
                     kRestore);
    }
    rows.push_back(std::move(row));
  }
}

Status cut_entries(SqliteFile& file, uint64_t above) {
  auto statement = file.prepare("DELETE FROM entry WHERE position > ?");
  if (!statement) return pass(statement);
  return statement->bind(above).run();
}

Status add_entries(SqliteFile& file, const std::vector<EntryRow>& rows) {
  if (rows.empty()) return {};
  auto statement = file.prepare("INSERT INTO entry VALUES (?, ?, ?, ?, ?, ?, ?)");
  if (!statement) return pass(statement);
  for (const auto& row : rows) {
    statement->bind(row.index, row.epoch, row.origin, row.request, row.wall_ms, SqliteBlob{row.command},
                    checksum_of(row));
    if (auto added = statement->run(); !added) return added;
  }
  return {};
}

Result<uint64_t> last_index(SqliteFile& file) {
  auto last = file.integer("SELECT coalesce(max(position), 0) FROM entry");
  if (!last) return pass(last);
  return static_cast<uint64_t>(*last);
}

}  // namespace baton::voter_rows
