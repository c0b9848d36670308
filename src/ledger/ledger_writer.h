// Commits numbered rows one after another, each in a transaction of its own, and finds out by reading what became of a
// COMMIT whose answer did not come. One thread, one poll loop.
//
// While there is no session a new connection is begun every 20 ms, beside the older ones, so that nothing depends on
// the kernel's retransmissions. Only the session that wins sends anything.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "src/base/result.h"
#include "src/ledger/database_connection.h"
#include "src/ledger/ledger_file.h"

namespace baton::ledger {

struct WriterSettings {
  ConnectionSettings connection;
  std::string table = "ledger";
  int64_t interval_ns = 0;       // between two rows; 0: as fast as the answers come
  int64_t row_deadline_ns = 0;   // how long one row may take before the client gives up
  int64_t rows = 0;              // end after so many; 0: when told to stop
};

struct WriterSummary {
  int64_t rows = 0;
  int64_t resolved = 0;
  int64_t longest_gap_ns = 0;  // between two acknowledgements
};

class LedgerWriter {
 public:
  /// `should_stop` is asked often; `on_progress` is told the rows and the age of the last one.
  using ShouldStop = std::function<bool()>;
  using OnProgress = std::function<void(const WriterSummary&, int64_t age_ns)>;
  LedgerWriter(WriterSettings settings, LedgerFile file, ShouldStop should_stop, OnProgress on_progress);

  /// Until it is told to stop and no row's outcome is unknown. An error if a row took longer than its deadline.
  Result<WriterSummary> run();

 private:
  enum class Step { kCreateTable, kReadHighest, kCommit, kEndOthers, kCountRow };

  bool finished();
  void connect(int64_t now);
  void use_session(int64_t now);
  std::string statement() const;
  void take_answer(int64_t now);
  void take_commit(const Answer& answer, int64_t now);
  void session_lost(int64_t now, const std::string& problem);
  void acknowledged(int64_t now, bool resolved);
  void wait(int64_t now);

  WriterSettings settings_;
  LedgerFile file_;
  ShouldStop should_stop_;
  OnProgress on_progress_;

  Step step_ = Step::kCreateTable;
  std::unique_ptr<DatabaseConnection> session_;
  std::vector<std::unique_ptr<DatabaseConnection>> attempts_;
  bool sent_ = false;  // the statement of the present step is under way in the session
  int64_t number_ = 1;
  int64_t next_attempt_ = 0;
  int64_t next_send_ = 0;
  int64_t row_started_ = 0;
  int64_t last_acknowledged_ = 0;
  int64_t read_limit_ = 0;  // grows when reading takes too long
  std::string problem_;
  Status record_;
  WriterSummary summary_;
};

}  // namespace baton::ledger
