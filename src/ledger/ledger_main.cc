// baton-ledger: the client of the demo and of the system tests. `run` commits numbered rows and writes down those whose
// COMMIT was acknowledged; `check` compares that record with the table. One thread.
#include <arpa/inet.h>
#include <signal.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "src/ledger/ledger_check.h"
#include "src/ledger/ledger_file.h"
#include "src/ledger/ledger_writer.h"

namespace baton::ledger {
namespace {

volatile sig_atomic_t asked_to_stop = 0;

struct Given {
  ConnectionSettings connection;
  std::string table = "ledger";
  std::string output;
  std::string stop_file;
  std::vector<std::string> inputs;
  double rate = 0;
  int64_t rows = 0;
  int64_t deadline_s = 120;
};

int refuse(const std::string& message) {
  fmt::print(stderr, "baton-ledger: {}\n", message);
  return 1;
}

void watch_signals() {
  struct sigaction action {};
  action.sa_handler = [](int) { asked_to_stop = 1; };
  sigaction(SIGTERM, &action, nullptr);
  sigaction(SIGINT, &action, nullptr);
  signal(SIGPIPE, SIG_IGN);
}

/// Tells a person at a terminal how it goes, five times a second.
LedgerWriter::OnProgress make_progress() {
  if (isatty(STDERR_FILENO) == 0) return [](const WriterSummary&, int64_t) {};
  return [next = int64_t{0}](const WriterSummary& summary, int64_t age_ns) mutable {
    const int64_t now = monotonic_ns();
    if (now < next) return;
    next = now + 200 * kMillisecond;
    const bool outage = age_ns > 100 * kMillisecond;
    fmt::print(stderr, "\r{} rows{}\033[K", summary.rows,
               outage ? fmt::format(", no answer for {} ms", age_ns / kMillisecond) : "");
  };
}

int run(const Given& given) {
  watch_signals();
  auto file = LedgerFile::create(given.output);
  if (!file) return refuse(file.error().message);
  WriterSettings settings;
  settings.connection = given.connection;
  settings.connection.application_name = fmt::format("baton-ledger-{:x}-{}", monotonic_ns(), getpid());
  settings.table = given.table;
  settings.interval_ns = given.rate > 0 ? static_cast<int64_t>(1e9 / given.rate) : 0;
  settings.row_deadline_ns = given.deadline_s * 1000 * kMillisecond;
  settings.rows = given.rows;
  const auto should_stop = [&] {
    return asked_to_stop != 0 || (!given.stop_file.empty() && access(given.stop_file.c_str(), F_OK) == 0);
  };
  LedgerWriter writer(settings, std::move(*file), should_stop, make_progress());
  const auto summary = writer.run();
  if (isatty(STDERR_FILENO) != 0) fmt::print(stderr, "\n");
  if (!summary) return refuse(summary.error().message);
  const nlohmann::ordered_json answer = {{"rows", summary->rows},
                                         {"resolved", summary->resolved},
                                         {"longest_gap_ms", static_cast<double>(summary->longest_gap_ns / 1000) / 1000}};
  fmt::print("{}\n", answer.dump());
  return 0;
}

std::vector<int64_t> first_ten(const std::vector<int64_t>& numbers) {
  return {numbers.begin(), numbers.begin() + static_cast<long>(std::min<size_t>(numbers.size(), 10))};
}

int check(const Given& given) {
  std::set<int64_t> acknowledged;
  for (const auto& input : given.inputs) {
    const auto rows = read_ledger(input);
    if (!rows) return refuse(rows.error().message);
    for (const auto& row : *rows) acknowledged.insert(row.number);
  }
  const auto table =
      read_table(given.connection, given.table, monotonic_ns() + given.deadline_s * 1000 * kMillisecond);
  if (!table) return refuse(table.error().message);
  const Comparison result = compare(acknowledged, *table);
  const nlohmann::ordered_json answer = {{"committed", result.committed},
                                         {"lost", result.lost.size()},
                                         {"duplicated", result.duplicated.size()},
                                         {"unacknowledged_extra", result.unacknowledged_extra},
                                         {"lost_rows", first_ten(result.lost)},
                                         {"duplicated_rows", first_ten(result.duplicated)}};
  fmt::print("{}\n", answer.dump());
  return result.lost.empty() && result.duplicated.empty() ? 0 : 1;
}

std::string check_address(const std::string& text) {
  in_addr address{};
  return inet_pton(AF_INET, text.c_str(), &address) == 1 ? "" : "'" + text + "' is no IPv4 address";
}

std::string check_table(const std::string& text) {
  const bool plain = !text.empty() && text.find_first_not_of("abcdefghijklmnopqrstuvwxyz_0123456789") == std::string::npos;
  return plain ? "" : "'" + text + "' is no plain table name";
}

void add_common(CLI::App& command, Given& given) {
  command.add_option("--host", given.connection.host, "The database's IPv4 address")->required()->check(check_address);
  command.add_option("--port", given.connection.port, "Its port")->capture_default_str();
  command.add_option("--user", given.connection.user, "The database user")->capture_default_str();
  command.add_option("--database", given.connection.database, "The database")->capture_default_str();
  command.add_option("--table", given.table, "The table")->capture_default_str()->check(check_table);
  command.add_option("--deadline", given.deadline_s, "Seconds after which one row, or the check, is given up")
      ->capture_default_str();
}

}  // namespace
}  // namespace baton::ledger

int main(int count, char** arguments) {
  using namespace baton::ledger;
  CLI::App app("Commits numbered rows, and checks that every acknowledged one is there exactly once", "baton-ledger");
  Given given;
  app.require_subcommand(1);
  auto* run_command = app.add_subcommand("run", "Commit rows until told to stop");
  add_common(*run_command, given);
  run_command->add_option("--output", given.output, "Where acknowledged rows are written down");
  run_command->add_option("--stop-file", given.stop_file, "End in order when this file appears (or at SIGTERM)");
  run_command->add_option("--rate", given.rate, "Rows per second; as fast as answers come if not given");
  run_command->add_option("--rows", given.rows, "End after so many rows");
  auto* check_command = app.add_subcommand("check", "Compare the table with what was acknowledged");
  add_common(*check_command, given);
  check_command->add_option("--input", given.inputs, "What `run` wrote down, one or more files")->required();
  CLI11_PARSE(app, count, arguments);
  return run_command->parsed() ? run(given) : check(given);
}
