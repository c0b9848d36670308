// Compares what was acknowledged with what the table holds. Pure but for read_table. One thread.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "src/base/result.h"
#include "src/ledger/database_connection.h"

namespace baton::ledger {

/// Each number and how often it stands in the table.
using TableRows = std::map<int64_t, uint64_t>;

struct Comparison {
  uint64_t committed = 0;              // acknowledged rows
  std::vector<int64_t> lost;           // acknowledged, and not in the table
  std::vector<int64_t> duplicated;     // in the table more than once
  uint64_t unacknowledged_extra = 0;   // in the table, and never acknowledged
};

Comparison compare(const std::set<int64_t>& acknowledged, const TableRows& table);

/// Reads the table, trying again until the deadline.
Result<TableRows> read_table(const ConnectionSettings& settings, const std::string& table, int64_t deadline_ns);

}  // namespace baton::ledger
