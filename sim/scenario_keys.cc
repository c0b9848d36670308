// The cluster's keys in a scripted cluster: what servers have, hand on and load. Nobody is told of any before the first
// rotation. Deterministic, one thread.
#include "sim/scenario_server.h"

namespace baton::sim {

namespace {
constexpr Duration kKeyDelay = 20ms;  // a file, a message
}  // namespace

void Scenario::report_keys(Server& server) {
  if (keys_made_ == 0) return;
  feed(server, node::KeysReported{server.key, server.next_key, server.old_key, server.ring_file});
}

/// Corosync starts with it, or reads it again: it hears only those who use the same.
void Scenario::load_ring_key(Server& server) {
  if (server.ring_key == server.ring_file) return;
  server.ring_key = server.ring_file;
  network_changed(false);
  change_rings(kKeyDelay);
}

Status Scenario::rotate_keys(Server& server, milliseconds limit) {
  if (server.node == nullptr) return fail("batond does not run on {}", server.name);
  if (keys_made_++ == 0)
    for (auto& [id, other] : servers_) report_keys(*other);
  server.made_key = fmt::format("key-{}", keys_made_);
  const auto& rotation = server.node->state().keys;
  const uint64_t now_ms = server.node->cluster_time(local_now(server));
  feed(server, node::Requested{keys_made_, RotateKeys{rotation.number, RotateKeys::Step::kBegin, server.id, server.key, server.made_key,
                                                      "operator", "", now_ms, now_ms + static_cast<uint64_t>(limit.count())}, wall_ms()});
  return {};
}

void Scenario::fetch_key(Server& server, const node::FetchKey& wanted) {
  const Server& from = *servers_.at(wanted.from);
  if (from.node == nullptr || from.frozen || from.ring != server.ring) return;
  for (const auto& key : {from.made_key, from.next_key, from.key})
    if (key == wanted.fingerprint) server.next_key = key;
  report_keys(server);
}

void Scenario::change_keys(Server& server, const node::ChangeKeys& wanted) {
  switch (wanted.step) {
    case node::ChangeKeys::Step::kAdopt:
      if (server.next_key != wanted.fingerprint) return;
      server.old_key = server.key;
      server.key = server.ring_file = server.next_key;
      server.next_key.clear();
      write(server.name, "uses " + server.key);
      break;
    case node::ChangeKeys::Step::kDropOld: server.old_key.clear(); break;
    case node::ChangeKeys::Step::kDropNext:
      server.next_key.clear();
      write(server.name, "stays with " + server.key);
      break;
  }
  report_keys(server);
}

void Scenario::set_ring_key(Server& server, const node::SetRingKey& wanted) {
  server.ring_file = wanted.fingerprint;
  report_keys(server);
  if (!wanted.load) return;
  const bool runs = ring_runs(server);
  std::vector<Server*> members;
  for (auto& [id, other] : servers_)
    if (other.get() == &server || (runs && other->ring == server.ring)) members.push_back(other.get());
  for (Server* member : members) member->ring_key = member->ring_file;
  write("corosync", fmt::format("{} loads {}, with {} members", server.name, wanted.fingerprint, members.size()));
  network_changed(false);
  change_rings(kKeyDelay);
  feed(server, node::RingLoaded{wanted.fingerprint, true});
}

/// Each a moment later, if that batond is still there.
bool Scenario::carry_out_keys(Server& server, const node::Action& action) {
  const auto later = [&](auto what) {
    at(now_ + kKeyDelay, [this, &server, starts = server.starts, what] {
      if (server.starts == starts && server.node != nullptr) what();
    });
    return true;
  };
  if (const auto* fetch = std::get_if<node::FetchKey>(&action)) return later([this, &server, one = *fetch] { fetch_key(server, one); });
  if (const auto* change = std::get_if<node::ChangeKeys>(&action)) return later([this, &server, one = *change] { change_keys(server, one); });
  if (const auto* ring = std::get_if<node::SetRingKey>(&action)) return later([this, &server, one = *ring] { set_ring_key(server, one); });
  return false;
}

}  // namespace baton::sim
