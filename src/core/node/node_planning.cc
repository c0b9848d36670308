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
  lead_fencing();
  const auto plan = planner::make_plan(planner_input(now));
  for (const auto& step : plan.steps) propose("group " + step.group, step.command);
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
  // What its lease may last: by the promises and by the grants of this server's own guard since then. A hint: L3 holds.
  const auto left = lease_left(when, database::Database::Grants::kAll);
  const auto own_account = left.find(server);
  const bool granted = own_account == left.end() || own_account->second > Duration{0};
  const auto& accounts = database.standing().lease_over;
  const auto account = accounts.find(server);
  view.lease_over = !granted && account != accounts.end() && when >= account->second;
  // Only batond is away: its guard goes on. The commit ends the lease then.
  if (!server_lost && granted) view.lease_over = when - peer.absent_since >= configuration.timing.restart_grace;
  return view;
}

}  // namespace baton::node
