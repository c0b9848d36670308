// What the epoch's leader does for all: founds the configuration, asks the planner, proposes its steps. Pure.
// docs/protocol.md, "Promotion".
#include <algorithm>

#include "src/core/node/node_state.h"

namespace baton::node {

namespace {
/// What the commit of an assignment takes at least: for so long before the lease's end it may be proposed already.
/// SAFETY: L3 counts it as committed only when the lease has ended.
constexpr Duration kProposeAhead = 25ms;
constexpr Duration kCopyReportTime = 15s;  // a mirror daemon that was started has opened its copy
}  // namespace

void NodeCore::Implementation::lead() {
  if (database.state().configuration_version == 0) {
    propose("configuration", ApplyConfiguration{0, settings.founding_text, "baton cluster create", kFormatLevel});
    return;
  }
  change_voters();
  const auto plan = planner::make_plan(planner_input(now));
  // What is only to be recorded comes after what people wait for.
  for (const auto& step : plan.steps) propose("group " + step.group, step.command);
  for (const auto& step : plan.cluster_steps) propose(step.subject, step.command);
  lead_fencing();
  lead_keys();
}

/// The voters follow the configured servers, one by one: first who is configured no more leaves, then who is new
/// comes, once it has caught up (docs/protocol.md, "Voters").
void NodeCore::Implementation::change_voters() {
  voters_waiting.clear();
  const VoterSet& present = database.voters();
  std::set<ServerId> wanted;
  for (const auto& server : configuration.servers) wanted.insert(server.id);
  if (present.joint() || present.now == wanted || is_proposing("voters")) return;
  const auto leaving = std::find_if(present.now.begin(), present.now.end(), [&](ServerId voter) { return !wanted.contains(voter); });
  std::vector<VoterSet> changes;
  const auto change_to = [&](ServerId server, bool votes) {
    VoterSet change{present.now, present.now};
    votes ? change.now.insert(server), void() : void(change.now.erase(server));
    changes.push_back(std::move(change));
  };
  if (leaving != present.now.end()) {
    change_to(*leaving, false);
  } else {
    for (const ServerId server : wanted)
      if (!present.now.contains(server)) change_to(server, true);
  }
  // Of several that are new (after a recovery) one may be here and the others not.
  for (const auto& change : changes) {
    const std::string waiting = database.why_not_change(change);
    if (waiting.empty()) {
      voters_waiting.clear();
      return propose("voters", SetVoters{change});
    }
    if (voters_waiting.empty()) voters_waiting = waiting;
  }
}

planner::Input NodeCore::Implementation::planner_input(Instant when) const {
  planner::Input input{configuration, database.state(), {}, {}, cluster_time(when), starting(when), time_of_day};
  for (const auto& server : configuration.servers) input.servers[server.id] = view_of(server.id, when);
  for (const auto& [server, mirrors] : reports)
    for (const auto& [mirror, report] : mirrors) input.reports[mirror][server] = report;
  name_silent_copies(input, when);
  return input;
}

/// Since when a server that is heard has said nothing of its copy; kNever: it is not heard itself.
Instant NodeCore::Implementation::copy_silent_since(ServerId server, const std::string& mirror) const {
  const auto heard = heard_since.find(server);
  if (heard == heard_since.end()) return kNever;
  const auto copies = copies_heard.find(server);
  if (copies == copies_heard.end()) return heard->second;
  const auto copy = copies->second.find(mirror);
  return copy == copies->second.end() ? heard->second : copy->second;
}

/// A copy of which a server that is heard has said nothing for long is not waited for as one that comes within moments: a
/// last resort would never be chosen, nor where the group has failed before be tried again.
void NodeCore::Implementation::name_silent_copies(planner::Input& input, Instant when) const {
  for (const auto& group : configuration.groups) {
    for (const auto& resource : group.resources) {
      if (resource.kind != ResourceKind::kMirror) continue;
      const std::string key = mirror_key(group.name, resource.name);
      for (const ServerId server : group.servers) {
        const auto since = copy_silent_since(server, key);
        if (since == kNever || when - since < kCopyReportTime) continue;
        // SAFETY: S5. Without an incarnation: it says nothing of a restart.
        const auto [report, missing] = input.reports[key].try_emplace(server);
        if (missing) report->second.problem = fmt::format("its mirror daemon says nothing of it for {} s", kCopyReportTime / 1s);
      }
    }
  }
}

planner::ServerView NodeCore::Implementation::view_of(ServerId server, Instant when) const {
  planner::ServerView view;
  const auto found = peers.find(server);
  if (server == settings.self) {
    view.present = view.member = !members.empty();
    view.life = settings.start;
    view.format_level = kFormatLevel;
    return view;
  }
  if (found == peers.end()) {
    view.why_absent = "it has not been seen yet";
    return view;
  }
  const Peer& peer = found->second;
  view.member = peer.in_view;
  view.present = peer.in_view && !peer.silent;
  view.life = peer.life;
  view.format_level = peer.format_level;
  if (view.present) return view;
  const bool server_lost = server_gone(server);
  view.why_absent = server_lost    ? "it left the cluster's membership"
                    : peer.silent  ? "its batond does not answer"
                                   : "its batond ended";
  const Instant over = lease_over_at(server, when);
  const Duration ahead = server_lost ? kProposeAhead : Duration{0};
  view.lease_over = over != kNever && when + ahead >= over;
  // Only batond is away: its guard goes on. The commit ends the lease then (F3, L3).
  if (!server_lost && !view.lease_over)
    view.lease_over = when - peer.absent_since >= configuration.timing.restart_grace;
  return view;
}

/// The server itself, not its batond alone: by its guard, or (without one here) as the engine said of its batond. A batond's
/// departure is not known to a leader that was away itself just then.
bool NodeCore::Implementation::server_gone(ServerId server) const {
  const auto peer = peers.find(server);
  if (peer == peers.end() || peer->second.in_view) return false;
  return guard ? !guard->members.contains(server) : peer->second.departure == Departure::kServerDown;
}

/// When the lease of a server that is not here has surely ended, by all that is known here; kNever: not known.
Instant NodeCore::Implementation::lease_over_at(ServerId server, Instant when) const {
  // By the promises, and by the grants of this server's own guard since then. A hint: L3 holds.
  const auto left = lease_left(when, database::Database::Grants::kAll);
  const auto own = left.find(server);
  const auto& accounts = database.standing().lease_over;
  const auto account = accounts.find(server);
  if (own == left.end() || account == accounts.end()) return kNever;
  return std::max(when + own->second, account->second);
}

/// The next moment at which a plan may have more to do because a lost server's lease is (about to be) over.
Instant NodeCore::Implementation::next_plan() const {
  Instant next = kNever;
  if (!leads()) return next;
  for (const auto& [server, peer] : peers) {
    if (server == settings.self || !server_gone(server)) continue;
    const Instant over = lease_over_at(server, now);
    if (over != kNever && over - kProposeAhead > now) next = std::min(next, over - kProposeAhead);
  }
  return next;
}

}  // namespace baton::node
