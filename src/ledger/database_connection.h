// One connection to PostgreSQL that never waits for the kernel's or libpq's time-outs: everything is non-blocking and
// has a deadline, and a connection that is given up is reset without a word to the server. One thread.
#pragma once

#include <libpq-fe.h>

#include <cstdint>
#include <string>
#include <vector>

namespace baton::ledger {

inline constexpr int64_t kMillisecond = 1'000'000;  // in nanoseconds

/// CLOCK_MONOTONIC, the one clock of the machine and of every namespace on it.
int64_t monotonic_ns();

struct ConnectionSettings {
  std::string host;  // an IPv4 address, so that no resolver is waited for
  std::string port = "5432";
  std::string user = "postgres";
  std::string database = "postgres";
  std::string application_name;
};

/// What the server said to the last statement string.
struct Answer {
  std::vector<std::string> tags;               // of each statement: "BEGIN", "INSERT 0 1", "COMMIT"
  std::vector<std::vector<std::string>> rows;  // of all statements
  std::string error;                           // empty: none
};

class DatabaseConnection {
 public:
  enum class State { kConnecting, kReady, kBusy, kFailed };

  /// Starts to connect at once.
  DatabaseConnection(const ConnectionSettings& settings, int64_t now);
  ~DatabaseConnection();
  DatabaseConnection(const DatabaseConnection&) = delete;
  DatabaseConnection& operator=(const DatabaseConnection&) = delete;

  State state() const { return state_; }
  int descriptor() const { return PQsocket(connection_); }
  short wanted_events() const { return wanted_events_; }
  /// When the connection is given up if nothing comes.
  int64_t deadline() const;

  /// Goes on after poll() reported events, or judges the deadline.
  void advance(int64_t now, bool has_events);
  /// Sends a statement string; its answer is there when the state is kReady again. REQUIRES: kReady.
  void send(const std::string& statements, int64_t now, int64_t limit_ns);

  const Answer& answer() const { return answer_; }
  /// Why it failed.
  const std::string& problem() const { return problem_; }

 private:
  void advance_connecting();
  void advance_busy();
  void take_result(PGresult* result);
  void fail_with(const std::string& problem);
  void reset();

  PGconn* connection_ = nullptr;
  State state_ = State::kConnecting;
  short wanted_events_ = 0;
  int64_t started_ = 0;
  int64_t answer_deadline_ = 0;
  Answer answer_;
  std::string problem_;
};

}  // namespace baton::ledger
