// Two servers without a third vote, one of which may go on by nobody's word: what the ways to that (a disk in common, ping targets)
// share. Pure. docs/protocol.md, "The arbiter on a disk" and "The arbiter by ping targets".
#include "src/core/node/node_state.h"
#include "src/model/known_configuration.h"

namespace baton::node {

namespace {
constexpr const char* kNotNow = "not now";
}  // namespace

/// What goes by the log on this server's disk, committed or not, while nothing is decided; kept for as long as that does not change.
const NodeCore::Implementation::ArbiterView& NodeCore::Implementation::arbiter_view() {
  const auto& standing = database.standing();
  const bool same = known_view && known_view->serving == standing.serving && known_view->version == configuration_version;
  if (same && (standing.serving || (known_view->at == database.last() && known_view->on_disk == database.last_on_disk()))) return *known_view;
  ArbiterView view;
  view.at = database.last();
  view.on_disk = database.last_on_disk();
  view.serving = standing.serving;
  view.version = configuration_version;
  view.configuration = standing.serving ? configuration : configuration_on_disk();
  if (!standing.serving) {
    const ClusterState state = database.state_on_disk();
    // SAFETY: Q5, T3, W7. Also while the change by which the other one votes again was not settled.
    const bool stopped = state.server(settings.self).standing == ServerStanding::kStopped && !state.shut_down;
    view.left_out = stopped || state.taken_over == other_server();
    view.understood = required_level(TakeOver{}) <= state.format_level;
  }
  known_view = std::move(view);
  return *known_view;
}

/// Why this server may not decide alone by itself now, for people; empty: what is left is for the disk or the targets to say.
std::string NodeCore::Implementation::why_not_by_itself(const ArbiterView& view) const {
  if (ending || members.empty() || sees_other()) return kNotNow;
  if (const auto possible = may_decide_alone(view.configuration); !possible) return possible.error().message;
  if (!view.understood) return "not both servers are known to understand a takeover";
  // SAFETY: Q5, T3, W3. By this server's own log others have decided without it.
  if (view.left_out) return fmt::format("by its own log {} went on without this server, which waits for it", configuration.server_name(other_server()));
  return {};
}

/// Q8, T5. For convenience only: who runs the groups goes on, if it can.
bool NodeCore::Implementation::other_is_preferred() const {
  size_t own = 0, others = 0;
  for (const auto& [name, group] : database.state().groups) {
    if (group.phase == GroupPhase::kStopped || group.phase == GroupPhase::kFailed) continue;
    own += group.owner == settings.self ? 1 : 0;
    others += group.owner == other_server() ? 1 : 0;
  }
  return own != others ? own < others : other_server() < settings.self;
}

/// After a start nothing is applied yet: that both understand it was judged by the log. True: it is in the log, and there is a right.
bool NodeCore::Implementation::take_over_by_itself(const std::string& reason, const std::string& alert) {
  const uint64_t request = ++next_request;
  proposals[request] = Proposal{"takeover", false, 0};
  propose_again_at.erase("takeover");
  feed_database(database::ProposeCommand{request, TakeOver{settings.self, reason, ""}, 0});
  if (!alone_by_log()) return false;
  // SAFETY: W4. By the guard as it runs now; for the disk it was looked at that this is the one of its round.
  right = guard->knowledge.gaps;
  right_by = kNever;
  note({.kind = "alert", .text = alert});
  return true;
}

std::string NodeCore::Implementation::arbiter_waiting() const {
  if (!known_view || !(disk_lock.in_use() || ping.in_use())) return {};
  const std::string why = disk_lock.in_use() ? disk_waiting() : ping_waiting();
  return why.empty() || why == kNotNow ? "" : "; " + why;
}

}  // namespace baton::node
