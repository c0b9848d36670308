// Two servers without a third vote, when one of them is shut down in order: the one that stays decides alone from then on, and the
// one that ended knows by its own log that it was left out. Pure. docs/protocol.md, W7.
#include <algorithm>

#include "src/base/planted.h"
#include "src/core/node/node_state.h"
#include "src/model/known_configuration.h"

namespace baton::node {

/// Call before the view is taken over: the beats that came back belong to the view in which the server was still a member.
void NodeCore::Implementation::note_departure(ServerId server, uint64_t life) {
  const auto& record = database.state().server(server);
  const bool in_order = record.standing == ServerStanding::kStopped && record.life == life;
  if (server == settings.self || life == 0 || !(in_order || planted(Plant::kLossTakenForAnEnd))) return;
  left_in_order = server;
  // SAFETY: W7. In that life it was a member when this batond sent the beat; so no later one of it can have begun long ago,
  // however long this one stood still. And its guard granted the lease.
  go_on_by = std::min(published_until, silence.returned_sent() + configuration.timing.lease);
}

/// SAFETY: W7. Within that time no operator can have let the other one go on.
void NodeCore::Implementation::go_on_after_an_end() {
  if (left_in_order == ServerId{}) return;
  if (now >= go_on_by || lease_lapsed() || database.standing().serving || alone_by_log()) {
    left_in_order = ServerId{};
    return;
  }
  // SAFETY: W7. A guard of an earlier version takes a right whenever it comes.
  if (!guard || guard->knowledge.right_by == Instant{}) return;
  if (sees_other() || members.empty() || ending || left_in_order != other_server() || database.state().shut_down) return;
  const ClusterState state = database.state_on_disk();
  const auto parsed = known_configuration(state.configuration_text);
  if (!parsed || state.server(settings.self).standing == ServerStanding::kStopped || !may_decide_alone(*parsed)) return;
  const std::string reason = fmt::format("{} was shut down in order", configuration.server_name(left_in_order));
  propose("takeover", TakeOver{settings.self, reason, ""});
  if (!alone_by_log()) return;
  right = guard->knowledge.gaps;
  right_by = go_on_by;
  left_in_order = ServerId{};
}

/// The guard took the right too late, or not at all: an operator decides.
void NodeCore::Implementation::heed_refused_right() {
  const bool answered = guard->teller == settings.start && guard->number == tell_number;
  if (!answered || !told || told->right == 0 || guard->knowledge.right == told->right) return;
  right = right_on_disk = 0;
  note({.kind = "problem", .text = fmt::format("this server was to go on by itself, and was held up for too long: it goes on with "
                                               "{}, or by an operator's word (baton cluster takeover)",
                                               configuration.server_name(other_server()))});
  tell_database_right();
}

/// What this server's own log says when it is started without the other one.
void NodeCore::Implementation::describe_own_end() {
  if (!may_call_operator(configuration.np) || database.standing().serving || sees_other()) return;
  if (own_end_at == database.standing().last_index) return;
  own_end_at = database.standing().last_index;
  own_end.clear();
  const ClusterState state = database.state_on_disk();
  if (!left_out_by_own_end(state)) return;
  const std::string other = configuration.server_name(other_server());
  own_end = fmt::format("this server was shut down in order while {} went on", other);
  std::string copies;
  for (const auto& [key, mirror] : state.mirrors)
    if (mirror.in_sync.contains(other_server())) copies += (copies.empty() ? "" : ", ") + key;
  if (!copies.empty()) own_end += fmt::format(": its copies lack what {} has answered since ({})", other, copies);
}

bool NodeCore::Implementation::left_out_by_own_end(const ClusterState& state) const {
  return state.server(settings.self).standing == ServerStanding::kStopped && !state.shut_down && state.taken_over != settings.self;
}

}  // namespace baton::node
