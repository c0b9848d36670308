// SQLite behind Result. The caller's thread; SQLite's own locking is on, so that a file may be opened on one thread and
// used on another afterwards.
#include "src/daemon/sqlite_file.h"

#include <sqlite3.h>

#include <cerrno>
#include <cstring>

#include "src/base/assert.h"

namespace baton {

// ---- SqliteStatement ----

void SqliteStatement::Finalizer::operator()(sqlite3_stmt* statement) const { sqlite3_finalize(statement); }

void SqliteStatement::reset() {
  sqlite3_reset(statement_.get());
  sqlite3_clear_bindings(statement_.get());
}

void SqliteStatement::bind_one(int position, int64_t value) {
  BATON_ASSERT(sqlite3_bind_int64(statement_.get(), position, value) == SQLITE_OK);
}

void SqliteStatement::bind_one(int position, const std::string& value) {
  BATON_ASSERT(sqlite3_bind_text64(statement_.get(), position, value.data(), value.size(), SQLITE_TRANSIENT,
                                   SQLITE_UTF8) == SQLITE_OK);
}

void SqliteStatement::bind_one(int position, const SqliteBlob& value) {
  const char* begin = value.bytes.empty() ? "" : value.bytes.data();  // a null pointer would bind NULL
  BATON_ASSERT(sqlite3_bind_blob64(statement_.get(), position, begin, value.bytes.size(), SQLITE_TRANSIENT) ==
               SQLITE_OK);
}

Result<bool> SqliteStatement::step() {
  switch (sqlite3_step(statement_.get())) {
    case SQLITE_ROW: return true;
    case SQLITE_DONE: return false;
    default: return tl::unexpected<Error>(file_->error("use"));
  }
}

Status SqliteStatement::run() {
  while (true) {
    auto row = step();
    if (!row) {
      reset();
      return pass(row);
    }
    if (!*row) break;
  }
  reset();
  return {};
}

int64_t SqliteStatement::integer(int column) const { return sqlite3_column_int64(statement_.get(), column); }

std::string_view SqliteStatement::bytes(int column) const {
  const void* begin = sqlite3_column_blob(statement_.get(), column);
  const auto length = static_cast<size_t>(sqlite3_column_bytes(statement_.get(), column));
  return begin == nullptr ? std::string_view() : std::string_view(static_cast<const char*>(begin), length);
}

// ---- SqliteFile ----

Result<std::unique_ptr<SqliteFile>> SqliteFile::open(const std::string& path, const SqliteSettings& settings) {
  std::unique_ptr<SqliteFile> file(new SqliteFile(path));
  const int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_FULLMUTEX | (settings.create ? SQLITE_OPEN_CREATE : 0);
  const char* vfs = settings.vfs.empty() ? nullptr : settings.vfs.c_str();
  if (sqlite3_open_v2(path.c_str(), &file->database_, flags, vfs) != SQLITE_OK)
    return tl::unexpected<Error>(file->error("open"));
  sqlite3_extended_result_codes(file->database_, 1);
  // Exclusive locking before the first access: the log's index is then kept in memory, and a second batond is refused.
  std::string pragmas = "PRAGMA locking_mode=EXCLUSIVE; PRAGMA trusted_schema=OFF; PRAGMA cell_size_check=ON;";
  pragmas += settings.synchronous_full ? "PRAGMA synchronous=FULL;" : "PRAGMA synchronous=NORMAL;";
  if (auto set = file->execute(pragmas); !set) return pass(set);
  auto mode = file->prepare(settings.write_ahead_log ? "PRAGMA journal_mode=WAL" : "PRAGMA journal_mode=DELETE");
  if (!mode) return pass(mode);
  auto row = mode->step();
  if (!row) return pass(row);
  const std::string_view wanted = settings.write_ahead_log ? "wal" : "delete";
  if (!*row || mode->bytes(0) != wanted)
    return fail("cannot use {}: SQLite does not give it journal mode {}", path, wanted);
  return file;
}

SqliteFile::~SqliteFile() { sqlite3_close_v2(database_); }

Status SqliteFile::execute(const std::string& sql) {
  if (sqlite3_exec(database_, sql.c_str(), nullptr, nullptr, nullptr) != SQLITE_OK)
    return tl::unexpected<Error>(error("use"));
  return {};
}

Result<SqliteStatement> SqliteFile::prepare(const std::string& sql) {
  sqlite3_stmt* statement = nullptr;
  if (sqlite3_prepare_v2(database_, sql.c_str(), static_cast<int>(sql.size()), &statement, nullptr) != SQLITE_OK)
    return tl::unexpected<Error>(error("use"));
  SqliteStatement prepared;
  prepared.file_ = this;
  prepared.statement_.reset(statement);
  return prepared;
}

Result<int64_t> SqliteFile::integer(const std::string& sql) {
  auto statement = prepare(sql);
  if (!statement) return pass(statement);
  auto row = statement->step();
  if (!row) return pass(row);
  if (!*row) return fail_as(ErrorCode::kInvalid, "{} is damaged: it lacks a row ({})", path_, sql);
  return statement->integer(0);
}

Status SqliteFile::checkpoint() {
  auto busy = integer("PRAGMA wal_checkpoint(TRUNCATE)");
  if (!busy) return pass(busy);
  if (*busy != 0) return fail("cannot use {}: its log cannot be emptied while somebody reads it", path_);
  return {};
}

Status SqliteFile::check() {
  auto statement = prepare("PRAGMA quick_check(1)");
  if (!statement) return pass(statement);
  auto row = statement->step();
  if (!row) return pass(row);
  if (*row && statement->bytes(0) == "ok") return {};
  return fail_as(ErrorCode::kInvalid, "{} is damaged: {}", path_, *row ? statement->bytes(0) : "it cannot be checked");
}

int64_t SqliteFile::changes() const { return sqlite3_changes64(database_); }

Error SqliteFile::error(std::string_view doing) const {
  if (database_ == nullptr) return {ErrorCode::kFailed, fmt::format("cannot {} {}: out of memory", doing, path_)};
  const int code = sqlite3_extended_errcode(database_) & 0xff;
  const int system = sqlite3_system_errno(database_);
  const bool full = code == SQLITE_FULL ||
                    ((code == SQLITE_IOERR || code == SQLITE_CANTOPEN) && (system == ENOSPC || system == EDQUOT));
  if (full)
    return {ErrorCode::kNoSpace, fmt::format("cannot write {}: its disk is full; free some space there", path_)};
  std::string text = sqlite3_errmsg(database_);
  if (code == SQLITE_IOERR || code == SQLITE_CANTOPEN) {
    if (system != 0) text += fmt::format(" ({})", std::strerror(system));
  }
  const char* remedy = "";
  auto kind = ErrorCode::kFailed;
  switch (code) {
    case SQLITE_IOERR: remedy = "; look at the kernel's log and the disk"; break;
    case SQLITE_CANTOPEN:
    case SQLITE_READONLY:
    case SQLITE_PERM: remedy = "; look at the file's and its directory's permissions and mount"; break;
    case SQLITE_BUSY:
      remedy = "; another process has it open: is another batond running?";
      kind = ErrorCode::kConflict;
      break;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
      remedy = "; the file is damaged";
      kind = ErrorCode::kInvalid;
      break;
    default: break;
  }
  return {kind, fmt::format("cannot {} {}: {}{}", doing, path_, text, remedy)};
}

// ---- SqliteTransaction ----

Result<SqliteTransaction> SqliteTransaction::begin(SqliteFile& file) {
  if (auto begun = file.execute("BEGIN IMMEDIATE"); !begun) return pass(begun);
  return SqliteTransaction(file);
}

SqliteTransaction::~SqliteTransaction() {
  // SQLite may have rolled back by itself: then there is nothing to roll back, which is as good.
  if (file_ != nullptr) (void)file_->execute("ROLLBACK");
}

Status SqliteTransaction::commit() {
  auto committed = file_->execute("COMMIT");
  if (committed) file_ = nullptr;
  return committed;
}

Status check_sqlite_format(SqliteFile& file, int64_t application_id, int64_t version) {
  auto kind = file.integer("PRAGMA application_id");
  if (!kind) return pass(kind);
  if (*kind != application_id) {
    return fail_as(ErrorCode::kInvalid, "{} is not the file that is expected there (SQLite application id {:x}, not {:x})",
                   file.path(), *kind, application_id);
  }
  auto found = file.integer("PRAGMA user_version");
  if (!found) return pass(found);
  if (*found > version) {
    return fail_as(ErrorCode::kConflict,
                   "{} is in format {}, written by a newer version of Baton; this one reads up to format {}: "
                   "install the newer version again",
                   file.path(), *found, version);
  }
  if (*found < 1) return fail_as(ErrorCode::kInvalid, "{} is damaged: it has no format version", file.path());
  return {};
}

}  // namespace baton
