// See alert_core.h. Each receiver has two queues, of this server's own events and of those that all servers have; what stands first in
// either and is older goes next, one at a time, so that progress is one number for each.
#include "src/core/alert/alert_core.h"

#include <fmt/format.h>

#include <algorithm>

namespace baton::alert {

namespace {

constexpr uint64_t kKeepAgain = 500;  // events that nobody wants, until it is kept that they are done with

}  // namespace

AlertCore::AlertCore(ServerId self, Backlog backlog, Instant now, int64_t wall_ms)
    : self_(self), backlog_(std::move(backlog)), began_(now), began_wall_ms_(wall_ms), now_(now), members_{self}, members_since_(now) {}

void AlertCore::step(Instant now, const Input& input, std::vector<Action>& actions) {
  now_ = now;
  out_ = &actions;
  std::visit([this](const auto& one) { take(one); }, input);
  for (auto& [name, receiver] : receivers_) pump(receiver);
}

// ---- What it is told ----

void AlertCore::take(const Configured& input) {
  std::set<std::string> wanted;
  for (const AlertConfiguration& alert : input.alerts) {
    wanted.insert(alert.name);
    const auto [found, fresh] = receivers_.try_emplace(alert.name);
    Receiver& receiver = found->second;
    const bool same = receiver.alert == alert;
    receiver.alert = alert;
    if (!fresh) {
      if (!same) receiver.retry_at = receiver.aside_until = Instant{};  // perhaps what was wrong is mended
      continue;
    }
    const auto known = backlog_.progress.extract(alert.name);
    if (known.empty()) {  // a new one hears of what comes
      receiver.progress = receiver.kept = {backlog_.newest_event, backlog_.newest_place, 0};
      out_->push_back(Keep{alert.name, receiver.progress});
      continue;
    }
    receiver.progress = receiver.kept = known.mapped();
    for (const Event& event : backlog_.events) {
      const Duration age = milliseconds(std::max<int64_t>(0, began_wall_ms_ - event.time_ms));
      line_up(receiver, event, began_ - age);
    }
  }
  for (auto it = receivers_.begin(); it != receivers_.end();) {
    if (wanted.contains(it->first)) {
      ++it;
      continue;
    }
    out_->push_back(Forget{it->first});
    it = receivers_.erase(it);
  }
}

void AlertCore::take(const Recorded& input) {
  const Event& event = input.event;
  for (auto& [name, receiver] : receivers_) line_up(receiver, event, now_);
  backlog_.newest_event = std::max(backlog_.newest_event, event.id);
  backlog_.newest_place = std::max(backlog_.newest_place, event.note.place);
}

void AlertCore::line_up(Receiver& receiver, const Event& event, Instant born) {
  const uint64_t place = event.note.place;
  if (place != 0 ? place <= receiver.progress.place : event.id <= receiver.progress.event) return;
  auto& queue = place != 0 ? receiver.cluster : receiver.own;
  if (!receiver.alert.wants(event.note)) {
    const bool idle = receiver.own.empty() && (receiver.token == 0 || receiver.sent.note.place != 0);
    if (place == 0 && idle) receiver.progress.event = event.id;
    if (receiver.progress.event >= receiver.kept.event + kKeepAgain) keep(receiver);
    return;
  }
  queue.push_back({event, born});
  if (queue.size() > kMostWaiting) give_up(receiver, queue);
}

void AlertCore::take(const Delivered& input) {
  for (auto& [name, receiver] : receivers_) {
    if (receiver.token != input.token) continue;
    receiver.token = 0;
    if (input.ok) succeeded(receiver);
    else failed(receiver, input.problem);
    return;
  }
}

void AlertCore::take(const Members& input) {
  if (members_ == input.answering) return;
  members_ = input.answering;
  members_since_ = now_;
  std::erase_if(heard_, [this](const auto& one) { return !members_.contains(one.first); });
}

void AlertCore::take(const Heard& input) {
  if (input.from == self_ || !members_.contains(input.from)) return;
  auto& reports = heard_[input.from];
  reports.clear();
  for (const AlertReport& report : input.reports) {
    reports[report.name] = report;
    const auto found = receivers_.find(report.name);
    if (found != receivers_.end()) settle_cluster(found->second, report.told);
  }
}

// ---- Which server, and when ----

/// A server that has come may have told what nobody else knows of. With a limit: it may be of a version that says nothing.
bool AlertCore::all_heard() const {
  if (now_ >= members_since_ + kHearLimit) return true;
  return std::all_of(members_.begin(), members_.end(), [this](ServerId member) { return member == self_ || heard_.contains(member); });
}

/// The lowest of those that have the receiver and reach it, as far as they say; if none does, the lowest that has it.
ServerId AlertCore::sender_of(const Receiver& receiver) const {
  ServerId lowest;
  for (const ServerId member : members_) {
    bool failing = receiver.aside_until > now_;
    if (member != self_) {
      const auto heard = heard_.find(member);
      if (heard == heard_.end()) continue;
      const auto report = heard->second.find(receiver.alert.name);
      if (report == heard->second.end()) continue;
      failing = report->second.failing;
    }
    if (!failing) return member;
    if (lowest == ServerId{}) lowest = member;
  }
  return lowest;
}

bool AlertCore::window_open(const Receiver& receiver) const { return receiver.window_ends > now_; }

/// The older one of the two that stand first; nullptr: none, or it is not this server's to tell.
const AlertCore::Item* AlertCore::next_of(const Receiver& receiver) const {
  const Item* own = receiver.own.empty() ? nullptr : &receiver.own.front();
  if (own != nullptr && own->event.note.everywhere && !all_heard()) own = nullptr;
  const bool may = all_heard() && sends(receiver);
  const Item* cluster = receiver.cluster.empty() || !may ? nullptr : &receiver.cluster.front();
  if (own == nullptr || cluster == nullptr) return own == nullptr ? cluster : own;
  return own->event.id < cluster->event.id ? own : cluster;
}

/// True: what stands first was not for this server to tell, or is too much.
bool AlertCore::skip(Receiver& receiver) {
  const Item* next = next_of(receiver);
  if (next == nullptr) return false;
  const bool others = next->event.note.everywhere && !sends(receiver);
  const bool beyond = window_open(receiver) && receiver.sent_in_window >= receiver.alert.limit_events;
  if (!others && !beyond) return false;
  if (!others) ++receiver.progress.untold;
  settle(receiver, Event(next->event));
  return true;
}

void AlertCore::pump(Receiver& receiver) {
  if (receiver.token != 0) return;
  drop_old(receiver);
  while (skip(receiver)) {}
  if (now_ < receiver.retry_at) return;
  if (receiver.progress.untold > 0 && !window_open(receiver)) return deliver(receiver, closing_line(receiver), receiver.progress.untold);
  if (const Item* next = next_of(receiver)) deliver(receiver, next->event, 0);
}

void AlertCore::deliver(Receiver& receiver, Event event, uint64_t counted) {
  receiver.token = ++next_token_;
  receiver.sent = std::move(event);
  receiver.counted = counted;
  out_->push_back(Deliver{receiver.token, receiver.alert, receiver.sent});
}

Event AlertCore::closing_line(const Receiver& receiver) const {
  Event event;
  event.note.kind = "problem";
  event.note.text = fmt::format(
      "{} further events were not sent: more than {} in {} ms, or not delivered within {} s; `baton events` has them",
      receiver.progress.untold, receiver.alert.limit_events, receiver.alert.limit_window.count(), receiver.alert.retry_age / 1s);
  return event;
}

// ---- What came of it ----

void AlertCore::succeeded(Receiver& receiver) {
  if (receiver.failures >= kFailuresUntilTold)
    out_->push_back(Note{.kind = "problem", .text = fmt::format("alert {}: {} takes events again, after {} s", receiver.alert.name,
                                                                receiver.alert.target(), (now_ - receiver.failing_since) / 1s)});
  receiver.failures = 0;
  receiver.retry_at = receiver.aside_until = receiver.failing_since = Instant{};
  receiver.problem.clear();
  receiver.last_told = now_;
  if (!window_open(receiver)) {
    receiver.window_ends = now_ + receiver.alert.limit_window;
    receiver.sent_in_window = 0;
  }
  ++receiver.sent_in_window;
  if (receiver.sent.id != 0) return settle(receiver, receiver.sent);
  receiver.progress.untold -= std::min(receiver.counted, receiver.progress.untold);
  keep(receiver);
}

void AlertCore::failed(Receiver& receiver, const std::string& problem) {
  if (receiver.failures++ == 0) receiver.failing_since = now_;
  Duration pause = receiver.alert.retry_first;
  for (uint32_t i = 1; i < receiver.failures && pause < receiver.alert.retry_longest; ++i) pause *= 2;
  receiver.retry_at = now_ + std::min<Duration>(pause, receiver.alert.retry_longest);
  receiver.aside_until = now_ + kStepAside;
  receiver.problem = problem;
  if (receiver.failures == kFailuresUntilTold)
    out_->push_back(Note{.kind = "problem", .text = fmt::format("alert {}: {} does not take events: {}; they wait, and it is tried again",
                                                                receiver.alert.name, receiver.alert.target(), problem)});
}

// ---- Progress ----

void AlertCore::settle(Receiver& receiver, const Event& event) {
  if (event.note.place != 0) return settle_cluster(receiver, event.note.place);
  receiver.progress.event = std::max(receiver.progress.event, event.id);
  while (!receiver.own.empty() && receiver.own.front().event.id <= event.id) receiver.own.pop_front();
  keep(receiver);
}

void AlertCore::settle_cluster(Receiver& receiver, uint64_t place) {
  if (place <= receiver.progress.place) return;
  receiver.progress.place = place;
  while (!receiver.cluster.empty() && receiver.cluster.front().event.note.place <= place) receiver.cluster.pop_front();
  keep(receiver);
}

/// The first of a queue is not told any more. What another server was to tell is for that one to count, and to settle.
void AlertCore::give_up(Receiver& receiver, std::deque<Item>& queue) {
  const Event event = queue.front().event;
  if (event.note.place != 0 && !sends(receiver)) return queue.pop_front();
  if (!event.note.everywhere || sends(receiver)) ++receiver.progress.untold;
  settle(receiver, event);
}

void AlertCore::drop_old(Receiver& receiver) {
  for (auto* queue : {&receiver.own, &receiver.cluster})
    while (!queue->empty() && queue->front().born + receiver.alert.retry_age <= now_) give_up(receiver, *queue);
}

void AlertCore::keep(Receiver& receiver) {
  if (receiver.kept == receiver.progress) return;
  receiver.kept = receiver.progress;
  out_->push_back(Keep{receiver.alert.name, receiver.progress});
}

// ---- For others ----

Instant AlertCore::next_tick() const {
  Instant next = kNever;
  const auto at = [&](Instant when) { next = std::min(next, std::max(when, now_)); };
  for (const auto& [name, receiver] : receivers_) {
    if (receiver.token != 0) continue;
    if (receiver.aside_until > now_) at(receiver.aside_until);
    for (const auto* queue : {&receiver.own, &receiver.cluster})
      if (!queue->empty()) at(queue->front().born + receiver.alert.retry_age);
    if (receiver.progress.untold > 0) at(std::max(receiver.window_ends, receiver.retry_at));
    if (receiver.own.empty() && receiver.cluster.empty()) continue;
    if (!all_heard()) at(members_since_ + kHearLimit);
    if (next_of(receiver) != nullptr) at(receiver.retry_at);
  }
  return next;
}

std::vector<AlertReport> AlertCore::reports() const {
  std::vector<AlertReport> list;
  for (const auto& [name, receiver] : receivers_) list.push_back({name, receiver.progress.place, receiver.aside_until > now_});
  return list;
}

std::vector<View> AlertCore::views() const {
  std::vector<View> list;
  for (const auto& [name, receiver] : receivers_) {
    View view;
    view.name = name;
    view.kind = receiver.alert.kind;
    view.target = receiver.alert.target();
    view.sender = sender_of(receiver);
    view.waiting = receiver.own.size() + (view.sender == self_ ? receiver.cluster.size() : 0);
    view.untold = receiver.progress.untold;
    view.last_told = receiver.last_told;
    view.failing_since = receiver.failing_since;
    view.problem = receiver.problem;
    list.push_back(std::move(view));
  }
  return list;
}

}  // namespace baton::alert
