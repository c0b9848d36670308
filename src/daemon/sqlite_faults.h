// A SQLite file access ("VFS") for tests that fails on demand: full disks and failing syncs. Switched from any thread;
// registered once per process.
#pragma once

#include <atomic>
#include <string>

namespace baton {

struct SqliteFaults {
  std::atomic<bool> full = false;       // writes: SQLITE_FULL
  std::atomic<bool> bad_sync = false;   // syncs: SQLITE_IOERR_FSYNC, though the data is written
};

/// Registers the file access; its name is what the stores take as `vfs`.
std::string faulty_sqlite_vfs();
SqliteFaults& sqlite_faults();

}  // namespace baton
