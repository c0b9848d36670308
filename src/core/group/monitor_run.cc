// See monitor_run.h.
#include "src/core/group/monitor_run.h"

#include <fmt/format.h>

#include <algorithm>
#include <functional>

namespace baton::group {

namespace {
constexpr Duration kSoonest = 1s;     // after a bad check: the next one tells whether it was a moment's
constexpr Duration kAnswerLate = 5s;  // beyond the timeout, for batond to say so
}  // namespace

const char* to_string(MonitorState state) {
  switch (state) {
    case MonitorState::kResting: return "resting";
    case MonitorState::kWaiting: return "waiting";
    case MonitorState::kGood: return "good";
    case MonitorState::kFailing: return "failing";
    case MonitorState::kFailed: return "failed";
    case MonitorState::kUnknown: return "unknown";
  }
  return "?";
}

/// Up to a tenth more or less: the monitors of many groups that start at once do not check at once for ever.
Duration MonitorRun::varied(Duration interval) {
  uint64_t mixed = (std::hash<std::string>{}(configuration_.name) + ++checks_) * 0x9E3779B97F4A7C15U;
  mixed ^= mixed >> 32U;
  const Duration tenth = interval / 10;
  return interval - tenth + Duration(static_cast<int64_t>(mixed % static_cast<uint64_t>(2 * tenth.count() + 1)));
}

void MonitorRun::watch(Instant now) {
  if (view_.state != MonitorState::kResting) return;
  view_ = {.state = MonitorState::kWaiting};
  due_ = now + configuration_.delay;
}

void MonitorRun::rest() {
  if (view_.state == MonitorState::kResting) return;
  view_ = {};
  token_ = 0;
  due_ = given_up_at_ = kNever;
}

bool MonitorRun::begin_if_due(Instant now, uint64_t token) {
  if (token_ != 0 || now < due_) return false;
  token_ = token;
  given_up_at_ = now + configuration_.timeout + kAnswerLate;
  due_ = now + varied(configuration_.interval);
  return true;
}

void MonitorRun::set_unknown(const std::string& detail) {
  const bool known = view_.state != MonitorState::kUnknown;
  view_.state = MonitorState::kUnknown;
  view_.detail = detail;
  view_.bad = 0;
  ++view_.unknown;
  if (known)
    news_ = {true, fmt::format("monitor {} could not be checked, so that nothing is known of {}: {}", configuration_.name, configuration_.of,
                               detail)};
}

bool MonitorRun::done(Instant now, Verdict verdict, const std::string& detail) {
  token_ = 0;
  given_up_at_ = kNever;
  if (verdict == Verdict::kUnknown) {
    set_unknown(detail);
    return false;
  }
  const MonitorState before = view_.state;
  view_.unknown = 0;
  view_.detail = detail;
  if (verdict == Verdict::kGood) {
    view_.bad = 0;
    view_.state = MonitorState::kGood;
    if (before != MonitorState::kWaiting && before != MonitorState::kGood)
      news_ = {false, fmt::format("monitor {}: {} is well again", configuration_.name, configuration_.of)};
    return false;
  }
  ++view_.bad;
  if (view_.bad < configuration_.failures) {
    view_.state = MonitorState::kFailing;
    due_ = std::min(due_, now + std::min<Duration>(kSoonest, configuration_.interval));
    news_ = {true, fmt::format("monitor {}: {} ({} of {} bad checks)", configuration_.name, detail, view_.bad, configuration_.failures)};
    return false;
  }
  view_.state = MonitorState::kFailed;
  due_ = kNever;
  return before != MonitorState::kFailed;
}

void MonitorRun::tick(Instant now) {
  if (now < given_up_at_) return;
  token_ = 0;
  given_up_at_ = kNever;
  set_unknown("the check did not come to its end");
}

Instant MonitorRun::next_tick() const { return token_ != 0 ? given_up_at_ : due_; }

}  // namespace baton::group
