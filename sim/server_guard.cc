// A simulated server's guard: the real GuardCore with its two pages, killed, paused and started apart from batond.
// Deterministic, one thread. docs/protocol.md, "Leases".
#include "sim/server.h"

namespace baton::sim {

/// batond starts a guard when there is none, and one that hangs is ended.
void Server::watch_guard() {
  if (node_ == nullptr || paused()) return;
  const Duration lease = settings_.configuration.timing.lease;
  const bool hangs = guard_ != nullptr && guard_paused_;
  world_.after(hangs ? lease / 2 : random_.between(2ms, 30ms), while_batond([this, hangs, start = guard_start_] {
                 if (paused()) return;
                 if (hangs && guard_start_ == start && guard_paused_) return kill_guard();
                 if (guard_ == nullptr) start_guard();
               }));
}

void Server::start_guard() {
  if (!powered_ || guard_ != nullptr || machine_paused_) return;
  ++guard_start_;
  world_.mark('g', id_, guard_start_);
  world_.say(id_, "the guard starts");
  guard::Settings settings;
  settings.self = id_;
  settings.voters = settings_.configuration.voters();
  settings.lease = settings_.configuration.timing.lease;
  settings.beat = settings_.configuration.timing.beat;
  const uint64_t start = random_.below(uint64_t{1} << 38) + 1;
  guard_ = std::make_unique<guard::GuardCore>(settings, start, guard_page_, page_, local_now());
  guard_paused_ = false;
  guard_inbox_.clear();
  guard_pumping_ = false;
  guard_tick_at_ = kNever;
  if (!engine_lost_) guard_bus_.process_started(id_);
  feed(node::GuardReported{guard_->report(local_now())});
}

void Server::kill_guard() {
  if (guard_ == nullptr || (guard_spared_ && powered_)) return;
  world_.mark('K', id_, guard_start_);
  world_.say(id_, "the guard ends");
  guard_.reset();
  ++guard_start_;
  guard_inbox_.clear();
  guard_paused_ = false;
  if (!engine_lost_) guard_bus_.process_ended(id_, powered_);
  feed(node::GuardGone{});
  watch_guard();
}

void Server::pause_guard() {
  if (guard_ == nullptr || guard_paused_ || guard_spared_) return;
  world_.mark('h', id_);
  world_.say(id_, "the guard is stopped (SIGSTOP)");
  guard_paused_ = true;
  watch_guard();
}

void Server::resume_guard() {
  if (!guard_paused_) return;
  world_.mark('H', id_);
  world_.say(id_, "the guard goes on");
  guard_paused_ = false;
  guard_tick_at_ = kNever;
  if (random_.chance(0.5)) guard_inbox_.emplace_front(guard::Tick{});  // time is noticed before the messages
  pump_guard();
  arm_guard_tick();
}

void Server::delivered_to_guard(const BusEvent& event) {
  if (event.view) return feed_guard(guard::ViewChanged{event.view->members});
  feed_guard(guard::BeatReceived{event.from, *std::static_pointer_cast<const guard::Beat>(event.message)});
}

void Server::feed_guard(guard::Event event) {
  if (guard_ == nullptr) return;
  guard_inbox_.push_back(std::move(event));
  pump_guard();
}

/// By a socket of its own: in order, but beats may overtake.
void Server::tell_guard(const guard::Tell& tell) {
  Duration takes = random_.between(5us, 60us);
  if (random_.chance(0.1)) takes = random_.between(1ms, 150ms);
  guard_told_at_ = std::max(guard_told_at_ + 1us, world_.now() + takes);
  world_.at(guard_told_at_, [this, tell, start = guard_start_] {
    if (guard_start_ == start) feed_guard(tell);
  });
}

void Server::pump_guard() {
  if (guard_pumping_ || guard_inbox_.empty() || !guard_runs()) return;
  guard_pumping_ = true;
  world_.after(random_.between(5us, 60us), [this, start = guard_start_] {
    if (guard_ == nullptr || guard_start_ != start) return;
    guard_pumping_ = false;
    if (guard_inbox_.empty() || !guard_runs()) return;
    const guard::Event event = std::move(guard_inbox_.front());
    guard_inbox_.pop_front();
    handle_guard(event);
    pump_guard();
  });
}

void Server::handle_guard(const guard::Event& event) {
  std::vector<guard::Action> actions;
  guard_->step(local_now(), event, actions);
  world_.mark('G', id_, event.index(), actions.size());
  const uint64_t start = guard_start_;
  for (auto& action : actions) {
    carry_out(std::move(action));
    if (crashing_ && random_.chance(settings_.crash_chance / 4)) kill_guard();
    if (guard_start_ != start) break;  // ended in the middle
  }
  observer_.stepped(*this);
  if (guard_start_ == start) arm_guard_tick();
}

void Server::carry_out(guard::Action action) {
  if (const auto* publish = std::get_if<guard::Publish>(&action)) {
    page_ = publish->until;
    ownership_changed_ = true;
  } else if (auto* keep = std::get_if<guard::Keep>(&action)) {
    guard_page_ = std::move(keep->knowledge);
  } else if (auto* send = std::get_if<guard::SendBeat>(&action)) {
    guard_bus_.send(id_, std::make_shared<const guard::Beat>(std::move(send->beat)));
  } else if (auto* report = std::get_if<guard::Report>(&action)) {
    feed(node::GuardReported{std::move(*report)});
  }
}

void Server::arm_guard_tick() {
  if (!guard_runs()) return;
  const Instant next = guard_->next_tick();
  if (next == kNever || next == guard_tick_at_) return;
  guard_tick_at_ = next;
  const Duration wait = std::max(Duration{0}, next - local_now());
  world_.after(wait + wait / 100 + random_.between(1us, 50us), [this, next, start = guard_start_] {
    if (guard_ == nullptr || guard_start_ != start || guard_tick_at_ != next || !guard_runs()) return;
    guard_tick_at_ = kNever;
    feed_guard(guard::Tick{});
  });
}

}  // namespace baton::sim
