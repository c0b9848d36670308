// See api_recovery.h.
#include "src/daemon/api_recovery.h"

#include <fmt/ranges.h>

#include <set>

#include "src/daemon/api_answers.h"

namespace baton {
namespace {

using nlohmann::json;

/// As this server's disk has it, also what is not known to be committed: nothing is applied yet after a restart.
struct Held {
  ClusterState state;
  Configuration configuration;
};

Held held_by(const Daemon& daemon) { return {daemon.node().state_on_disk(), daemon.node().configuration_on_disk()}; }

json position_json(const LogPosition& position) { return {{"epoch", position.epoch.value}, {"index", position.index}}; }

json survivor_json(const std::string& name, const LogPosition& last, int64_t wall_ms, bool counts) {
  return {{"server", name}, {"last", position_json(last)}, {"written_ms", wall_ms}, {"counts", counts}};
}

json survivors_json(const Daemon& daemon, const Held& held) {
  const auto& node = daemon.node();
  json list = json::array();
  const std::string self = held.configuration.server_name(daemon.self());
  list.push_back(survivor_json(self, node.last(), node.newest_wall_ms(), node.standing().counting));
  for (const auto& [server, hello] : node.gate().hellos()) {
    if (server == daemon.self() || node.gate().refused().contains(server)) continue;
    const auto lineage = node.gate().lineages().find(server);
    const bool counts = lineage != node.gate().lineages().end() && lineage->second != node::kNoLineage;
    list.push_back(survivor_json(held.configuration.server_name(server), hello.last, hello.wall_ms, counts));
  }
  return list;
}

json copies_json(const Daemon& daemon, const Held& held, const std::string& key, const MirrorState& mirror) {
  json list = json::array();
  for (const auto& [server, reports] : daemon.node().reports()) {
    const auto report = reports.find(key);
    if (report == reports.end()) continue;
    const auto member = mirror.in_sync.find(server);
    list.push_back({{"server", held.configuration.server_name(server)},
                    {"consistent", report->second.consistent},
                    {"generation", fmt::format("{}.{:x}", report->second.generation.counter, report->second.generation.random)},
                    {"incarnation_in_sync", member != mirror.in_sync.end() && member->second == report->second.incarnation}});
  }
  return list;
}

std::string lacks(const std::vector<std::string>& members, bool own) {
  if (!own)
    return fmt::format("in sync is {}: no survivor's copy has everything. Its group does not start before `baton mirror force`",
                       fmt::join(members, ", "));
  if (members.size() == 1) return fmt::format("the copy of {} is the only one in sync, as far as is known here", members.front());
  return fmt::format("in sync are {}: this copy has everything, unless the lost servers took it out of the set later",
                     fmt::join(members, ", "));
}

std::string describe_set(const MirrorState& mirror, const std::vector<std::string>& members, bool here) {
  if (mirror.unknown) return "which copies have everything is not known since the database was restored from a backup";
  return mirror.permit == Permit{} ? "never used" : lacks(members, here);
}

json mirrors_json(const Daemon& daemon, const Held& held) {
  json list = json::array();
  for (const auto& [key, mirror] : held.state.mirrors) {
    std::vector<std::string> members;
    bool here = false;
    for (const auto& [server, incarnation] : mirror.in_sync) {
      members.push_back(held.configuration.server_name(server));
      here = here || server == daemon.self() || daemon.node().gate().hellos().contains(server);
    }
    const bool used = mirror.permit != Permit{};
    list.push_back({{"name", key}, {"in_sync", members}, {"permit", mirror.permit.value}, {"survives", here || !used},
                    {"copies", copies_json(daemon, held, key, mirror)}, {"text", describe_set(mirror, members, here)}});
  }
  return list;
}

json lost_json(const Daemon& daemon, const Held& held) {
  json names = json::array();
  for (const ServerId server : daemon.node().lost()) names.push_back(held.configuration.server_name(server));
  return names;
}

json groups_json(const Held& held) {
  json groups = json::array();
  for (const auto& [name, group] : held.state.groups)
    groups.push_back({{"name", name}, {"phase", to_string(group.phase)}, {"wanted", group.wanted},
                      {"owner", group.owner == ServerId{} ? "" : held.configuration.server_name(group.owner)}});
  return groups;
}

json facts(const Daemon& daemon) {
  const auto& node = daemon.node();
  const Held held = held_by(daemon);
  const std::string problem = node.why_not_recover(EventLoop::now());
  return {{"server", held.configuration.server_name(daemon.self())}, {"cluster", held.configuration.cluster_name},
          {"possible", problem.empty()}, {"why_not", problem}, {"lost", lost_json(daemon, held)},
          {"survivors", survivors_json(daemon, held)}, {"last", position_json(node.last())},
          {"recovered", node.lineage() == node::kNoLineage ? 0 : node.lineage().value},
          {"groups", groups_json(held)}, {"mirrors", mirrors_json(daemon, held)}};
}

/// A person decided from what was shown, and said whom he gives up.
Status judge(const Daemon& daemon, const json& body) {
  if (const auto problem = daemon.node().why_not_recover(EventLoop::now()); !problem.empty())
    return fail_as(ErrorCode::kConflict, "{}", problem);
  if (!body.contains("last") || body["last"] != position_json(daemon.node().last()))
    return fail_as(ErrorCode::kConflict, "the database has changed since it was shown: look again");
  std::set<std::string> named, lost;
  if (body.contains("give_up") && body["give_up"].is_array())
    for (const json& name : body["give_up"])
      if (name.is_string()) named.insert(name.get<std::string>());
  for (const json& name : lost_json(daemon, held_by(daemon))) lost.insert(name.get<std::string>());
  if (named != lost)
    return fail_as(ErrorCode::kConflict, "given up would be {}, and that is not what was named ({})", fmt::join(lost, ", "),
                   named.empty() ? "nobody" : fmt::format("{}", fmt::join(named, ", ")));
  return {};
}

}  // namespace

void handle_recovery(Daemon& daemon, const HttpRequest& request, const HttpRespond& respond) {
  if (request.method == "GET") return answer(respond, facts(daemon));
  const auto body = read_body(request);
  if (!body) return refuse(respond, body.error());
  if (const auto judged = judge(daemon, *body); !judged) return refuse(respond, judged.error());
  daemon.recover(author_of(*body));
  answer(respond, {{"recovering", true}});
}

}  // namespace baton
