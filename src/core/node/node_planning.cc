// What the epoch's leader does for all: founds the configuration, asks the planner, proposes its steps. Pure.
// docs/protocol.md, "Promotion".
#include <algorithm>

#include "src/core/node/node_state.h"

namespace baton::node {

void NodeCore::Implementation::lead() {
  if (database.state().configuration_version == 0) {
    propose("configuration", ApplyConfiguration{0, settings.founding_text, "baton cluster create"});
    return;
  }
  change_voters();
  lead_fencing();
  const auto plan = planner::make_plan(planner_input(now));
  for (const auto& step : plan.steps) propose("group " + step.group, step.command);
}

/// The voters follow the configured servers, one by one: first who is configured no more leaves, then who is new
/// comes, once it has caught up (docs/protocol.md, "Voters").
void NodeCore::Implementation::change_voters() {
  voters_waiting.clear();
  const VoterSet& present = database.voters();
  std::set<ServerId> wanted;
  for (const auto& server : configuration.servers) wanted.insert(server.id);
  if (present.joint() || present.now == wanted || is_proposing("voters")) return;
  std::set<ServerId> next = present.now;
  const auto leaving = std::find_if(next.begin(), next.end(), [&](ServerId voter) { return !wanted.contains(voter); });
  if (leaving != next.end()) {
    next.erase(leaving);
  } else {
    next.insert(*std::find_if(wanted.begin(), wanted.end(), [&](ServerId server) { return !next.contains(server); }));
  }
  const VoterSet change{next, present.now};
  voters_waiting = database.why_not_change(change);
  if (voters_waiting.empty()) propose("voters", SetVoters{change});
}

planner::Input NodeCore::Implementation::planner_input(Instant when) const {
  planner::Input input{configuration, database.state(), {}, {}};
  for (const auto& server : configuration.servers) input.servers[server.id] = view_of(server.id, when);
  for (const auto& [server, mirrors] : reports)
    for (const auto& [mirror, report] : mirrors) input.reports[mirror][server] = report;
  return input;
}

planner::ServerView NodeCore::Implementation::view_of(ServerId server, Instant when) const {
  planner::ServerView view;
  const auto found = peers.find(server);
  if (server == settings.self) {
    view.present = !members.empty();
    return view;
  }
  if (found == peers.end()) {
    view.why_absent = "it has not been seen yet";
    return view;
  }
  const Peer& peer = found->second;
  view.present = peer.in_view && !peer.silent;
  if (view.present) return view;
  const bool server_lost = !peer.in_view && peer.departure == Departure::kServerDown;
  view.why_absent = server_lost    ? "it left the cluster's membership"
                    : peer.silent  ? "its batond does not answer"
                                   : "its batond ended";
  // A server that was never a member since this one started may still hold what it was granted before.
  const auto left = lease.left(when);
  const auto own_account = left.find(server);
  const auto& accounts = database.standing().lease_over;
  const auto account = accounts.find(server);
  const bool lease_over = own_account != left.end() && own_account->second <= Duration{0} &&
                          account != accounts.end() && when >= account->second;
  const bool grace_over = server_lost || when - peer.absent_since >= configuration.timing.restart_grace;
  view.lease_over = lease_over && grace_over;
  return view;
}

}  // namespace baton::node
