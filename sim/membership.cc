// Servers that join and leave a running cluster: the operator's changes of the configuration, and what is done with
// the machines. docs/protocol.md, "Voters". Deterministic, one thread.
#include <algorithm>

#include "sim/cluster.h"
#include "src/model/configuration_edit.h"
#include "src/model/known_configuration.h"

namespace baton::sim {

namespace {

std::set<ServerId> servers_in(const Configuration& configuration) {
  const auto ids = configuration.voters();
  return {ids.begin(), ids.end()};
}

/// Servers of a failover policy stay.
bool is_needed(const Configuration& configuration, ServerId server) {
  return std::any_of(configuration.groups.begin(), configuration.groups.end(), [&](const auto& group) {
    return std::find(group.servers.begin(), group.servers.end(), server) != group.servers.end();
  });
}

}  // namespace

/// What a machine is called in the cluster: the founding witness keeps its role.
ServerConfiguration Cluster::some_machine(ServerId id) const {
  ServerConfiguration machine;
  machine.id = id;
  const auto* founder = settings_.founding.server(id);
  machine.role = founder == nullptr ? ServerRole::kServer : founder->role;
  machine.name = founder == nullptr ? fmt::format("server{}", id) : founder->name;
  machine.interconnects = {fmt::format("10.0.1.{}", id)};
  return machine;
}

void Cluster::join_or_leave() {
  Server& server = some_server();
  if (!server.running() || server.node().state().configuration_version == 0) return;
  const auto& state = server.node().state();
  const auto present = known_configuration(state.configuration_text);
  const std::set<ServerId> servers = servers_in(*present);
  std::vector<ServerId> candidates;
  for (const ServerId id : all_) {
    // A machine joins with nothing on it; one that has left is emptied first.
    const bool can_join = !servers.contains(id) && !servers_.at(id)->enlisted();
    const bool can_leave = servers.contains(id) && !is_needed(*present, id);
    if (can_join || can_leave) candidates.push_back(id);
  }
  if (candidates.empty()) return;
  const ServerId one = candidates[random_.below(candidates.size())];
  const bool joins = !servers.contains(one);
  const auto text = joins ? add_server(state.configuration_text, some_machine(one))
                          : remove_server(state.configuration_text, present->server_name(one));
  if (!text) return;  // it would have to be one that can be fenced
  world_.count(joins ? "servers asked to join" : "servers asked to leave");
  world_.say("sim", "operator at server {}: server {} {}", server.id(), one, joins ? "is to join" : "is to leave");
  server.request(ApplyConfiguration{state.configuration_version, *text, "operator"});
}

/// Once per committed entry.
void Cluster::follow_membership(const node::EntryApplied& applied) {
  if (applied.entry.index <= followed_) return;
  followed_ = applied.entry.index;
  if (!applied.outcome.applied) return;
  if (const auto* change = std::get_if<SetVoters>(&applied.entry.command)) {
    voters_ = change->voters;
    enlist_and_dismiss("");
  } else if (const auto* takeover = std::get_if<TakeOver>(&applied.entry.command)) {
    voters_ = VoterSet{{takeover->server}, {}};
  } else if (const auto* configuration = std::get_if<ApplyConfiguration>(&applied.entry.command)) {
    configured_ = servers_in(*known_configuration(configuration->text));
    enlist_and_dismiss(configuration->text);
  }
}

/// Machines that came since the backup was made are emptied, those that left since are given their place again.
void Cluster::go_by_backup(const std::string& text, const std::string& key) {
  configured_ = servers_in(*known_configuration(text));
  for (const ServerId id : all_) {
    Server& server = *servers_.at(id);
    if (!is_member(id) && server.enlisted()) server.dismiss();
    if (!is_member(id) || server.enlisted()) continue;
    server.give_key(key);
    server.enlist(text);
  }
}

void Cluster::enlist_and_dismiss(const std::string& text) {
  for (const ServerId id : all_) {
    Server& server = *servers_.at(id);
    if (is_member(id) && !server.enlisted() && !text.empty()) {
      world_.after(random_.between(0ms, 1500ms), [this, id, &server, text] {
        if (!is_member(id) || server.enlisted()) return;
        server.give_key(present_key());
        server.enlist(text);
        server.power_on();
      });
    } else if (!is_member(id) && !voters_.contains(id) && server.enlisted()) {
      const Instant goes = world_.now() + random_.between(0ms, 2000ms);
      departed_at_ = std::max(departed_at_, goes);
      world_.at(goes, [this, id, &server] {
        if (!is_member(id) && !voters_.contains(id) && server.enlisted()) server.dismiss();
      });
    }
  }
}

}  // namespace baton::sim
