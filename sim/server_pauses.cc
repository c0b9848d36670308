// What stands still on a server and goes on: its program, the whole machine with or without its clock, its engine.
// Deterministic, one thread.
#include <algorithm>

#include "sim/server.h"

namespace baton::sim {

void Server::pause_batond() {
  if (node_ == nullptr || batond_paused_) return;
  world_.mark('p', id_);
  world_.say(id_, "batond is stopped (SIGSTOP)");
  batond_paused_ = true;
}

void Server::resume_batond() {
  if (!batond_paused_) return;
  world_.mark('c', id_);
  world_.say(id_, "batond goes on");
  batond_paused_ = false;
  goes_on();
}

void Server::pause_machine(bool clock_stops) {
  if (!powered_ || machine_paused_) return;
  world_.mark('P', id_, clock_stops);
  world_.say(id_, "the machine is paused{}", clock_stops ? ", its clock stands" : "");
  machine_paused_ = true;
  if (clock_stops) clock_stands_since_ = world_.now();
  bus_.engine_paused(id_, true);
}

void Server::resume_machine() {
  if (!machine_paused_) return;
  world_.mark('C', id_);
  world_.say(id_, "the machine goes on");
  machine_paused_ = false;
  ownership_changed_ = true;
  clock_goes_on();
  bus_.engine_paused(id_, false);
  pump_guard();
  arm_guard_tick();
  if (node_ == nullptr) return start_batond();
  goes_on();
}

void Server::clock_goes_on() {
  if (clock_stands_since_ == kNever) return;
  clock_stood_ += world_.now() - clock_stands_since_;
  clock_stands_since_ = kNever;
}

/// The time that has passed is noticed before the messages, or after them.
void Server::goes_on() {
  if (node_ == nullptr || paused()) return;
  tick_at_ = kNever;
  if (random_.chance(0.5)) inbox_.push_front(node::Tick{});
  pump();
  watch_guard();
  arm_tick();
}

/// batond's handle is dead; its timers go on.
void Server::lose_engine() {
  if (!powered_ || engine_lost_) return;
  world_.mark('e', id_);
  world_.say(id_, "corosync ends");
  engine_lost_ = true;
  bus_.engine_down(id_);
  feed(node::ViewChanged{});
  feed_guard(guard::ViewChanged{});
}

void Server::regain_engine() {
  if (engine_lost_) load_ring_key();
  if (!powered_ || !engine_lost_) return;
  world_.mark('E', id_);
  world_.say(id_, "corosync is back");
  engine_lost_ = false;
  bus_.engine_up(id_);
  if (node_ != nullptr) bus_.process_started(id_);
  if (guard_ != nullptr) guard_bus_.process_started(id_);
}

}  // namespace baton::sim
