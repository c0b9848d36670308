// See old_database.h.
#include "src/cli/old_database.h"

#include <sqlite3.h>
#include <sys/stat.h>

#include <memory>

namespace baton::cli {
namespace {

struct Closer {
  void operator()(sqlite3* database) const { sqlite3_close(database); }
};
struct Finalizer {
  void operator()(sqlite3_stmt* statement) const { sqlite3_finalize(statement); }
};

int note_error(sqlite3* database, int code, OldDatabase& found) {
  found.in_use = code == SQLITE_BUSY || code == SQLITE_LOCKED;
  found.problem = sqlite3_errmsg(database);
  return code;
}

}  // namespace

OldDatabase look_at_database(const std::string& path) {
  OldDatabase found;
  struct stat facts {};
  if (stat(path.c_str(), &facts) != 0) return found;
  found.exists = true;
  sqlite3* opened = nullptr;
  const int code = sqlite3_open_v2(path.c_str(), &opened, SQLITE_OPEN_READWRITE, nullptr);
  const std::unique_ptr<sqlite3, Closer> database(opened);
  if (code != SQLITE_OK) return note_error(opened, code, found), found;
  // As batond opens it: so that the write-ahead log needs no memory that is shared.
  if (const int set = sqlite3_exec(opened, "PRAGMA locking_mode=EXCLUSIVE", nullptr, nullptr, nullptr); set != SQLITE_OK)
    return note_error(opened, set, found), found;
  sqlite3_stmt* prepared = nullptr;
  const int made = sqlite3_prepare_v2(opened, "SELECT position, epoch FROM entry ORDER BY position DESC LIMIT 1", -1, &prepared, nullptr);
  const std::unique_ptr<sqlite3_stmt, Finalizer> statement(prepared);
  if (made != SQLITE_OK) return note_error(opened, made, found), found;
  const int row = sqlite3_step(prepared);
  if (row != SQLITE_ROW && row != SQLITE_DONE) return note_error(opened, row, found), found;
  if (row == SQLITE_ROW) {
    found.index = static_cast<uint64_t>(sqlite3_column_int64(prepared, 0));
    found.epoch = static_cast<uint64_t>(sqlite3_column_int64(prepared, 1));
  }
  return found;
}

}  // namespace baton::cli
