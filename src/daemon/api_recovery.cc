// See api_recovery.h.
#include "src/daemon/api_recovery.h"

#include <fmt/ranges.h>

#include "src/daemon/api_answers.h"
#include "src/model/configuration_toml.h"

namespace baton {
namespace {

using nlohmann::json;

/// As this server's log has it, also what is not known to be committed: nothing is applied yet after a restart.
struct Held {
  ClusterState state;
  Configuration configuration;
};

Held held_by(const Daemon& daemon) {
  Held held{daemon.node().state_of_log(), daemon.node().configuration()};
  if (auto parsed = parse_configuration(held.state.configuration_text)) held.configuration = *parsed;
  return held;
}

json position_json(const LogPosition& position) { return {{"epoch", position.epoch.value}, {"index", position.index}}; }

json survivors_json(const Daemon& daemon, const Held& held) {
  const auto& node = daemon.node();
  json list = json::array();
  list.push_back({{"server", held.configuration.server_name(daemon.self())}, {"last", position_json(node.last())}, {"counts", node.standing().counting}});
  for (const auto& [server, hello] : node.gate().hellos()) {
    if (server == daemon.self() || node.gate().refused().contains(server)) continue;
    const auto lineage = node.gate().lineages().find(server);
    const bool counts = lineage != node.gate().lineages().end() && lineage->second != node::kNoLineage;
    list.push_back({{"server", held.configuration.server_name(server)}, {"last", position_json(hello.last)}, {"counts", counts}});
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
  if (!own) return fmt::format("in sync is {}: no survivor's copy has everything. Its group does not start before `baton mirror force`", fmt::join(members, ", "));
  if (members.size() == 1) return fmt::format("the copy of {} is the only one in sync, as far as is known here", members.front());
  return fmt::format("in sync are {}: this copy has everything, unless the lost servers took it out of the set later", fmt::join(members, ", "));
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
                    {"copies", copies_json(daemon, held, key, mirror)}, {"text", used ? lacks(members, here) : "never used"}});
  }
  return list;
}

json facts(const Daemon& daemon) {
  const auto& node = daemon.node();
  const Held held = held_by(daemon);
  json lost = json::array(), groups = json::array();
  for (const auto& server : held.configuration.servers) {
    const auto peer = node.peers().find(server.id);
    if (server.id != daemon.self() && (peer == node.peers().end() || !peer->second.in_view)) lost.push_back(server.name);
  }
  for (const auto& [name, group] : held.state.groups)
    groups.push_back({{"name", name}, {"phase", to_string(group.phase)}, {"wanted", group.wanted},
                      {"owner", group.owner == ServerId{} ? "" : held.configuration.server_name(group.owner)}});
  const std::string problem = node.why_not_recover();
  return {{"server", held.configuration.server_name(daemon.self())}, {"cluster", held.configuration.cluster_name},
          {"possible", problem.empty()}, {"why_not", problem}, {"lost", lost}, {"survivors", survivors_json(daemon, held)},
          {"last", position_json(node.last())}, {"recovered", node.lineage() == node::kNoLineage ? 0 : node.lineage().value},
          {"groups", groups}, {"mirrors", mirrors_json(daemon, held)}};
}

}  // namespace

void handle_recovery(Daemon& daemon, const HttpRequest& request, const HttpRespond& respond) {
  if (request.method == "GET") return answer(respond, facts(daemon));
  const auto body = read_body(request);
  if (!body) return refuse(respond, body.error());
  if (const auto problem = daemon.node().why_not_recover(); !problem.empty()) return refuse(respond, {ErrorCode::kConflict, problem});
  // A person decided from what was shown.
  if (!body->contains("last") || (*body)["last"] != position_json(daemon.node().last()))
    return refuse(respond, {ErrorCode::kConflict, "the database has changed since it was shown: look again"});
  daemon.recover(author_of(*body));
  answer(respond, {{"recovering", true}});
}

}  // namespace baton
