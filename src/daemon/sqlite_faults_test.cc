// The failing file access: SQLite's own, with xWrite and xSync in between.
#include "src/daemon/sqlite_faults.h"

#include <sqlite3.h>

#include <cstring>
#include <map>
#include <mutex>

namespace baton {
namespace {

SqliteFaults g_faults;
sqlite3_vfs g_vfs;
std::mutex g_mutex;
std::map<const sqlite3_io_methods*, sqlite3_io_methods*> g_methods;  // SQLite's -> ours
std::map<const sqlite3_io_methods*, const sqlite3_io_methods*> g_real;  // ours -> SQLite's

const sqlite3_io_methods* real_methods(sqlite3_file* file) {
  std::lock_guard lock(g_mutex);
  return g_real.at(file->pMethods);
}

int faulty_write(sqlite3_file* file, const void* from, int count, sqlite3_int64 offset) {
  if (g_faults.full) return SQLITE_FULL;
  return real_methods(file)->xWrite(file, from, count, offset);
}

int faulty_sync(sqlite3_file* file, int flags) {
  if (g_faults.bad_sync) return SQLITE_IOERR_FSYNC;
  return real_methods(file)->xSync(file, flags);
}

int faulty_open(sqlite3_vfs*, sqlite3_filename name, sqlite3_file* file, int flags, int* out_flags) {
  sqlite3_vfs* real = sqlite3_vfs_find("unix");
  const int result = real->xOpen(real, name, file, flags, out_flags);
  if (result != SQLITE_OK || file->pMethods == nullptr) return result;
  std::lock_guard lock(g_mutex);
  auto& ours = g_methods[file->pMethods];
  if (ours == nullptr) {
    ours = new sqlite3_io_methods(*file->pMethods);
    ours->xWrite = faulty_write;
    ours->xSync = faulty_sync;
    g_real[ours] = file->pMethods;
  }
  file->pMethods = ours;
  return SQLITE_OK;
}

}  // namespace

SqliteFaults& sqlite_faults() { return g_faults; }

std::string faulty_sqlite_vfs() {
  static const int registered = [] {
    sqlite3_vfs* real = sqlite3_vfs_find("unix");
    g_vfs = *real;
    g_vfs.zName = "faulty";
    g_vfs.xOpen = faulty_open;
    return sqlite3_vfs_register(&g_vfs, 0);
  }();
  (void)registered;
  return "faulty";
}

}  // namespace baton
