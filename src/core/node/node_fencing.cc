// What the epoch's leader does about the power of lost servers. Pure. docs/protocol.md, "Fencing".
#include <algorithm>
#include <limits>

#include "src/core/node/node_state.h"

namespace baton::node {

namespace {
constexpr uint32_t kAttempts = 3;  // where nothing waits for it
constexpr Duration kPause = 30s;   // after the first failure, growing
constexpr uint32_t kLongestPause = 10;  // times that

FenceState record_of(const ClusterState& state, ServerId server) {
  const auto found = state.fences.find(server);
  return found == state.fences.end() ? FenceState{} : found->second;
}
}  // namespace

void NodeCore::Implementation::lead_fencing() {
  for (const auto& server : configuration.servers) {
    const FenceState record = record_of(database.state(), server.id);
    const bool here = server.id == settings.self || view_of(server.id, now).present;
    if (here && back_from_fencing(server.id, record)) {
      record_fence(server.id, record, FenceOutcome::kNone, "it is a member again");
      continue;
    }
    if (record.outcome == FenceOutcome::kWanted) continue;
    const std::string reason = here ? "" : reason_to_fence(server, record);
    if (!reason.empty()) record_fence(server.id, record, FenceOutcome::kWanted, reason);
  }
}

void NodeCore::Implementation::carry_out_fences() {
  if (!database.standing().serving) return;
  record_results();
  for (const auto& [server, record] : database.state().fences) {
    if (record.outcome != FenceOutcome::kWanted || cutter_of(server) != settings.self) continue;
    // SAFETY: N3. The record may be an old leader's, of a server that is back by now; a person's word stands.
    const bool in_order = database.state().server(server).standing == ServerStanding::kStopped;
    if (record.author.empty() && (in_order || !server_gone(server))) continue;
    // Begun once per record; who is asked next begins it again: cutting a power twice does no harm.
    uint64_t& begun = fencing[server];
    const auto* configured = configuration.server(server);
    if (begun == record.version || configured == nullptr) continue;
    begun = record.version;
    note({.kind = "fencing", .text = fmt::format("fencing {} by {}, attempt {}: {}", configured->name,
                                                 configured->fence.agent, record.attempts, record.text)});
    out().push_back(FenceServer{server, record.version});
  }
}

/// The leader, or the first other member where a person wants the leader's own power off.
ServerId NodeCore::Implementation::cutter_of(ServerId server) const {
  const ServerId leader = database.standing().leader;
  if (leader != server) return leader;
  const auto other = std::find_if(members.begin(), members.end(), [&](ServerId member) { return member != server; });
  return other == members.end() ? ServerId{} : *other;
}

/// A member whose power was cut just now is one until that is noticed.
bool NodeCore::Implementation::back_from_fencing(ServerId server, const FenceState& record) {
  if (record.outcome == FenceOutcome::kNone || (record.outcome == FenceOutcome::kWanted && !record.author.empty()))
    return false;
  auto& [version, since] = fence_known[server];
  if (version != record.version) since = now;
  version = record.version;
  const Duration noticed = 2 * (configuration.timing.token + configuration.timing.consensus);
  return record.outcome != FenceOutcome::kOff || now - since >= noticed;
}

/// Empty: it is not to be fenced now.
std::string NodeCore::Implementation::reason_to_fence(const ServerConfiguration& server, const FenceState& record) {
  if (server.fence.agent.empty() || record.outcome == FenceOutcome::kOff) return "";
  // SAFETY: N3. Somebody whose batond or guard is there is not fenced, nor who was shut down in order.
  if (!server_gone(server.id) || database.state().server(server.id).standing == ServerStanding::kStopped) return "";
  if (!view_of(server.id, now).lease_over) return "";
  const auto& groups = database.state().groups;
  const bool holds = std::any_of(groups.begin(), groups.end(), [&](const auto& group) {
    return group.second.owner == server.id && group.second.wanted;
  });
  if (record.outcome == FenceOutcome::kNone) {
    if (!holds || too_many_fenced()) return "";
    return fmt::format("{} lost (it left the cluster's membership) with groups of its own", server.name);
  }
  if (!holds && record.attempts >= kAttempts) return "";
  Instant& again = fence_again_at[server.id];
  if (again == Instant{}) again = now + kPause * std::min(record.attempts, kLongestPause);
  if (now < again) return "";
  again = Instant{};
  return "tried again: " + record.text;
}

/// SAFETY: N4. A cause that looks like the loss of most servers is more likely a fault of ours.
bool NodeCore::Implementation::too_many_fenced() const {
  const auto& records = database.state().fences;
  const auto fenced = std::count_if(records.begin(), records.end(), [](const auto& record) {
    return record.second.outcome != FenceOutcome::kNone;
  });
  size_t voters = std::numeric_limits<size_t>::max();  // of the smaller set, while they change
  for (const auto* set : database.voters().deciding()) voters = std::min(voters, set->size());
  return static_cast<size_t>(fenced) >= std::max<size_t>(1, (voters - 1) / 2);
}

void NodeCore::Implementation::record_fence(ServerId server, const FenceState& record, FenceOutcome outcome,
                                            const std::string& text) {
  propose("fencing " + configuration.server_name(server), RecordFence{server, record.version, outcome, text, ""});
}

void NodeCore::Implementation::handle(const FenceDone& event) {
  const auto begun = fencing.find(event.server);
  if (begun == fencing.end() || begun->second != event.version) return;
  fence_again_at.erase(event.server);
  note({.kind = event.off ? "fencing" : "problem",
        .text = fmt::format("{}: {}", configuration.server_name(event.server), event.detail)});
  fence_results[event.server] = event;
}

/// Proposed until it is in the log, or the record says something else by now (a member again, a person's word).
void NodeCore::Implementation::record_results() {
  for (auto result = fence_results.begin(); result != fence_results.end();) {
    const FenceDone& done = result->second;
    const FenceState record = record_of(database.state(), done.server);
    if (record.version != done.version) {
      result = fence_results.erase(result);
      continue;
    }
    record_fence(done.server, record, done.off ? FenceOutcome::kOff : FenceOutcome::kFailed, done.detail);
    ++result;
  }
}

}  // namespace baton::node
