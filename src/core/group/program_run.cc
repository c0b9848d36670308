// See program_run.h.
#include "src/core/group/program_run.h"

#include <fmt/format.h>

#include <algorithm>

#include "src/model/configuration_toml.h"

namespace baton::group {

const char* to_string(ProgramState state) {
  switch (state) {
    case ProgramState::kRunning: return "running";
    case ProgramState::kRestarting: return "restarting";
    case ProgramState::kEnded: return "ended";
    case ProgramState::kWaiting: return "waiting";
  }
  return "?";
}

void ProgramRun::started_anew(ProgramPolicy policy) {
  policy_ = std::move(policy);
  state_ = ProgramState::kRunning;
}

bool ProgramRun::counts(Instant now, Instant at) const { return policy_.window == Duration{0} || now - at <= policy_.window; }

uint32_t ProgramRun::restarts(Instant now) const {
  return static_cast<uint32_t>(std::count_if(past_.begin(), past_.end(), [&](Instant at) { return counts(now, at); }));
}

ProgramRemedy ProgramRun::ended(Instant now, const std::string& how, bool supervised) {
  how_ = how;
  if (!policy_.watched) {
    state_ = ProgramState::kEnded;
    return ProgramRemedy::kNone;
  }
  if (!supervised) {
    state_ = ProgramState::kWaiting;
    return ProgramRemedy::kNone;
  }
  std::erase_if(past_, [&](Instant at) { return !counts(now, at); });
  if (past_.size() >= policy_.restarts) {
    state_ = ProgramState::kEnded;
    return ProgramRemedy::kFinalAction;
  }
  past_.push_back(now);
  state_ = ProgramState::kRestarting;
  return policy_.with_script ? ProgramRemedy::kRestartScript : ProgramRemedy::kRestartProgram;
}

void ProgramRun::restarted() { state_ = ProgramState::kRunning; }

void ProgramRun::ended_with_script() {
  state_ = ProgramState::kEnded;
  how_ = "ended with its script";
}

std::string ProgramRun::describe_end(Instant now) const {
  const bool for_good = policy_.window == Duration{0};
  const std::string within =
      for_good ? "" : " within " + format_duration(std::chrono::duration_cast<milliseconds>(policy_.window));
  const uint32_t count = restarts(now);
  const std::string ended = fmt::format("program {} {}", policy_.id, how_);
  if (state_ == ProgramState::kRestarting)
    return fmt::format("{}; {} is started again ({} of {} restarts{})", ended, policy_.with_script ? "its script" : "it", count, policy_.restarts, within);
  return count == 0 ? ended : fmt::format("{}, after {} restart{}{}", ended, count, count == 1 ? "" : "s", within);
}

}  // namespace baton::group
