// See monitor_run.h.
#include "src/core/group/monitor_run.h"

#include <fmt/format.h>

#include <algorithm>

#include "src/base/planted.h"

namespace baton::group {

namespace {
constexpr Duration kSoonest = 1s;     // after a bad check: the next one tells whether it was a moment's
constexpr Duration kAnswerLate = 3s;  // beyond the timeout: batond says of a program that even SIGKILL does not end after two

/// Up to a tenth more or less: the monitors of many groups that start at once do not check at once for ever.
Duration varied(Duration interval, uint64_t token) {
  uint64_t mixed = token * 0x9E3779B97F4A7C15U;
  mixed ^= mixed >> 32U;
  const Duration tenth = interval / 10;
  return interval - tenth + Duration(static_cast<int64_t>(mixed % static_cast<uint64_t>(2 * tenth.count() + 1)));
}
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

void MonitorRun::watch(Instant now) {
  if (view_.state != MonitorState::kResting) return;
  view_ = {.state = MonitorState::kWaiting};
  due_ = now + configuration_.delay;
}

void MonitorRun::rest() {
  if (view_.state == MonitorState::kResting) return;
  view_ = {};
  due_ = kNever;
  position_.clear();
  drop();
}

void MonitorRun::drop() {
  if (token_ != 0) dropped_.push_back(token_);
  token_ = 0;
  given_up_at_ = kNever;
}

bool MonitorRun::begin_if_due(Instant now, uint64_t token) {
  if (token_ != 0 || now < due_) return false;
  token_ = token;
  given_up_at_ = now + configuration_.timeout + kAnswerLate;
  due_ = now + varied(configuration_.interval, token);
  return true;
}

void MonitorRun::set_unknown(const std::string& detail) {
  const bool known = view_.state != MonitorState::kUnknown;
  view_.state = MonitorState::kUnknown;
  view_.detail = detail;
  view_.bad = 0;
  ++view_.unknown;
  if (known)
    news_ = {true, fmt::format("monitor {} could not check {}, so nothing is known of it: {}", configuration_.name, configuration_.of,
                               detail)};
}

bool MonitorRun::done(Instant now, Verdict verdict, const std::string& detail, const std::string& position) {
  if (now >= given_up_at_) {
    tick(now);
    return false;
  }
  token_ = 0;
  given_up_at_ = kNever;
  if (!position.empty()) position_ = position;
  if (planted(Plant::kUnknownIsBad) && verdict == Verdict::kUnknown) verdict = Verdict::kBad;
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
    if (view_.bad == 1)
      news_ = {true, fmt::format("monitor {} of {}: {} (1 of {} bad checks in a row)", configuration_.name, configuration_.of, detail,
                                 configuration_.failures)};
    return false;
  }
  view_.state = MonitorState::kFailed;
  due_ = kNever;
  news_ = {true, fmt::format("{} failed: {}", configuration_.of, why_failed())};
  return true;
}

std::string MonitorRun::why_failed() const {
  return fmt::format("monitor {}: {}{}", configuration_.name, view_.detail,
                     configuration_.failures == 1 ? "" : fmt::format(" ({} times in a row)", configuration_.failures));
}

void MonitorRun::tick(Instant now) {
  if (now < given_up_at_) return;
  drop();
  set_unknown(fmt::format("the check was not over {} ms after its beginning", to_ms(configuration_.timeout + kAnswerLate)));
}

Instant MonitorRun::next_tick() const { return token_ != 0 ? given_up_at_ : due_; }

}  // namespace baton::group
