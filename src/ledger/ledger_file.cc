// See the header. One thread.
#include "src/ledger/ledger_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <sstream>
#include <utility>

namespace baton::ledger {

Result<LedgerFile> LedgerFile::create(const std::string& path) {
  if (path.empty()) return LedgerFile(-1);
  const int descriptor = open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0644);
  if (descriptor < 0) return fail("cannot write {}: {}", path, strerror(errno));
  return LedgerFile(descriptor);
}

LedgerFile::LedgerFile(LedgerFile&& other) noexcept : descriptor_(std::exchange(other.descriptor_, -1)) {}

LedgerFile::~LedgerFile() {
  if (descriptor_ >= 0) close(descriptor_);
}

Status LedgerFile::append(const LedgerRow& row) {
  if (descriptor_ < 0) return {};
  const auto line = fmt::format("{} {} {}\n", row.number, row.acknowledged_ns, row.resolved ? "resolved" : "commit");
  if (write(descriptor_, line.data(), line.size()) != static_cast<ssize_t>(line.size()))
    return fail("cannot write down row {}: {}", row.number, strerror(errno));
  return {};
}

Result<std::vector<LedgerRow>> parse_ledger(const std::string& text) {
  std::vector<LedgerRow> rows;
  std::istringstream lines(text.substr(0, text.rfind('\n') == std::string::npos ? 0 : text.rfind('\n')));
  for (std::string line; std::getline(lines, line);) {
    LedgerRow row;
    std::string kind;
    std::istringstream words(line);
    if (!(words >> row.number >> row.acknowledged_ns >> kind) || (kind != "commit" && kind != "resolved"))
      return fail("line {} is no ledger row: \"{}\"", rows.size() + 1, line);
    row.resolved = kind == "resolved";
    rows.push_back(row);
  }
  return rows;
}

Result<std::vector<LedgerRow>> read_ledger(const std::string& path) {
  std::ifstream file(path);
  if (!file) return fail_as(ErrorCode::kNotFound, "cannot read {}", path);
  std::stringstream text;
  text << file.rdbuf();
  auto rows = parse_ledger(text.str());
  if (!rows) return fail("{}: {}", path, rows.error().message);
  return rows;
}

}  // namespace baton::ledger
