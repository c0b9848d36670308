// Which of the ping targets of two servers answer this one: when echoes are sent, what the answers say of the moments between, and
// since when there are none. Pure. docs/protocol.md, "The arbiter by ping targets".
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "src/base/time.h"

namespace baton::arbiter {

/// Send an echo to each of them. What comes of it is told by PingAnswers of this number, or never.
struct Ping {
  uint64_t number = 0;
  std::vector<std::string> addresses;
};
struct PingAnswer {
  uint64_t number = 0;
  std::string address;
  std::string problem;  // empty: it answered; else why nothing could be sent, for people
};

class PingWatch {
 public:
  struct Target {
    std::string address;
    Instant sent{};      // the newest echo that it answered; Instant{}: none
    bool answers = false;
    Instant since{};     // ... or not, since then
    std::string problem; // of the newest echo
  };

  /// `patience`: a pause between echoes that were answered which counts as one, for steady_since(). Other targets than before:
  /// everything anew.
  void use(Instant now, const std::vector<std::string>& targets, Duration patience);
  /// Each round asks these besides the targets, until others are said.
  void ask_also(const std::vector<std::string>& addresses) { others_ = addresses; }
  bool asks_also() const { return !others_.empty(); }
  /// The next round is due at once.
  void hurry(Instant now) { due_ = last_sent_ < now ? now : due_; }
  std::optional<Ping> next(Instant now);
  void answered(Instant now, const PingAnswer& answer);
  Instant next_tick() const { return in_use() ? due_ : kNever; }

  bool in_use() const { return !targets_.empty(); }
  /// The sending of the newest echo that a target answered, or another one that was asked; Instant{}: none.
  Instant target_answered() const { return target_answered_; }
  Instant other_answered() const { return other_answered_; }
  /// Since when targets have answered without such a pause, a moment ago, too; kNever: they have not.
  Instant steady_since(Instant now) const;
  /// For how long echoes have been sent that no target answered. Not counted: when this server itself stood still.
  Duration quiet_for() const { return missing_since_ == kNever ? Duration{0} : last_sent_ - missing_since_; }
  const std::vector<Target>& targets() const { return targets_; }
  /// Which ones, and what is wrong, for people.
  std::string describe() const;

 private:
  Duration interval() const;

  std::vector<Target> targets_;
  std::vector<std::string> others_;
  Duration patience_{};
  uint64_t number_ = 0;
  std::map<uint64_t, Instant> sent_;  // rounds that may be answered yet
  Instant due_{};
  Instant last_sent_{};
  Instant missing_since_ = kNever;    // the first echo that has not been answered since the last answer
  Instant target_answered_{};
  Instant other_answered_{};
  Instant steady_since_ = kNever;
};

}  // namespace baton::arbiter
