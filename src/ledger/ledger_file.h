// The client's own record of what was acknowledged: a line "NUMBER NANOSECONDS commit|resolved" for each row. One thread.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "src/base/result.h"

namespace baton::ledger {

struct LedgerRow {
  int64_t number = 0;
  int64_t acknowledged_ns = 0;  // CLOCK_MONOTONIC
  bool resolved = false;        // the COMMIT's outcome was unknown, and reading found the row
};

class LedgerFile {
 public:
  /// An empty path keeps no record.
  static Result<LedgerFile> create(const std::string& path);
  LedgerFile(LedgerFile&& other) noexcept;
  LedgerFile& operator=(LedgerFile&&) = delete;
  ~LedgerFile();

  Status append(const LedgerRow& row);

 private:
  explicit LedgerFile(int descriptor) : descriptor_(descriptor) {}
  int descriptor_ = -1;
};

/// A last line without its end was being written when the client died: it is left out.
Result<std::vector<LedgerRow>> parse_ledger(const std::string& text);
Result<std::vector<LedgerRow>> read_ledger(const std::string& path);

}  // namespace baton::ledger
