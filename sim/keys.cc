// Keys across a simulated cluster: operators replace them, servers hand them on, corosync loads them. Deterministic, one thread.
#include "sim/cluster.h"

namespace baton::sim {

void Cluster::load_ring_keys(Server& by) {
  // Each member reads its own file.
  for (const ServerId member : bus_->ring_of(by.id())) servers_.at(member)->load_ring_key();
  world_.count("key loads");
}

bool Cluster::gives_key(ServerId from, const Server& to, const std::string& key) {
  const Server& holder = *servers_.at(from);
  return holder.running() && !holder.paused() && holder.has_key(key) && bus_->reach(from, to.id());
}

void Cluster::rotate_keys() {
  Server& server = some_server();
  if (!server.running() || !server.node().standing().serving) return;
  const auto& keys = server.node().state().keys;
  if (keys.under_way() && random_.chance(0.15)) {
    world_.count("rotations called off by hand");
    server.request(RotateKeys{keys.number, RotateKeys::Step::kCancel, {}, "", "", "operator", "", 0, 0});
  } else if (!keys.under_way()) {
    world_.count("rotations asked for");
    server.rotate_keys(random_.between(500ms, 12s));
  }
}

/// What the next server that joins is given.
std::string Cluster::present_key() const {
  const auto& keys = checkers_->state().keys;
  if (keys.number == 0) return keys.after.empty() ? kFirstKey : keys.after;
  return keys.called_off || keys.phase == KeyRotation::Phase::kStaging ? keys.before : keys.after;
}

}  // namespace baton::sim
