// Cluster time, what a starting cluster waits for, and the orderly end of this server. Pure. docs/protocol.md, "Cluster
// time"; docs/operations.md, "Server states".
#include <fmt/ranges.h>

#include <algorithm>

#include "src/core/node/node_state.h"
#include "src/model/configuration_toml.h"

namespace baton::node {

namespace {
constexpr Duration kOthersEndFirst = 5s;   // the leader of a cluster that is shut down ends last
constexpr Duration kEndAlone = 10s;        // without a majority, the others being gone
constexpr Duration kLeftoversLimit = 30s;  // for what is being killed when this server is to end
}  // namespace

uint64_t NodeCore::Implementation::cluster_time(Instant when) const {
  return clock_ms + static_cast<uint64_t>(to_ms(when - clock_at));
}

/// Never back: the greatest that anybody knows counts.
void NodeCore::Implementation::advance_cluster_time(uint64_t heard_ms) {
  if (heard_ms <= cluster_time(now)) return;
  clock_ms = heard_ms;
  clock_at = now;
}

/// What another node's beat says of the cluster as a whole.
void NodeCore::Implementation::take_account(const BeatMessage& beat) {
  advance_cluster_time(beat.clock_ms);
  heard_waited_ms = std::max(heard_waited_ms, beat.waited_ms);
  settled = settled || (beat.settled && !database.state().shut_down);
}

bool NodeCore::Implementation::a_server_is_there() const {
  return std::any_of(configuration.servers.begin(), configuration.servers.end(), [&](const auto& server) {
    return server.role == ServerRole::kServer && members.contains(server.id);
  });
}

/// Every copy that is configured there has been heard of: before that a start would go by what the others have.
bool NodeCore::Implementation::has_reported(ServerId server) const {
  const auto known = reports.find(server);
  for (const auto& group : configuration.groups) {
    if (std::find(group.servers.begin(), group.servers.end(), server) == group.servers.end()) continue;
    for (const auto& resource : group.resources)
      if (resource.kind == ResourceKind::kMirror &&
          (known == reports.end() || !known->second.contains(mirror_key(group.name, resource.name))))
        return false;
  }
  return true;
}

/// Servers that were up when the cluster was last seen working, and have not come yet.
std::vector<std::string> NodeCore::Implementation::missing_servers() const {
  std::vector<std::string> names;
  for (const auto& server : configuration.servers) {
    const bool was_up = database.state().server(server.id).standing == ServerStanding::kNormal;
    const bool stopped_with_all = database.state().shut_down || database.state().shutdown;
    const auto peer = peers.find(server.id);
    const bool there = server.id == settings.self || (peer != peers.end() && peer->second.in_view && !peer->second.silent);
    if (server.role != ServerRole::kServer || !(was_up || stopped_with_all)) continue;
    if (!there) names.push_back(server.name);
    else if (!has_reported(server.id)) names.push_back(server.name + " (its mirrors' copies)");
  }
  return names;
}

void NodeCore::Implementation::watch_start() {
  // A witness that alone was up all the time does not know a running cluster; what starts then is a start.
  if (!a_server_is_there() || database.state().shut_down) {
    settled = false;
    waiting_since = kNever;
    heard_waited_ms = 0;
  }
  if (settled || !database.standing().serving || configuration_version == 0 || !a_server_is_there()) return;
  const Duration waited = milliseconds(std::min<uint64_t>(heard_waited_ms, 3600'000));
  if (waiting_since == kNever || waiting_since > now - waited) waiting_since = now - waited;
  settled = missing_servers().empty() || alone_by_log() || now - waiting_since >= configuration.startup_wait;
}

std::string NodeCore::Implementation::starting(Instant when) const {
  if (settled || configuration.startup_wait <= Duration{0} || !database.standing().serving) return "";
  const auto names = missing_servers();
  if (names.empty() || waiting_since == kNever) return "";
  const Duration left = std::max<Duration>(configuration.startup_wait - (when - waiting_since), Duration{0});
  return fmt::format("the cluster is starting and waits for {}, {} more (startup_wait). What helps: start {}; or: baton group start",
                     fmt::join(names, " and "), format_duration(milliseconds((to_ms(left) + 999) / 1000 * 1000)),
                     fmt::join(names, " and "));
}

/// A group whose owner is gone does not run, though its phase may say so until somebody takes it over: a wish to start it is
/// one all the same, and need not wait for the servers that a starting cluster waits for.
void NodeCore::Implementation::name_lost_owner(WishGroup& wish) const {
  const auto group = database.state().groups.find(wish.group);
  const bool bare = wish.wanted && wish.park == ServerId{} && database.state().format_level >= 2;
  if (!bare || group == database.state().groups.end() || group->second.owner == ServerId{}) return;
  if (!view_of(group->second.owner, now).present) wish.lost = group->second.owner;
}

/// The present starts of the servers that are there.
std::map<ServerId, uint64_t> NodeCore::Implementation::lives() const {
  std::map<ServerId, uint64_t> found{{settings.self, settings.start}};
  for (const auto& [server, peer] : peers)
    if (peer.in_view && peer.life != 0) found[server] = peer.life;
  return found;
}

/// The entry that says that this server, in its present life, has ended.
void NodeCore::Implementation::look_for_end(const Command& command) {
  const auto& state = database.state();
  if (const auto* standing = std::get_if<SetStanding>(&command)) {
    if (standing->server != settings.self || standing->standing != ServerStanding::kStopped) return;
    if (standing->life != settings.start || !state.server(settings.self).shutdown) return;
    ending = EndServer{state.server(settings.self).shutdown->afterwards, standing->reason, ""};
    end_at = now;
  } else if (const auto* shutdown = std::get_if<SetShutdown>(&command)) {
    const auto life = shutdown->lives.find(settings.self);
    if (shutdown->step != SetShutdown::Step::kEnd || life == shutdown->lives.end() || life->second != settings.start) return;
    ending = EndServer{state.shutdown->afterwards, state.server(settings.self).reason, ""};
    end_at = leads() ? now + kOthersEndFirst : now;
  }
}

/// Groups of which something may be up here still: what a lost lease or another owner left to be ended.
std::string NodeCore::Implementation::leftovers() const {
  std::string names;
  for (const auto& [name, run] : runs)
    if (!run->all_down()) names += (names.empty() ? "" : ", ") + name;
  return names;
}

void NodeCore::Implementation::watch_end() {
  if (database.standing().serving || served_at == Instant{}) served_at = now;
  const bool alone = std::none_of(configuration.servers.begin(), configuration.servers.end(), [&](const auto& server) {
    return server.role == ServerRole::kServer && server.id != settings.self && members.contains(server.id);
  });
  const auto& shutdown = database.state().shutdown;
  const std::string left = leftovers();
  if (!ending && shutdown && !database.state().shut_down && now - served_at >= kEndAlone && left.empty()) {
    ending = EndServer{shutdown->afterwards, "the cluster is being shut down, and no majority is left", ""};
    end_at = now;
  }
  const auto* self = configuration.server(settings.self);
  if (!ending && shutdown && database.state().shut_down && self != nullptr && self->role == ServerRole::kServer) {
    // It was asked when this server ran, which was away when the others ended. (The witness goes on.)
    const auto asked = shutdown->lives.find(settings.self);
    if (asked != shutdown->lives.end() && asked->second == settings.start) {
      ending = EndServer{shutdown->afterwards, "the cluster was shut down while this server was away", ""};
      end_at = now;
    }
  }
  if (!ending || ended || (now < end_at && !alone)) return;
  if (!left.empty() && now < end_at + kLeftoversLimit) return;
  ended = true;
  ending->leftovers = left;
  note({.kind = "membership", .text = fmt::format("Baton ends on this server: {}", ending->reason)});
  if (!left.empty())
    note({.kind = "problem", .text = fmt::format("something of {} could not be ended within {} s", left, kLeftoversLimit / 1s)});
  out().push_back(*ending);
}

}  // namespace baton::node
