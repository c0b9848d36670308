// When this server publishes its lease, and what happens here when it has lapsed. Pure. docs/protocol.md, "Leases" and
// "Taking a group from an owner that has not released it".
#include "src/core/node/node_state.h"

namespace baton::node {

bool NodeCore::Implementation::runs_what_it_does_not_own() const {
  for (const auto& [name, run] : runs) {
    const auto group = database.state().groups.find(name);
    const bool owned = group != database.state().groups.end() && group->second.owner == settings.self;
    if (owned) continue;
    // Mirrors and addresses are what a lease brings to life; processes and mounts are dead without them.
    for (const auto& resource : run->configuration().resources) {
      const bool lives_by_lease = resource.kind == ResourceKind::kMirror || resource.kind == ResourceKind::kAddress;
      if (lives_by_lease && run->resources().at(resource.name).state != group::ResourceState::kDown) return true;
    }
  }
  return false;
}

void NodeCore::Implementation::publish_lease() {
  // SAFETY: L1. Only a server that knows the present epoch's committed state uses its lease.
  has_served = has_served || database.standing().serving;
  // What an earlier life had on its disk withdrew that life's lease; what comes before this one serves cannot be met
  // by a new lease, and L3 waits for the old one's end.
  if (has_served && database.losing().contains(settings.self)) {
    if (!withdrawn) {
      withdrawn = true;
      published_until = Instant{};
      out().insert(out().begin(), PublishLease{Instant{}});
      note({.kind = "database", .text = "lease withdrawn: a group of this server is being given to another one"});
    }
    return;
  }
  // SAFETY: L1. Nor before what belongs to another server by now is down here: it would come to life again with it.
  if (!database.standing().serving || runs_what_it_does_not_own()) return;
  withdrawn = false;
  const Instant until = lease.lease_until();
  if (until <= published_until || until <= now) return;
  published_until = until;
  out().push_back(PublishLease{until});
}

void NodeCore::Implementation::suspend_or_kill() {
  bool holds_any = false;
  for (const auto& [name, run] : runs) {
    const bool going = run->adopting() || run->goal() == group::Goal::kKill;
    holds_any = holds_any || !(run->nothing_up() || going);
  }
  if (!lease_lapsed()) {
    lapsed_since = kNever;
    if (lapse_noted) note({.kind = "database", .text = "the lease is back: what was frozen goes on"});
    lapse_noted = false;
    for (auto& [name, run] : runs) run->set_suspended(now, false);
    return;
  }
  if (lapsed_since == kNever) lapsed_since = now;
  if (!holds_any) return;
  if (!lapse_noted) {
    lapse_noted = true;
    note({.kind = "problem", .text = "the lease has lapsed (no majority of servers and witness within reach): addresses "
                                     "are dropped and storage is frozen until it is back"});
  }
  for (auto& [name, run] : runs) run->set_suspended(now, true);
  if (now < lapsed_since + settings.freeze_limit) return;
  for (auto& [name, run] : runs) {
    if (run->nothing_up() || run->goal() == group::Goal::kKill || run->adopting()) continue;
    run->kill(now, fmt::format("the lease has been lost for {} s", to_ms(settings.freeze_limit) / 1000));
  }
}

}  // namespace baton::node
