// What happens to the groups here when this server's lease has lapsed. Pure. docs/protocol.md, "Leases".
#include "src/core/node/node_state.h"

namespace baton::node {

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
