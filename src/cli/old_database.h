// What a cluster database that lies in the state directory holds, seen while batond does not run. Nothing is changed. One thread.
#pragma once

#include <cstdint>
#include <string>

namespace baton::cli {

struct OldDatabase {
  bool exists = false;
  bool in_use = false;   // batond has it open
  std::string problem;   // why it cannot be read; empty: it can
  uint64_t epoch = 0;    // of its last entry
  uint64_t index = 0;
};

OldDatabase look_at_database(const std::string& path);

}  // namespace baton::cli
