// One program that a script of a group has had supervised (`baton supervise`, once ARMLOAD), while the group runs here: what
// follows from its end. Pure; batond starts and watches it. docs/operations.md, "Programs of scripts".
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "src/base/time.h"
#include "src/model/configuration.h"

namespace baton::group {

struct ProgramPolicy {
  std::string id;
  bool watched = true;       // false: its end is told, and nothing is done about it
  uint32_t restarts = 0;     // within `window`
  Duration window{0};        // 0: they are counted for good
  bool with_script = false;  // the script is stopped and started again, not the program alone
  FinalAction on_failure = FinalAction::kFailover;  // beyond the restarts
  bool operator==(const ProgramPolicy&) const = default;
};

enum class ProgramState {
  kRunning,
  kRestarting,  // batond is about to have started it again
  kEnded,       // and it stays so: not watched, or beyond its restarts
  kWaiting,     // ended in maintenance: nothing is done about it until that is over
};
const char* to_string(ProgramState state);

/// What is to be done about an end.
enum class ProgramRemedy { kNone, kRestartProgram, kRestartScript, kFinalAction };

class ProgramRun {
 public:
  explicit ProgramRun(ProgramPolicy policy) : policy_(std::move(policy)) {}

  /// The script has started it anew, perhaps otherwise than before: its restarts go on being counted.
  void started_anew(ProgramPolicy policy);
  ProgramRemedy ended(Instant now, const std::string& how, bool supervised);
  void restarted();
  /// Its script is down, and it with that.
  void ended_with_script();

  const ProgramPolicy& policy() const { return policy_; }
  ProgramState state() const { return state_; }
  /// How it ended last; empty: it has not.
  const std::string& how() const { return how_; }
  /// Restarts that count now.
  uint32_t restarts(Instant now) const;
  /// "program worker ended with status 1; it is started again (1 of 3 restarts within 1 h)".
  std::string describe_end(Instant now) const;

 private:
  bool counts(Instant now, Instant at) const;

  ProgramPolicy policy_;
  ProgramState state_ = ProgramState::kRunning;
  std::string how_;
  std::vector<Instant> past_;  // its restarts
};

}  // namespace baton::group
