// Fence agents of a scripted cluster: they work, fail, or say that a server is off that is on; and what people ask of them.
#include "sim/scenario_server.h"

namespace baton::sim {

namespace {
constexpr Duration kAgentDelay = 500ms;
}

/// What batond does with an agent's word (os/fence_agent.h): one that lies is found out by its own status.
void Scenario::fence(Server& by, const node::FenceServer& wanted) {
  Server& victim = *servers_.at(wanted.server);
  const auto fault = fence_faults_.find(wanted.server);
  const std::string kind = fault == fence_faults_.end() ? "" : fault->second;
  at(now_ + kAgentDelay, [this, &by, &victim, wanted, kind, starts = by.starts] {
    if (kind.empty()) {
      write(victim.name, "its power is cut by its fence agent");
      if (victim.powered) power_off(victim);
    }
    if (by.starts != starts || by.node == nullptr) return;
    feed(by, node::FenceDone{wanted.server, wanted.version, kind.empty(),
                             kind.empty()         ? "seen to be off"
                             : kind == "fence-lies" ? "the agent reported success, but its status still says on"
                                                  : "the agent cannot be reached"});
    if (kind.empty() && configuration_.server(wanted.server)->fence.restart) {
      at(now_ + kAgentDelay, [this, &victim] {
        if (victim.powered) return;
        write(victim.name, "powered on by its fence agent");
        boot(victim);
      });
    }
  });
}

/// fence SERVER [confirm]
Status Scenario::fence_command(const Words& words) {
  const Server* server = knowing();
  const Server* victim = find(words.at(1));
  if (server == nullptr || victim == nullptr) return fail("no such server, or nobody knows the present state");
  const auto& fences = server->node->state().fences;
  const auto found = fences.find(victim->id);
  const bool confirm = words.size() > 2 && words[2] == "confirm";
  request(RecordFence{victim->id, found == fences.end() ? 0 : found->second.version,
                      confirm ? FenceOutcome::kOff : FenceOutcome::kWanted, "asked by the operator", "operator"});
  return {};
}

}  // namespace baton::sim
