// See the header. Uses libpq's asynchronous interface only. One thread.
#include "src/ledger/database_connection.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <limits>

namespace baton::ledger {

namespace {

constexpr int64_t kTcpLimit = 200 * kMillisecond;    // a lost SYN costs no more than this
constexpr int64_t kSetUpLimit = 500 * kMillisecond;  // from the first packet to "ready for query"

std::string first_line(const char* text) {
  std::string line = text == nullptr ? "" : text;
  return line.substr(0, line.find('\n'));
}

}  // namespace

int64_t monotonic_ns() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1'000'000'000 + now.tv_nsec;
}

DatabaseConnection::DatabaseConnection(const ConnectionSettings& settings, int64_t now) : started_(now) {
  const char* keywords[] = {"hostaddr", "port", "user", "dbname", "application_name", "sslmode", "gssencmode", nullptr};
  const char* values[] = {settings.host.c_str(),     settings.port.c_str(),
                          settings.user.c_str(),     settings.database.c_str(),
                          settings.application_name.c_str(), "disable", "disable", nullptr};
  connection_ = PQconnectStartParams(keywords, values, 0);
  wanted_events_ = POLLOUT;
  if (connection_ == nullptr || PQstatus(connection_) == CONNECTION_BAD) {
    fail_with(first_line(connection_ == nullptr ? "out of memory" : PQerrorMessage(connection_)));
    return;
  }
  PQsetNoticeProcessor(connection_, [](void*, const char*) {}, nullptr);  // or libpq would write on standard error
}

DatabaseConnection::~DatabaseConnection() { reset(); }

int64_t DatabaseConnection::deadline() const {
  switch (state_) {
    case State::kConnecting:
      return started_ + (PQstatus(connection_) == CONNECTION_STARTED ? kTcpLimit : kSetUpLimit);
    case State::kBusy: return answer_deadline_;
    default: return std::numeric_limits<int64_t>::max();
  }
}

void DatabaseConnection::advance(int64_t now, bool has_events) {
  if (has_events) {
    if (state_ == State::kConnecting) advance_connecting();
    if (state_ == State::kBusy || state_ == State::kReady) advance_busy();
  }
  if (state_ == State::kConnecting && now >= deadline()) fail_with("no connection in time");
  if (state_ == State::kBusy && now >= deadline()) fail_with("no answer in time");
}

void DatabaseConnection::advance_connecting() {
  switch (PQconnectPoll(connection_)) {
    case PGRES_POLLING_READING: wanted_events_ = POLLIN; return;
    case PGRES_POLLING_WRITING: wanted_events_ = POLLOUT; return;
    case PGRES_POLLING_OK:
      PQsetnonblocking(connection_, 1);
      state_ = State::kReady;
      wanted_events_ = POLLIN;
      return;
    default: return fail_with(first_line(PQerrorMessage(connection_)));
  }
}

void DatabaseConnection::send(const std::string& statements, int64_t now, int64_t limit_ns) {
  answer_ = {};
  answer_deadline_ = now + limit_ns;
  if (PQsendQuery(connection_, statements.c_str()) == 0) return fail_with(first_line(PQerrorMessage(connection_)));
  state_ = State::kBusy;
  wanted_events_ = POLLIN | POLLOUT;
  advance_busy();
}

void DatabaseConnection::advance_busy() {
  const int unsent = PQflush(connection_);
  if (unsent < 0) return fail_with(first_line(PQerrorMessage(connection_)));
  wanted_events_ = static_cast<short>(unsent > 0 ? POLLIN | POLLOUT : POLLIN);
  const bool alive = PQconsumeInput(connection_) == 1;
  while (state_ == State::kBusy && PQisBusy(connection_) == 0) {
    PGresult* result = PQgetResult(connection_);
    if (result == nullptr) {
      state_ = State::kReady;
    } else {
      take_result(result);
      PQclear(result);
      if (PQstatus(connection_) == CONNECTION_BAD) return fail_with(answer_.error);
    }
  }
  if (!alive) fail_with(first_line(PQerrorMessage(connection_)));
}

void DatabaseConnection::take_result(PGresult* result) {
  const auto status = PQresultStatus(result);
  if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK) {
    answer_.error = first_line(PQresultErrorMessage(result));
    return;
  }
  answer_.tags.emplace_back(PQcmdStatus(result));
  for (int row = 0; row < PQntuples(result); ++row) {
    auto& cells = answer_.rows.emplace_back();
    for (int column = 0; column < PQnfields(result); ++column) cells.emplace_back(PQgetvalue(result, row, column));
  }
}

void DatabaseConnection::fail_with(const std::string& problem) {
  problem_ = problem;
  state_ = State::kFailed;
  reset();
}

void DatabaseConnection::reset() {
  if (connection_ == nullptr) return;
  // PQfinish would say good-bye and so could wait for a server that is gone. It finds another file in the place of the
  // socket; the socket itself ends with a reset.
  if (const int socket = PQsocket(connection_); socket >= 0) {
    const linger at_once{.l_onoff = 1, .l_linger = 0};
    setsockopt(socket, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    const int nothing = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (nothing >= 0) {
      dup2(nothing, socket);
      close(nothing);
    }
  }
  PQfinish(connection_);
  connection_ = nullptr;
}

}  // namespace baton::ledger
