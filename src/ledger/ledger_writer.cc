// See the header. One thread.
#include "src/ledger/ledger_writer.h"

#include <poll.h>

#include <algorithm>
#include <cstdlib>

namespace baton::ledger {

namespace {

constexpr int64_t kAttemptInterval = 20 * kMillisecond;
constexpr int64_t kAnswerLimit = 500 * kMillisecond;
constexpr int64_t kLongestReadLimit = 8'000 * kMillisecond;
constexpr size_t kMostAttempts = 25;  // what starts in 500 ms

}  // namespace

LedgerWriter::LedgerWriter(WriterSettings settings, LedgerFile file, ShouldStop should_stop, OnProgress on_progress)
    : settings_(std::move(settings)), file_(std::move(file)), should_stop_(std::move(should_stop)),
      on_progress_(std::move(on_progress)), read_limit_(kAnswerLimit) {}

Result<WriterSummary> LedgerWriter::run() {
  row_started_ = monotonic_ns();
  while (!finished()) {
    const int64_t now = monotonic_ns();
    if (!record_) return pass(record_);
    if (now - row_started_ > settings_.row_deadline_ns)
      return fail_as(ErrorCode::kTimeout, "row {} has no known outcome after {} ms: {}", number_,
                     (now - row_started_) / kMillisecond, problem_.empty() ? "no answer" : problem_);
    if (session_ == nullptr) connect(now);
    if (session_ != nullptr) use_session(now);
    on_progress_(summary_, last_acknowledged_ == 0 ? 0 : now - last_acknowledged_);
    wait(monotonic_ns());
  }
  return summary_;
}

/// Nothing is under way whose outcome would stay unknown.
bool LedgerWriter::finished() {
  const bool enough = settings_.rows > 0 && summary_.rows >= settings_.rows;
  const bool between_rows = step_ != Step::kEndOthers && step_ != Step::kCountRow && !(step_ == Step::kCommit && sent_);
  return between_rows && (enough || should_stop_());
}

void LedgerWriter::connect(int64_t now) {
  if (now >= next_attempt_ && attempts_.size() < kMostAttempts) {
    attempts_.push_back(std::make_unique<DatabaseConnection>(settings_.connection, now));
    next_attempt_ = now + kAttemptInterval;
  }
  for (auto& attempt : attempts_) {
    if (attempt->state() != DatabaseConnection::State::kReady) continue;
    session_ = std::move(attempt);
    attempts_.clear();  // the others never sent anything
    sent_ = false;
    return;
  }
  std::erase_if(attempts_, [&](const auto& attempt) {
    if (attempt->state() != DatabaseConnection::State::kFailed) return false;
    problem_ = attempt->problem();
    return true;
  });
}

void LedgerWriter::use_session(int64_t now) {
  using State = DatabaseConnection::State;
  if (session_->state() == State::kFailed) return session_lost(now, session_->problem());
  if (session_->state() != State::kReady) return;
  if (sent_) {
    sent_ = false;
    take_answer(now);
  }
  if (session_ == nullptr || session_->state() != State::kReady || now < next_send_ || finished()) return;
  sent_ = true;
  session_->send(statement(), now, step_ == Step::kCountRow ? read_limit_ : kAnswerLimit);
}

std::string LedgerWriter::statement() const {
  switch (step_) {
    case Step::kCreateTable:
      return "CREATE TABLE IF NOT EXISTS " + settings_.table + "(n bigint, t timestamptz default now())";
    case Step::kReadHighest: return "SELECT coalesce(max(n), 0) FROM " + settings_.table;
    case Step::kCommit:
      return fmt::format("BEGIN; INSERT INTO {}(n) VALUES ({}); COMMIT", settings_.table, number_);
    case Step::kEndOthers:
      // As long as an older session of this client lives, its COMMIT may still come.
      return fmt::format("SELECT pid, pg_terminate_backend(pid) FROM pg_stat_activity "
                         "WHERE application_name = '{}' AND pid <> pg_backend_pid()",
                         settings_.connection.application_name);
    case Step::kCountRow: return fmt::format("SELECT count(*) FROM {} WHERE n = {}", settings_.table, number_);
  }
  return "";
}

void LedgerWriter::take_answer(int64_t now) {
  const Answer& answer = session_->answer();
  if (step_ == Step::kCommit) return take_commit(answer, now);
  if (!answer.error.empty()) return session_lost(now, answer.error);
  switch (step_) {
    case Step::kCreateTable: step_ = Step::kReadHighest; return;
    case Step::kReadHighest:
      number_ = std::atoll(answer.rows.at(0).at(0).c_str()) + 1;
      step_ = Step::kCommit;
      row_started_ = now;
      return;
    case Step::kEndOthers:
      if (answer.rows.empty()) {
        step_ = Step::kCountRow;
      } else {
        problem_ = "an older session of this client is still ending";
        next_send_ = now + kAttemptInterval;
      }
      return;
    default:
      read_limit_ = kAnswerLimit;
      step_ = Step::kCommit;
      if (answer.rows.at(0).at(0) != "0") acknowledged(now, true);
  }
}

void LedgerWriter::take_commit(const Answer& answer, int64_t now) {
  const bool committed = answer.error.empty() && !answer.tags.empty() && answer.tags.back() == "COMMIT";
  if (committed) return acknowledged(now, false);
  sent_ = true;  // it may have been carried out all the same
  session_lost(now, answer.error.empty() ? "the COMMIT was answered with something else" : answer.error);
}

void LedgerWriter::session_lost(int64_t now, const std::string& problem) {
  problem_ = problem;
  if (step_ == Step::kCommit && sent_) {
    step_ = Step::kEndOthers;
  } else if (step_ == Step::kCountRow) {
    step_ = Step::kEndOthers;
    read_limit_ = std::min(2 * read_limit_, kLongestReadLimit);
  }
  session_.reset();
  sent_ = false;
  next_attempt_ = std::min(next_attempt_, now);
}

void LedgerWriter::acknowledged(int64_t now, bool resolved) {
  record_ = file_.append({number_, now, resolved});
  if (last_acknowledged_ != 0) summary_.longest_gap_ns = std::max(summary_.longest_gap_ns, now - last_acknowledged_);
  last_acknowledged_ = now;
  ++summary_.rows;
  summary_.resolved += resolved ? 1 : 0;
  ++number_;
  row_started_ = now;
  next_send_ = std::max(next_send_ + settings_.interval_ns, now - settings_.interval_ns);
  if (settings_.interval_ns == 0) next_send_ = 0;
}

/// Until a connection has something, a deadline passes or it is time for the next attempt: 20 ms at most.
void LedgerWriter::wait(int64_t now) {
  std::vector<DatabaseConnection*> connections;
  if (session_ != nullptr) connections.push_back(session_.get());
  for (auto& attempt : attempts_) connections.push_back(attempt.get());
  int64_t until = now + kAttemptInterval;
  if (session_ == nullptr) until = std::min(until, next_attempt_);
  if (session_ != nullptr && !sent_) until = std::min(until, std::max(now, next_send_));
  std::vector<pollfd> entries;
  for (auto* connection : connections) {
    const bool living = connection->state() != DatabaseConnection::State::kFailed;
    entries.push_back({living ? connection->descriptor() : -1, connection->wanted_events(), 0});
    until = std::min(until, living ? connection->deadline() : now);
  }
  const int64_t left = std::max<int64_t>(until - now, 0);
  const timespec limit{left / 1'000'000'000, left % 1'000'000'000};
  ppoll(entries.data(), entries.size(), &limit, nullptr);
  const int64_t then = monotonic_ns();
  for (size_t index = 0; index < connections.size(); ++index)
    if (entries[index].fd >= 0) connections[index]->advance(then, entries[index].revents != 0);
}

}  // namespace baton::ledger
