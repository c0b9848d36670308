// The guards of a scripted cluster: on the same rings as the batonds, there as long as the power unless killed by the
// script. Deterministic, one thread.
#include <algorithm>

#include "sim/scenario_server.h"

namespace baton::sim {

namespace {
constexpr Duration kSocketDelay = 20us;
}  // namespace

void Scenario::start_guard(Server& server) {
  guard::Settings settings;
  settings.self = server.id;
  settings.voters = configuration_.voters();
  settings.lease = configuration_.timing.lease;
  settings.beat = configuration_.timing.beat;
  const uint64_t start = ++server.guard_starts * 64 + server.id.value;
  const Instant now = local_now(server);
  server.guard = std::make_unique<guard::GuardCore>(settings, start, server.guard_knowledge, server.published, now);
  server.guard_tick_at = kNever;
  look_at_clocks(server);
}

/// Another one is there when the script says so.
void Scenario::kill_guard(Server& server) {
  if (server.guard == nullptr) return;
  server.guard.reset();
  feed(server, node::GuardGone{});
  for (auto& [id, other] : servers_)
    if (server.ring != 0 && other->ring == server.ring) give_guard_view(*other);
}

void Scenario::start_guard_again(Server& server) {
  if (server.guard != nullptr || !server.powered) return;
  start_guard(server);
  feed(server, node::GuardReported{server.guard->report(local_now(server))});
  for (auto& [id, other] : servers_)
    if (server.ring != 0 && other->ring == server.ring) give_guard_view(*other);
}

void Scenario::give_guard_view(Server& server) {
  if (server.guard == nullptr) return;
  std::set<ServerId> guards;
  for (const ServerId member : server.ring_members)
    if (servers_.at(member)->guard != nullptr || !engine_works(*servers_.at(member))) guards.insert(member);
  if (server.guard->members() != guards) feed_guard(server, guard::ViewChanged{guards});
}

void Scenario::feed_guard(Server& server, const guard::Event& event) {
  if (server.guard == nullptr) return;
  if (server.machine_paused) {
    server.missed.push_back([this, &server, event] { feed_guard(server, event); });
    return;
  }
  std::vector<guard::Action> actions;
  server.guard->step(local_now(server), event, actions);
  for (const auto& action : actions) carry_out_guard(server, action);
  arm_guard_tick(server);
}

void Scenario::arm_guard_tick(Server& server) {
  const Instant tick = server.guard->next_tick();
  if (tick == kNever || tick == server.guard_tick_at) return;
  server.guard_tick_at = tick;
  at(std::max(tick - server.clock_ahead, now_), [this, &server, tick, boots = server.boots] {
    if (server.boots != boots || server.guard == nullptr || server.guard_tick_at != tick) return;
    server.guard_tick_at = kNever;
    if (!server.machine_paused) feed_guard(server, guard::Tick{});
  });
}

void Scenario::carry_out_guard(Server& server, const guard::Action& action) {
  if (const auto* publish = std::get_if<guard::Publish>(&action)) {
    server.published = publish->until;
    if (publish->until == Instant{}) return drop_addresses(server);
    at(publish->until - server.clock_ahead, [this, &server] { drop_addresses(server); });
  } else if (const auto* keep = std::get_if<guard::Keep>(&action)) {
    server.guard_knowledge = keep->knowledge;
  } else if (const auto* beat = std::get_if<guard::SendBeat>(&action)) {
    send(server, beat->beat);
  } else if (const auto* report = std::get_if<guard::Report>(&action)) {
    at(now_ + kSocketDelay, [this, &server, boots = server.boots, event = node::GuardReported{*report}] {
      if (server.boots == boots) feed(server, event);
    });
  }
}

/// At the end of a lease. Where batond is awake it does the same in the same moment.
void Scenario::drop_addresses(Server& server) {
  const bool awake = server.node != nullptr && !server.frozen;
  if (!alive(server) || awake || server.published > local_now(server)) return;
  for (const auto& group : configuration_.groups)
    for (const auto& resource : group.resources) {
      const std::string key = mirror_key(group.name, resource.name);
      if (resource.kind != ResourceKind::kAddress || !server.resources[key]) continue;
      server.resources[key] = false;
      write(server.name, "the guard drops " + key);
    }
}

}  // namespace baton::sim
