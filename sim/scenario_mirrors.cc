// Mirrors of a scripted cluster, as far as the cluster sees them: who is primary, which copies are in sync, a copy that
// takes half a second. docs/protocol.md, "In-sync set".
#include <algorithm>

#include "sim/scenario_server.h"
#include "src/model/mirror_place.h"

namespace baton::sim {

namespace {
constexpr Duration kCopyTime = 500ms;
constexpr Duration kMirrorTick = 100ms;
}  // namespace

void Scenario::report_mirrors(Server& server) {
  if (server.witness || server.node == nullptr) return;
  for (const auto& [key, incarnation] : server.incarnations) {
    MirrorReport report;
    report.incarnation = incarnation;
    report.role = server.resources[key] ? MirrorRole::kPrimary : MirrorRole::kSecondary;
    report.exported = server.resources[key];
    feed(server, node::MirrorReported{key, report});
  }
}

void Scenario::mirror_tick(Server& server) {
  at(now_ + kMirrorTick, [this, &server, boots = server.boots] {
    if (server.boots != boots || !server.powered) return;
    mirror_tick(server);
    if (server.node == nullptr || server.machine_paused) return;
    for (const auto& [key, incarnation] : std::map(server.incarnations)) {
      write_mirror(server, key);
      watch_mirror(server, key);
    }
  });
}

/// Its clients write: answered when all copies of the set have it (S1). What a power loss takes of unflushed writes is not
/// played here.
void Scenario::write_mirror(Server& server, const std::string& key) {
  const auto found = server.node->state().mirrors.find(key);
  if (!server.resources[key] || server.published <= local_now(server) || found == server.node->state().mirrors.end()) return;
  if (found->second.holder != server.id) return;
  std::vector<Server*> copies;
  for (const auto& [id, incarnation] : found->second.in_sync) {
    Server& each = *servers_.at(id);
    const bool reached = id == server.id || (each.powered && !each.machine_paused && network_.mirror_reach(server.id, id));
    if (!reached || each.incarnations[key] != incarnation) return;
    copies.push_back(&each);
  }
  const uint64_t write = ++answered_[key];
  for (Server* copy : copies) copy->written[key] = write;
}

/// I3. An operator may want it; nothing else may. (With two owners each has what the other one lacks.)
void Scenario::look_for_stale_start(Server& server, const std::string& key) {
  if (two_owners_) return;
  const MirrorPlace place = find_mirror(configuration_, key);
  if (!place || place.resource->mirror.protocol == MirrorProtocol::kA || server.written[key] >= answered_[key]) return;
  const auto& state = server.node->state().mirrors;
  const bool forced = state.contains(key) && state.at(key).forced == server.id;
  write(server.name, fmt::format("{} starts STALE: {} answered writes are not there{}", key,
                                 answered_[key] - server.written[key], forced ? ", by an operator's word" : ""));
  if (!forced && violation_.empty())
    violation_ = fmt::format("mirror {} starts on {} without answered writes at {} ms", key, server.name, to_ms(now_.time_since_epoch()));
  answered_[key] = server.written[key];
}

/// A primary's view of its peer: out of the set when it is not reached, in again when it holds everything.
void Scenario::watch_mirror(Server& server, const std::string& key) {
  const auto& mirrors = server.node->state().mirrors;
  const auto found = mirrors.find(key);
  const MirrorPlace place = find_mirror(configuration_, key);
  const bool behind = trailing_may_take_over(configuration_, key);  // A5: named beside the set, not in it
  if (place && place.resource->mirror.protocol == MirrorProtocol::kA && !behind) return;
  if (!server.resources[key] || found == mirrors.end() || found->second.holder != server.id) return;
  const MirrorState state = found->second;
  for (auto& [id, other] : servers_) {
    if (id == server.id || !other->incarnations.contains(key)) continue;
    const bool reachable = other->powered && !other->machine_paused && !state.broken &&
                           network_.mirror_reach(server.id, id);
    const auto& named = behind ? state.trailing : state.in_sync;
    const auto member = named.find(id);
    const bool in_set = member != named.end();
    const bool valid = in_set && member->second == other->incarnations[key];
    SetInSync change{key, state.version, state.permit, {{server.id, server.incarnations.at(key)}}, "", {}};
    auto& since = server.copying_since[key];
    if (!reachable) since = Instant{};
    if (in_set && (!reachable || !valid)) {
      change.reason = fmt::format("{} is not reached", other->name);
      feed(server, node::MirrorProposed{change});
    } else if (!in_set && reachable) {
      if (since == Instant{}) since = now_;
      if (now_ - since < kCopyTime) continue;
      since = Instant{};
      (behind ? change.trailing : change.in_sync)[id] = other->incarnations[key];
      other->written[key] = server.written[key];
      change.reason = other->name + (behind ? " trails behind" : " holds everything again");
      feed(server, node::MirrorProposed{change});
    }
  }
}

}  // namespace baton::sim
