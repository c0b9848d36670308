// The scripted cluster's guards: on the same ideal network as the batonds. Deterministic, one thread.
#include <algorithm>

#include "sim/scenario_server.h"

namespace baton::sim {

namespace {
constexpr Duration kMessageDelay = 200us;
constexpr Duration kSocketDelay = 20us;
}  // namespace

void Scenario::start_guard(Server& server) {
  guard::Settings settings;
  settings.self = server.id;
  settings.voters = configuration_.voters();
  settings.lease = configuration_.timing.lease;
  settings.beat = configuration_.timing.beat;
  const uint64_t start = server.boots * 64 + server.id.value;
  server.guard = std::make_unique<guard::GuardCore>(settings, start, guard::Knowledge{}, Instant{}, now_);
  server.guard_tick_at = kNever;
  feed(server, node::GuardReported{server.guard->report(now_)});
}

void Scenario::feed_guard(Server& server, const guard::Event& event) {
  std::vector<guard::Action> actions;
  server.guard->step(now_, event, actions);
  for (const auto& action : actions) carry_out_guard(server, action);
  const Instant tick = server.guard->next_tick();
  if (tick == kNever || tick == server.guard_tick_at) return;
  server.guard_tick_at = tick;
  at(std::max(tick, now_), [this, &server, tick, boots = server.boots] {
    if (server.boots != boots || server.guard == nullptr || server.guard_tick_at != tick) return;
    server.guard_tick_at = kNever;
    feed_guard(server, guard::Tick{});
  });
}

void Scenario::carry_out_guard(Server& server, const guard::Action& action) {
  if (const auto* publish = std::get_if<guard::Publish>(&action)) {
    server.published = publish->until;
  } else if (const auto* report = std::get_if<guard::Report>(&action)) {
    at(now_ + kSocketDelay, [this, &server, boots = server.boots, event = node::GuardReported{*report}] {
      if (server.boots == boots && server.node != nullptr) feed(server, event);
    });
  } else if (const auto* send = std::get_if<guard::SendBeat>(&action)) {
    auto view = server.guard->members();
    const auto reach = component(server.id);
    std::erase_if(view, [&](ServerId id) { return !reach.contains(id); });
    at(now_ + kMessageDelay, [this, view, event = guard::BeatReceived{server.id, send->beat}] {
      for (auto& [id, other] : servers_)
        if (other->guard != nullptr && view.contains(id) && other->guard->members().contains(event.from))
          feed_guard(*other, event);
    });
  }
}

}  // namespace baton::sim
