// The cluster's state as JSON. docs/api.md.
#include "src/daemon/status_json.h"

#include "src/format/mirror_report_json.h"

namespace baton {

using nlohmann::json;

namespace {

json fence_json(const StatusSources& sources, const ServerConfiguration& server) {
  const auto found = sources.node.state().fences.find(server.id);
  const FenceState record = found == sources.node.state().fences.end() ? FenceState{} : found->second;
  return {{"agent", server.fence.agent}, {"state", to_string(record.outcome)}, {"attempts", record.attempts},
          {"text", record.text}, {"version", record.version}};
}

json link_json(const Configuration& configuration, const LinkReport& link) {
  json made{{"peer", configuration.server_name(link.peer)},
            {"link", link.link},
            {"connected", link.connected},
            {"loss_percent", nullptr},
            {"round_trip_us", link.round_trip_us},
            {"round_trip_worst_us", link.round_trip_worst_us},
            {"downs", link.downs},
            {"downs_recent", link.downs_recent},
            {"flapping", link.flapping()},
            {"send_errors", link.send_errors}};
  if (link.loss_per_mille) made["loss_percent"] = *link.loss_per_mille / 10.0;
  return made;
}

json interconnects_json(const Configuration& configuration) {
  json list = json::array();
  for (size_t link = 0; link < configuration.link_priorities.size(); ++link)
    list.push_back({{"link", link}, {"priority", configuration.link_priorities[link]}});
  return {{"mode", to_string(configuration.link_mode)}, {"links", list}};
}

/// What is left until a moment of cluster time; 0: it has no end.
uint64_t left_ms(const StatusSources& sources, uint64_t until_ms) {
  const uint64_t now = sources.node.cluster_time(sources.now);
  return until_ms > now ? until_ms - now : 0;
}

json suspension_json(const StatusSources& sources, const Suspension* suspension) {
  if (suspension == nullptr) return nullptr;
  return {{"author", suspension->author}, {"reason", suspension->reason}, {"limited", suspension->until_ms != 0},
          {"left_ms", left_ms(sources, suspension->until_ms)}};
}

json shutdown_json(const StatusSources& sources, const std::optional<Shutdown>& shutdown) {
  if (!shutdown) return nullptr;
  return {{"author", shutdown->author}, {"reason", shutdown->reason}, {"move", shutdown->move},
          {"afterwards", to_string(shutdown->afterwards)}, {"left_ms", left_ms(sources, shutdown->deadline_ms)}};
}

/// Where a server stands: as recorded, but one that is away is not normal even before that is on record.
void add_standing(json& server, const StatusSources& sources, ServerId id, bool in_view, const planner::Plan& plan) {
  const ServerState& record = sources.node.state().server(id);
  const bool gone = !in_view && record.standing != ServerStanding::kStopped;
  const ServerStanding standing = gone ? ServerStanding::kDown : record.standing;
  server["standing"] = to_string(standing);
  server["standing_short"] = short_name(standing);
  server["standing_reason"] = record.standing == standing ? record.reason : "";
  server["hold_left_ms"] = standing == ServerStanding::kIsolated ? left_ms(sources, record.hold_until_ms) : 0;
  server["suspended"] = suspension_json(sources, record.suspension ? &*record.suspension : nullptr);
  server["shutdown"] = shutdown_json(sources, record.shutdown);
  server["given_up"] = record.given_up;
  server["drain"] = nullptr;
  if (record.drain) server["drain"] = {{"author", record.drain->author}, {"reason", record.drain->reason}};
  json staying = json::array();
  if (const auto found = plan.staying.find(id); found != plan.staying.end())
    for (const auto& [group, why] : found->second) staying.push_back({{"group", group}, {"why", why}});
  server["staying"] = staying;
}

json servers_json(const StatusSources& sources, const planner::Plan& plan) {
  json list = json::array();
  const auto& configuration = sources.node.configuration();
  for (const auto& server : configuration.servers) {
    const auto peer = sources.node.peers().find(server.id);
    const bool in_view = peer != sources.node.peers().end() && peer->second.in_view;
    const bool silent = in_view && peer->second.silent;
    json links = json::array();
    if (const auto said = sources.links.find(server.id); said != sources.links.end())
      for (const auto& link : said->second) links.push_back(link_json(configuration, link));
    list.push_back({{"name", server.name}, {"id", server.id.value},
                    {"role", server.role == ServerRole::kWitness ? "witness" : "server"},
                    {"state", silent ? "silent" : in_view ? "up" : "down"}, {"self", server.id == sources.self},
                    {"links", links}, {"fence", fence_json(sources, server)}});
    add_standing(list.back(), sources, server.id, in_view, plan);
  }
  return list;
}

json resources_json(const StatusSources& sources, const GroupConfiguration& group, const GroupState& state) {
  json list = json::array();
  const auto* run = sources.node.run(group.name);
  for (const auto& resource : group.resources) {
    std::string shown = "unknown";
    std::string detail;
    if (state.owner == ServerId{}) shown = "down";
    if (run != nullptr && (state.owner == sources.self || !run->all_down())) {
      const auto view = run->resources().find(resource.name);
      if (view != run->resources().end()) {
        shown = group::to_string(view->second.state);
        detail = view->second.detail;
      }
    } else if (state.owner != ServerId{} && state.phase == GroupPhase::kStarted) {
      shown = "up";  // the owner said so
    }
    list.push_back({{"name", resource.name}, {"kind", to_string(resource.kind)}, {"state", shown}, {"detail", detail}});
  }
  return list;
}

/// The programs that scripts of a group have had supervised here.
json programs_json(const StatusSources& sources, const GroupConfiguration& group, const GroupState& state) {
  json list = json::array();
  const auto* run = sources.node.run(group.name);
  if (run == nullptr || state.owner != sources.self) return list;
  for (const auto& [script, programs] : run->programs())
    for (const auto& program : programs)
      list.push_back({{"name", program.policy().id}, {"script", script}, {"state", group::to_string(program.state())},
                      {"detail", program.how()}, {"restarts", program.restarts(sources.now)}});
  return list;
}

/// Those of a group that runs here; what they find is known to no other server.
json monitors_json(const StatusSources& sources, const GroupConfiguration& group, const GroupState& state) {
  json list = json::array();
  const auto* run = sources.node.run(group.name);
  if (run == nullptr || state.owner != sources.self) return list;
  for (const auto& monitor : run->monitors()) {
    const auto& view = monitor.view();
    list.push_back({{"name", monitor.configuration().name}, {"kind", to_string(monitor.configuration().kind)},
                    {"of", monitor.configuration().of}, {"state", group::to_string(view.state)}, {"detail", view.detail},
                    {"bad", view.bad}, {"unknown", view.unknown}});
  }
  return list;
}

/// An epoch is opened at once by the first candidate when it answers; else the second one tries after a step's time-out, and waits
/// as long again for voters that say nothing. Two commits follow, each sent again once if a message is lost.
FailoverAssumptions assumptions_for(const GroupConfiguration& group, const UsualStarts& usual_starts) {
  const database::Settings settings;
  FailoverAssumptions assumptions;
  assumptions.decision_worst =
      std::chrono::ceil<milliseconds>(2 * settings.step_timeout + 2 * settings.resend_interval);
  assumptions.usual_starts = usual_starts.of(group.name);
  return assumptions;
}

json groups_json(const StatusSources& sources, const planner::Plan& plan) {
  json list = json::array();
  const auto& configuration = sources.node.configuration();
  for (const auto& group : configuration.groups) {
    const auto found = sources.node.state().groups.find(group.name);
    const GroupState state = found == sources.node.state().groups.end() ? GroupState{} : found->second;
    const auto name_of = [&](ServerId id) { return id == ServerId{} ? std::string() : configuration.server_name(id); };
    json refused = json::array();
    for (const auto& [server, refusal] : state.refused)
      refused.push_back({{"server", name_of(server)}, {"reason", refusal.reason}, {"attempts", refusal.attempts}});
    const auto waiting = plan.waiting.find(group.name);
    const auto failback = plan.failback.find(group.name);
    list.push_back({{"name", group.name}, {"phase", to_string(state.phase)}, {"owner", name_of(state.owner)},
                    {"wanted", state.wanted}, {"target", name_of(state.target)}, {"reason", state.reason},
                    {"version", state.version}, {"waiting", waiting == plan.waiting.end() ? "" : waiting->second},
                    {"failback", failback == plan.failback.end() ? "" : failback->second},
                    {"held", state.held}, {"parked", name_of(state.parked)},
                    {"suspended", suspension_json(sources, planner::suspension_of(sources.node.state(), state))},
                    {"refused", refused}, {"resources", resources_json(sources, group, state)},
                    {"programs", programs_json(sources, group, state)},
                    {"monitors", monitors_json(sources, group, state)}});
    if (sources.usual_starts != nullptr)
      list.back()["failover"] = failover_json(configuration, group, *sources.usual_starts);
  }
  return list;
}

json copy_json(const StatusSources& sources, const std::string& key, ServerId server) {
  json copy = json::object();
  const auto reports = sources.node.reports().find(server);
  const bool reported = reports != sources.node.reports().end() && reports->second.contains(key);
  if (reported) copy = mirror_report_to_json(reports->second.at(key));
  copy["server"] = sources.node.configuration().server_name(server);
  copy["reported"] = reported;
  const auto problem = sources.mirror_problems.find(key);
  if (server == sources.self && problem != sources.mirror_problems.end() && !problem->second.empty())
    copy["problem"] = problem->second;
  if (sources.details != nullptr && reported) {
    const auto details = sources.details->find(server);
    if (details != sources.details->end() && details->second.contains(key))
      copy["details"] = mirror_details_to_json(details->second.at(key));
  }
  if (sources.in_sync_until != nullptr) {
    const auto standing = sources.in_sync_until->find(key);
    if (standing != sources.in_sync_until->end() && standing->second.left_ms.contains(server))
      copy["in_sync_until_ms"] = standing->second.left_ms.at(server);
  }
  return copy;
}

json mirror_json(const StatusSources& sources, const GroupConfiguration& group, const ResourceConfiguration& resource) {
  const auto& configuration = sources.node.configuration();
  const auto key = mirror_key(group.name, resource.name);
  const auto found = sources.node.state().mirrors.find(key);
  const MirrorState state = found == sources.node.state().mirrors.end() ? MirrorState{} : found->second;
  const auto name_of = [&](ServerId id) { return id == ServerId{} ? std::string() : configuration.server_name(id); };
  json in_sync = json::array();
  for (const auto& [server, incarnation] : state.in_sync) in_sync.push_back(name_of(server));
  json trailing = json::array();
  for (const auto& [server, incarnation] : state.trailing) trailing.push_back(name_of(server));
  json restricted = json::array();
  for (const auto server : state.restricted) restricted.push_back(name_of(server));
  json copies = json::array();
  for (const auto server : group.servers) copies.push_back(copy_json(sources, key, server));
  return {{"name", key},
          {"group", group.name},
          {"version", state.version},
          {"permit", state.permit.value},
          {"holder", name_of(state.holder)},
          {"in_sync", in_sync},
          {"in_sync_known", !state.unknown},
          {"broken", state.broken},
          {"forced", name_of(state.forced)},
          {"restricted", restricted},
          {"size_bytes", resource.mirror.size_bytes},
          {"protocol", to_string(resource.mirror.protocol)},
          {"trailing", trailing},
          {"max_lag_ms", resource.mirror.max_lag.count()},
          {"rate", resource.mirror.rate},
          {"copies", copies}};
}

json mirrors_json(const StatusSources& sources) {
  json list = json::array();
  for (const auto& group : sources.node.configuration().groups)
    for (const auto& resource : group.resources)
      if (resource.kind == ResourceKind::kMirror) list.push_back(mirror_json(sources, group, resource));
  return list;
}

/// Who decides, by name; `before`: a change is on its way.
json voters_json(const node::NodeCore& node) {
  const auto names = [&](const std::set<ServerId>& servers) {
    json list = json::array();
    for (const ServerId server : servers) list.push_back(node.configuration().server_name(server));
    return list;
  };
  return {{"now", names(node.voters().now)}, {"before", names(node.voters().before)}, {"waiting", node.voters_waiting()}};
}

}  // namespace

namespace {

/// What is frozen says why, and until when.
json lease_json(const StatusSources& sources) {
  const auto left = sources.node.lease_until() - sources.now;
  const Instant ends = sources.node.freeze_ends();
  json lease{{"valid", left > Duration{0}}, {"left_ms", left > Duration{0} ? to_ms(left) : 0},
             {"waiting", sources.node.waiting_for_guard()}};
  if (left <= Duration{0} && ends != kNever)
    lease["freeze_left_ms"] = std::max<int64_t>(0, to_ms(ends - sources.now));
  return lease;
}

/// The disk that two servers have in common, as this one knows it; null without one.
json disk_json(const StatusSources& sources) {
  const auto& node = sources.node;
  const auto& lock = node.disk_lock();
  if (!lock.in_use()) return nullptr;
  const auto wrote = lock.other_wrote();
  const bool own = lock.has(sources.now);
  std::string names;
  for (const auto& server : node.configuration().servers)
    if ((server.id == sources.self && own) || (server.id != sources.self && lock.others())) names = server.name;
  return {{"path", lock.disk()}, {"answers", lock.answers(sources.now)}, {"names", names}, {"standing", node.disk_standing()},
          {"other_lives", lock.other_lives(sources.now)}, {"other_wrote_ms", wrote == kNever ? json(nullptr) : json(to_ms(sources.now - wrote))}};
}

/// The ping targets of two servers, as this one hears them; null without any.
json ping_json(const StatusSources& sources) {
  const auto& ping = sources.node.ping();
  if (!ping.in_use()) return nullptr;
  json targets = json::array();
  for (const auto& target : ping.targets())
    targets.push_back({{"address", target.address}, {"answers", target.answers}, {"since_ms", to_ms(sources.now - target.since)},
                       {"problem", target.answers ? "" : target.problem}});
  return {{"targets", targets}, {"standing", sources.node.ping_standing()}};
}

/// Who may go on when servers do not reach each other, and what is waited for if nobody may.
json partition_json(const StatusSources& sources) {
  const auto& node = sources.node;
  return {{"np", to_string(node.configuration().np)}, {"taken_over", node.taken_over()},
          {"waiting", node.partition_waiting(sources.now)},
          {"takeover_possible", node.offer_takeover(sources.now, "").has_value()}, {"disk", disk_json(sources)},
          {"ping", ping_json(sources)}, {"warning", warning_of(node.configuration().np)}};
}

}  // namespace

namespace {

/// Fingerprints only. "in_use" is this server's own, as far as it knows.
json keys_json(const StatusSources& sources) {
  const auto& node = sources.node;
  const KeyRotation& rotation = node.state().keys;
  const auto* keys = node.keys();
  const uint64_t now_ms = node.cluster_time(sources.now);
  json staged = json::array();
  for (const ServerId server : rotation.staged) staged.push_back(node.configuration().server_name(server));
  return {{"phase", to_string(rotation.phase)},
          {"number", rotation.number},
          {"in_use", keys == nullptr ? "" : keys->current},
          {"next", rotation.under_way() ? rotation.after : ""},
          {"staged", staged},
          {"author", rotation.author},
          {"left_ms", rotation.phase == KeyRotation::Phase::kStaging && rotation.deadline_ms > now_ms ? rotation.deadline_ms - now_ms : 0},
          {"waiting", node.keys_waiting(sources.now)},
          {"called_off", rotation.called_off},
          {"reason", rotation.reason},
          {"leftovers", keys != nullptr && (!keys->next.empty() || !keys->old.empty())},
          {"certificates", rotation.certificates}};
}

}  // namespace

json status_json(const StatusSources& sources) {
  const auto& node = sources.node;
  const auto& configuration = node.configuration();
  const auto& standing = node.standing();
  const auto plan = node.plan(sources.now);
  std::string waiting = standing.waiting;
  if (!sources.engine_waiting.empty()) waiting = sources.engine_waiting;
  return {{"cursor", sources.cursor}, {"server", configuration.server_name(sources.self)},
          {"cluster", configuration.cluster_name}, {"time_ms", sources.wall_ms},
          {"database",
           {{"serving", standing.serving},
            {"leader", standing.leader == ServerId{} ? "" : configuration.server_name(standing.leader)},
            {"epoch", standing.epoch.value}, {"committed", standing.committed}, {"waiting", waiting},
            {"counting", standing.counting}}},
          {"voters", voters_json(node)},
          {"partition", partition_json(sources)},
          {"keys", keys_json(sources)},
          {"lease", lease_json(sources)},
          {"interconnects", interconnects_json(configuration)},
          {"starting", node.starting(sources.now)},
          {"format_level", node.state().format_level},
          {"suspended", suspension_json(sources, node.state().suspension ? &*node.state().suspension : nullptr)},
          {"shutdown", shutdown_json(sources, node.state().shutdown)},
          {"shut_down", node.state().shut_down},
          {"given_up", node.state().given_up},
          {"configuration_version", node.state().configuration_version}, {"problems", sources.problems},
          {"servers", servers_json(sources, plan)}, {"groups", groups_json(sources, plan)}, {"mirrors", mirrors_json(sources)}};
}

json failover_json(const Configuration& configuration, const GroupConfiguration& group,
                   const UsualStarts& usual_starts) {
  const auto time = failover_time(configuration, group, assumptions_for(group, usual_starts));
  json parts = json::array();
  for (const auto& part : time.parts)
    parts.push_back({{"name", part.name}, {"kind", part.kind}, {"expected_ms", part.expected.count()},
                     {"worst_ms", part.worst.count()}, {"measured", part.measured},
                     {"in_expected", part.in_expected}, {"in_worst", part.in_worst}, {"text", part.text}});
  return {{"expected_ms", time.expected.count()}, {"worst_ms", time.worst.count()}, {"parts", parts}};
}

json failovers_json(const Configuration& configuration, const UsualStarts& usual_starts) {
  json all = json::object();
  for (const auto& group : configuration.groups) all[group.name] = failover_json(configuration, group, usual_starts);
  return all;
}

json plan_json(const planner::Plan& plan, const Configuration& configuration) {
  json steps = json::array();
  for (const auto& step : plan.steps) {
    const auto* assign = std::get_if<AssignGroup>(&step.command);
    steps.push_back({{"group", step.group}, {"action", describe(step.command)},
                     {"server", assign == nullptr ? "" : configuration.server_name(assign->server)},
                     {"reason", step.reason}});
  }
  json waiting = json::object();
  for (const auto& [group, why] : plan.waiting) waiting[group] = why;
  return {{"steps", steps}, {"waiting", waiting}, {"failback", plan.failback}};
}

}  // namespace baton
