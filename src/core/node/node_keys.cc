// The cluster's keys: staged everywhere, put in force, adopted, loaded by corosync at once; and what a server does that is
// alone with several. Pure. docs/protocol.md, "Keys".
#include <algorithm>

#include "src/base/planted.h"
#include "src/core/node/node_state.h"

namespace baton::node {

namespace {
constexpr Duration kAskAgain = 1s;      // for a key, or a step with the keys on disk
constexpr Duration kLoadAgain = 5s;     // of the ring's key
constexpr Duration kAloneFor = 6s;      // K6
constexpr Duration kShortestTry = 8s;
constexpr Duration kLeastSettle = 1s;
constexpr uint64_t kNotedTries = 3;
constexpr uint64_t kNotedEvery = 20;

/// Of different lengths at each server and each time: two that take turns meet.
Duration spread(ServerId server, uint64_t tries) {
  uint64_t mixed = (server.value + 1) * 0x9E3779B97F4A7C15U ^ (tries + 1) * 0xBF58476D1CE4E5B9U;
  mixed ^= mixed >> 29U;
  return milliseconds(mixed % 8000);
}

/// What the database says this cluster's key is; empty: it was never replaced, and the database knows none.
const std::string& key_in_force(const KeyRotation& rotation) {
  const bool newer = rotation.phase == KeyRotation::Phase::kInForce ||
                     (rotation.phase == KeyRotation::Phase::kNone && !rotation.called_off);
  return newer ? rotation.after : rotation.before;
}
}  // namespace

void NodeCore::Implementation::handle(const KeysReported& event) {
  if (keys && (keys->ring != event.ring || keys->current != event.current)) report_changed = true;
  keys = event;
  key_step_at = now;
}

void NodeCore::Implementation::handle(const RingLoaded& event) {
  if (!leads() || !keys || event.fingerprint != keys->current) return;
  if (!event.ok) return;  // said by batond; ring_again_at has it tried again
  ring_epoch = database.standing().epoch;
  ring_rotation = database.state().keys.number;
  ring_loaded_at = now;
  ring_mixed = false;
}

/// What is applied counts only while the database serves: before, it may be long past.
void NodeCore::Implementation::watch_keys() {
  if (!keys || gate.shut() || ending) return;
  if (!database.standing().serving) return try_keys();
  try_key_at = kNever;
  key_tries = 0;
  follow_rotation();
}

bool NodeCore::Implementation::ask_again(Duration pause) {
  if (now < key_step_at) return false;
  key_step_at = now + pause;
  return true;
}

void NodeCore::Implementation::follow_rotation() {
  const KeyRotation& rotation = database.state().keys;
  const std::string wanted = key_in_force(rotation).empty() ? keys->current : key_in_force(rotation);
  const bool staging = rotation.phase == KeyRotation::Phase::kStaging;
  if (keys->current != wanted) {
    // SAFETY: K4, K8. Committed; it is durable before anything here is told by it.
    if (keys->next == wanted) {
      if (ask_again(kAskAgain)) out().push_back(ChangeKeys{ChangeKeys::Step::kAdopt, wanted});
    } else if (const ServerId holder = holder_of_new_key(); rotation.phase == KeyRotation::Phase::kInForce && holder != ServerId{}) {
      if (ask_again(kAskAgain)) out().push_back(FetchKey{wanted, holder});  // what was staged here is lost
    }
    return;
  }
  if (!keys->next.empty() && !(staging && keys->next == rotation.after)) {
    if (ask_again(kAskAgain)) out().push_back(ChangeKeys{ChangeKeys::Step::kDropNext, keys->next});
    return;
  }
  if (!keys->old.empty() && rotation.phase != KeyRotation::Phase::kInForce) {
    if (ask_again(kAskAgain)) out().push_back(ChangeKeys{ChangeKeys::Step::kDropOld, keys->old});
    return;
  }
  keep_ring_on(wanted);
  if (staging) stage_key();
}

void NodeCore::Implementation::keep_ring_on(const std::string& fingerprint) {
  if (keys->ring != fingerprint && ask_again(kAskAgain)) out().push_back(SetRingKey{fingerprint, false});
}

void NodeCore::Implementation::stage_key() {
  const KeyRotation& rotation = database.state().keys;
  if (rotation.staged.contains(settings.self)) {
    if (keys->next != rotation.after && holder_of_new_key() != ServerId{} && ask_again(kAskAgain))
      out().push_back(FetchKey{rotation.after, holder_of_new_key()});
    return;
  }
  if (keys->next == rotation.after)
    return propose("staged key", RotateKeys{rotation.number, RotateKeys::Step::kStaged, settings.self, "", rotation.after, "", "",
                                            cluster_time(now), 0});
  const ServerId holder = holder_of_new_key();
  if (holder != ServerId{} && ask_again(kAskAgain)) out().push_back(FetchKey{rotation.after, holder});
}

/// Who made it, while it is here and may still have it; else any that has it on its disk.
ServerId NodeCore::Implementation::holder_of_new_key() const {
  const KeyRotation& rotation = database.state().keys;
  const bool origin_here = rotation.origin == settings.self || (members.contains(rotation.origin) && view_of(rotation.origin, now).present);
  if (origin_here && (rotation.staged.empty() || rotation.staged.contains(rotation.origin))) return rotation.origin;
  for (const ServerId server : rotation.staged)
    if (server != settings.self && members.contains(server) && view_of(server, now).present) return server;
  return ServerId{};
}

/// K6. By itself a server hears nobody who uses another key.
void NodeCore::Implementation::try_keys() {
  const bool lacks = std::any_of(configuration.servers.begin(), configuration.servers.end(),
                                 [&](const auto& server) { return !members.contains(server.id); });
  if ((keys->next.empty() && keys->old.empty()) || members.empty() || !lacks) {
    try_key_at = kNever;
    return;
  }
  if (try_key_at == kNever) try_key_at = now + kAloneFor + spread(settings.self, key_tries) / 4;
  if (now < try_key_at) return;
  // SAFETY: K4. Never the old one: who has adopted knows that all can come to the new one.
  const std::string candidate = !keys->next.empty() && keys->ring == keys->current ? keys->next : keys->current;
  out().push_back(SetRingKey{candidate, true});
  if (key_tries < kNotedTries || key_tries % kNotedEvery == 0) {
    const char* which = candidate == keys->next ? "the staged" : keys->next.empty() ? "its new" : "its present";
    note({.kind = "keys", .text = fmt::format("this server misses others while the cluster's keys are being replaced: it tries {} "
                                              "key ({})", which, candidate)});
  }
  try_key_at = now + kShortestTry + spread(settings.self, ++key_tries);
}

// ---- The leader ----

void NodeCore::Implementation::lead_keys() {
  if (!keys) return;
  if (database.state().keys.phase == KeyRotation::Phase::kStaging) lead_staging();
  lead_ring();
}

void NodeCore::Implementation::lead_staging() {
  const KeyRotation& rotation = database.state().keys;
  const auto staged = std::count_if(configuration.servers.begin(), configuration.servers.end(),
                                    [&](const auto& server) { return rotation.staged.contains(server.id); });
  const size_t needed = planted(Plant::kKeyInForceEarly) ? configuration.servers.size() / 2 + 1 : configuration.servers.size();
  const bool all = static_cast<size_t>(staged) >= needed;
  RotateKeys command{rotation.number, RotateKeys::Step::kInForce, {}, "", "", "", "", cluster_time(now), 0};
  if (!all) {
    if (cluster_time(now) < rotation.deadline_ms) return;
    command.step = RotateKeys::Step::kCancel;
    command.reason = "its time was over: " + keys_waiting(now);
  }
  propose("keys", command);
}

/// K5, K7. Once the file of each is by the key that counts, all load it.
void NodeCore::Implementation::lead_ring() {
  const KeyRotation& rotation = database.state().keys;
  const std::string& wanted = key_in_force(rotation);
  if (wanted.empty() || keys->current != wanted) return;
  const bool in_force = rotation.phase == KeyRotation::Phase::kInForce;
  bool all = true;
  for (const auto& server : configuration.servers) {
    // SAFETY: K5. A corosync whose batond is away would read the former key, and its server be cut off.
    if (server.id != settings.self && !members.contains(server.id)) {
      all = all && server_gone(server.id);
      continue;
    }
    const std::string& ring = server.id == settings.self ? keys->ring : ring_keys[server.id];
    if (ring != wanted) all = false;
    if (!ring.empty() && ring != wanted) ring_mixed = true;
  }
  // SAFETY: K5. Of this rotation: the same leader may have had the one before loaded.
  const bool loaded = ring_epoch == database.standing().epoch && ring_rotation == rotation.number;
  if (all && (ring_mixed || (in_force && !loaded)) && now >= ring_again_at) {
    ring_again_at = now + kLoadAgain;
    out().push_back(SetRingKey{wanted, true});
    return;
  }
  const Duration settle = std::max<Duration>(kLeastSettle, 2 * (configuration.timing.token + configuration.timing.consensus));
  if (in_force && all && loaded && !ring_mixed && now >= ring_loaded_at + settle)
    propose("keys", RotateKeys{rotation.number, RotateKeys::Step::kDone, {}, "", "", "", "", cluster_time(now), 0});
}

// ---- For people ----

std::string NodeCore::Implementation::keys_waiting(Instant when) const {
  const KeyRotation& rotation = database.state().keys;
  if (!rotation.under_way()) return {};
  const bool staging = rotation.phase == KeyRotation::Phase::kStaging;
  std::string text;
  for (const auto& server : configuration.servers) {
    const auto ring = ring_keys.find(server.id);
    const bool here = server.id == settings.self || (members.contains(server.id) && view_of(server.id, when).present);
    const bool through = staging ? rotation.staged.contains(server.id)
                                 : (server.id == settings.self ? keys && keys->ring == rotation.after
                                                               : ring != ring_keys.end() && ring->second == rotation.after);
    if (through || (!staging && !here && server_gone(server.id))) continue;
    const std::string why = here ? "" : " (" + view_of(server.id, when).why_absent + ")";
    text += fmt::format("{}{} {}{}", text.empty() ? "" : ", ", server.name, staging ? "has not got the new key" : "has not put it in place", why);
  }
  if (!text.empty()) return text;
  return staging ? "all have the new key; the entry that puts it in force is on its way" : "corosync loads the new key everywhere";
}

Instant NodeCore::Implementation::next_key_step() const {
  Instant next = kNever;
  for (const Instant at : {try_key_at, key_step_at, ring_again_at})
    if (at > now) next = std::min(next, at);
  return next;
}

}  // namespace baton::node
