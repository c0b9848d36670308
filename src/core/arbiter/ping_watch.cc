// Rounds of echoes, and what their answers mean. Pure. docs/protocol.md, "The arbiter by ping targets".
#include "src/core/arbiter/ping_watch.h"

#include <algorithm>

#include <fmt/format.h>

namespace baton::arbiter {

namespace {
constexpr Duration kInterval = 200ms;
constexpr Duration kTooLate = 1s;  // an answer to an echo that was sent longer ago says nothing
}  // namespace

Duration PingWatch::interval() const { return std::min<Duration>(kInterval, patience_ / 3); }

void PingWatch::use(Instant now, const std::vector<std::string>& targets, Duration patience) {
  const bool same = targets.size() == targets_.size() &&
                    std::equal(targets.begin(), targets.end(), targets_.begin(), [](const auto& address, const Target& known) {
                      return known.address == address;
                    });
  if (same && patience == patience_) return;
  targets_.clear();
  for (const auto& address : targets) targets_.push_back({.address = address, .since = now});
  patience_ = patience;
  sent_.clear();
  due_ = now;
  missing_since_ = steady_since_ = kNever;
  target_answered_ = other_answered_ = Instant{};
}

std::optional<Ping> PingWatch::next(Instant now) {
  if (!in_use() || now < due_) return std::nullopt;
  if (missing_since_ == kNever) missing_since_ = now;
  // This server was held up: what it did not hear meanwhile says nothing about the targets.
  else if (now >= due_ + interval()) missing_since_ += now - due_;
  for (auto& target : targets_) {
    if (!target.answers || now < target.sent + kTooLate) continue;
    target.answers = false;
    target.since = now;
  }
  due_ = now + interval();
  last_sent_ = now;
  std::erase_if(sent_, [now](const auto& round) { return now >= round.second + kTooLate; });
  sent_[++number_] = now;
  Ping ping{number_, others_};
  for (const auto& target : targets_) ping.addresses.push_back(target.address);
  return ping;
}

void PingWatch::answered(Instant now, const PingAnswer& answer) {
  const auto round = sent_.find(answer.number);
  if (round == sent_.end() || now >= round->second + kTooLate) return;
  const auto target = std::find_if(targets_.begin(), targets_.end(), [&](const Target& each) { return each.address == answer.address; });
  if (target == targets_.end()) {
    if (answer.problem.empty()) other_answered_ = std::max(other_answered_, round->second);
    return;
  }
  target->problem = answer.problem;
  if (!answer.problem.empty()) return;
  target->sent = std::max(target->sent, round->second);
  if (!target->answers) target->since = now;
  target->answers = true;
  // SAFETY: T3. By the sending: slow answers of before a pause, and quick ones after it, come close to each other.
  if (target_answered_ == Instant{} || round->second > target_answered_ + patience_) steady_since_ = now;
  target_answered_ = std::max(target_answered_, round->second);
  missing_since_ = kNever;
}

Instant PingWatch::steady_since(Instant now) const { return target_answered_ != Instant{} && now <= target_answered_ + patience_ ? steady_since_ : kNever; }

std::string PingWatch::describe() const {
  std::string text;
  for (const auto& target : targets_) {
    if (target.answers) continue;
    text += fmt::format("{}{}{}", text.empty() ? "" : ", ", target.address, target.problem.empty() ? "" : " (" + target.problem + ")");
  }
  return text;
}

}  // namespace baton::arbiter
