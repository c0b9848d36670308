// See the header. One thread.
#include "src/ledger/ledger_check.h"

#include <poll.h>

#include <algorithm>
#include <cstdlib>
#include <memory>

namespace baton::ledger {

namespace {

constexpr int64_t kReadLimit = 60'000 * kMillisecond;
constexpr int64_t kAttemptInterval = 20 * kMillisecond;

int poll_timeout_ms(int64_t until, int64_t now) {
  return static_cast<int>(std::clamp<int64_t>((until - now) / kMillisecond + 1, 0, 1000));
}

/// One connection, one statement.
bool ask(DatabaseConnection& connection, const std::string& statement, int64_t deadline_ns) {
  bool sent = false;
  while (connection.state() != DatabaseConnection::State::kFailed) {
    if (connection.state() == DatabaseConnection::State::kReady) {
      if (sent) return true;
      sent = true;
      const int64_t now = monotonic_ns();
      connection.send(statement, now, std::min(kReadLimit, deadline_ns - now));
      continue;
    }
    pollfd entry{connection.descriptor(), connection.wanted_events(), 0};
    poll(&entry, 1, poll_timeout_ms(connection.deadline(), monotonic_ns()));
    connection.advance(monotonic_ns(), entry.revents != 0);
  }
  return false;
}

}  // namespace

Comparison compare(const std::set<int64_t>& acknowledged, const TableRows& table) {
  Comparison result;
  result.committed = acknowledged.size();
  for (const int64_t number : acknowledged)
    if (!table.contains(number)) result.lost.push_back(number);
  for (const auto& [number, count] : table) {
    if (count > 1) result.duplicated.push_back(number);
    if (!acknowledged.contains(number)) result.unacknowledged_extra += count;
  }
  return result;
}

Result<TableRows> read_table(const ConnectionSettings& settings, const std::string& table, int64_t deadline_ns) {
  const std::string statement = "SELECT n, count(*) FROM " + table + " GROUP BY n";
  std::string problem = "nothing was tried";
  while (monotonic_ns() < deadline_ns) {
    const int64_t started = monotonic_ns();
    DatabaseConnection connection(settings, started);
    if (ask(connection, statement, deadline_ns) && connection.answer().error.empty()) {
      TableRows rows;
      for (const auto& row : connection.answer().rows) rows[std::atoll(row[0].c_str())] = std::strtoull(row[1].c_str(), nullptr, 10);
      return rows;
    }
    problem = connection.problem().empty() ? connection.answer().error : connection.problem();
    poll(nullptr, 0, poll_timeout_ms(started + kAttemptInterval, monotonic_ns()));
  }
  return fail_as(ErrorCode::kTimeout, "the table {} at {} could not be read in time: {}", table, settings.host, problem);
}

}  // namespace baton::ledger
