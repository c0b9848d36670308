// SqliteFile and SqliteStatement: the little of SQLite that the stores need, with errors that name the file and what to
// do. One connection per file, exclusively locked (so that WAL needs no shared memory file); used by one thread at a time.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "src/base/result.h"

struct sqlite3;
struct sqlite3_stmt;

namespace baton {

struct SqliteSettings {
  bool create = false;          // else a missing file is an error
  bool write_ahead_log = true;  // false: a rollback journal, nothing beside the file once closed
  bool synchronous_full = true; // false: a commit may be lost with power, but the file stays whole
  std::string vfs;              // SQLite's file access by name; empty: the default (tests bring a faulty one)
};

/// One prepared statement. Columns are those of the row that step() reached.
class SqliteStatement {
 public:
  /// Binds all parameters in order: integers, texts, blobs (as SqliteBlob).
  template <class... Values>
  SqliteStatement& bind(const Values&... values) {
    reset();
    int position = 0;
    (bind_one(++position, values), ...);
    return *this;
  }
  /// True: a row is there; false: at its end.
  Result<bool> step();
  /// Steps to the end, without rows.
  Status run();
  int64_t integer(int column) const;
  uint64_t number(int column) const { return static_cast<uint64_t>(integer(column)); }
  /// Texts and blobs alike; valid until the next step.
  std::string_view bytes(int column) const;

 private:
  friend class SqliteFile;
  struct Finalizer {
    void operator()(sqlite3_stmt* statement) const;
  };
  void reset();
  void bind_one(int position, int64_t value);
  void bind_one(int position, uint64_t value) { bind_one(position, static_cast<int64_t>(value)); }
  void bind_one(int position, uint32_t value) { bind_one(position, static_cast<int64_t>(value)); }
  void bind_one(int position, const std::string& value);
  void bind_one(int position, const struct SqliteBlob& value);

  class SqliteFile* file_ = nullptr;
  std::unique_ptr<sqlite3_stmt, Finalizer> statement_;
};

/// Bytes to bind as a blob; copied by bind().
struct SqliteBlob {
  std::string_view bytes;
};

class SqliteFile {
 public:
  /// Opens and locks the file; ENSURES: synchronous writing as asked for.
  static Result<std::unique_ptr<SqliteFile>> open(const std::string& path, const SqliteSettings& settings);
  ~SqliteFile();
  SqliteFile(const SqliteFile&) = delete;
  SqliteFile& operator=(const SqliteFile&) = delete;

  /// Runs statements without parameters and rows.
  Status execute(const std::string& sql);
  Result<SqliteStatement> prepare(const std::string& sql);
  /// The first column of the only row, as an integer.
  Result<int64_t> integer(const std::string& sql);
  /// Moves everything from the write-ahead log into the file, durably, and empties the log.
  Status checkpoint();
  /// Reads the whole file and checks that it is well formed.
  Status check();
  /// Rows changed by the last INSERT, UPDATE or DELETE.
  int64_t changes() const;
  const std::string& path() const { return path_; }

  /// What SQLite's last call says, as an error for people: which file, what, what to do.
  Error error(std::string_view doing) const;

 private:
  explicit SqliteFile(std::string path) : path_(std::move(path)) {}

  std::string path_;
  sqlite3* database_ = nullptr;
};

/// BEGIN IMMEDIATE now; rolled back when destroyed before commit().
class SqliteTransaction {
 public:
  static Result<SqliteTransaction> begin(SqliteFile& file);
  SqliteTransaction(SqliteTransaction&& other) noexcept : file_(std::exchange(other.file_, nullptr)) {}
  SqliteTransaction& operator=(SqliteTransaction&&) = delete;
  ~SqliteTransaction();
  /// Durable when it is ok. An error leaves open whether it happened: look at the file after opening it anew.
  Status commit();

 private:
  explicit SqliteTransaction(SqliteFile& file) : file_(&file) {}
  SqliteFile* file_;
};

/// Whether the file is Baton's of that kind (SQLite's application_id) and not of a newer version (user_version).
Status check_sqlite_format(SqliteFile& file, int64_t application_id, int64_t version);

}  // namespace baton
