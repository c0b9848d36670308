// One monitor of a group while that runs here: when to check, and what follows from the answers. Pure; the checks are made by
// batond. A check that could not be made says nothing about the resource. docs/operations.md, "Monitors".
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "src/base/time.h"
#include "src/model/configuration.h"

namespace baton::group {

enum class Verdict {
  kGood,
  kBad,
  kUnknown,  // it could not be checked
};

enum class MonitorState {
  kResting,  // its resource is not up, or nobody may act on what it finds
  kWaiting,  // for its first answer
  kGood,
  kFailing,  // bad, but not often enough yet
  kFailed,
  kUnknown,
};
const char* to_string(MonitorState state);

/// As status shows it.
struct MonitorView {
  MonitorState state = MonitorState::kResting;
  std::string detail;      // of the last answer: "answered 503, expected 200"
  uint32_t bad = 0;        // in a row
  uint64_t unknown = 0;    // in a row
};

struct CheckRequest {
  uint64_t token = 0;
  MonitorConfiguration monitor;
  std::string position;  // what the answer that counted last brought; empty: it begins, and what a log has already does not count
};

/// What somebody should read; `problem`: it got worse.
struct MonitorNews {
  bool problem = false;
  std::string text;
};

class MonitorRun {
 public:
  explicit MonitorRun(const MonitorConfiguration& configuration) : configuration_(configuration) {}

  /// Its resource is up, and is to be looked after. Again: no change.
  void watch(Instant now);
  /// Until watch(). An answer that is under way does not count any more.
  void rest();

  /// A check is due; it counts as under way from now on. `token`: by which done() knows it.
  bool begin_if_due(Instant now, uint64_t token);
  bool has(uint64_t token) const { return token_ != 0 && token_ == token; }
  /// Checks that are still under way and for nothing: they are to be ended.
  std::vector<uint64_t> take_dropped() { return std::exchange(dropped_, {}); }
  /// The answer. True: the resource has failed, by this monitor's rules. It checks no more until watch() after a rest().
  /// One that is late says more of this server than of the resource: nothing is known. `position`: for the next check.
  bool done(Instant now, Verdict verdict, const std::string& detail, const std::string& position = "");
  const std::string& position() const { return position_; }
  std::string why_failed() const;
  /// Ends the wait for an answer that does not come.
  void tick(Instant now);
  Instant next_tick() const;

  const MonitorView& view() const { return view_; }
  const MonitorConfiguration& configuration() const { return configuration_; }
  /// Since the last call, empty text: nothing.
  MonitorNews take_news() { return std::exchange(news_, {}); }

 private:
  void drop();
  void set_unknown(const std::string& detail);

  MonitorConfiguration configuration_;
  MonitorView view_;
  MonitorNews news_;
  uint64_t token_ = 0;  // of the check that is under way; 0: none
  std::string position_;
  std::vector<uint64_t> dropped_;
  Instant given_up_at_ = kNever;
  Instant due_ = kNever;
};

}  // namespace baton::group
