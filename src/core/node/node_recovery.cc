// What comes from others passes the gate first; and a person's word that a majority is lost for good. Pure.
// docs/protocol.md, "Recovery".
#include <algorithm>

#include "src/core/node/node_state.h"

namespace baton::node {

void NodeCore::Implementation::take(const Event& event) {
  GateActions gated;
  gate.tick(now, gated);
  if (const auto* view = std::get_if<ViewChanged>(&event)) {
    gate.view_changed(now, *view, gated);
  } else if (const auto* received = std::get_if<MessageReceived>(&event)) {
    gate.message_received(*received, gated);
  }
  pass_on(gated);
  if (std::holds_alternative<ViewChanged>(event) || std::holds_alternative<MessageReceived>(event)) return;
  std::visit([&](const auto& what) { handle(what); }, event);
}

void NodeCore::Implementation::pass_on(GateActions& gated) {
  if (gated.say_hello) out().push_back(Send{Hello{database.survivors(), database.last()}, lineage()});
  for (const ServerId server : gated.refused)
    note({.kind = "problem", .text = fmt::format("{} belongs to the cluster of before the recovery: it is refused, and stands down",
                                                 configuration.server_name(server))});
  if (gated.stand_down) {
    note({.kind = "problem",
          .text = fmt::format("the cluster was recovered, as {} says: this server {}", configuration.server_name(gated.stand_down->by),
                              gated.stand_down->survivor ? "is a survivor, begins anew with an empty database and catches up"
                                                         : "was given up and works for nobody any more")});
    out().push_back(*gated.stand_down);
  }
  for (const Event& event : gated.pass) std::visit([&](const auto& what) { handle(what); }, event);
}

/// After each event: the database may have come to count, or have made a recovery durable.
void NodeCore::Implementation::follow_lineage() {
  if (lineage() == gate.own()) return;
  GateActions gated;
  gate.own_changed(lineage(), gated);
  pass_on(gated);
}

std::set<ServerId> NodeCore::Implementation::survivors() const {
  std::set<ServerId> servers{settings.self};
  for (const ServerId member : members)
    if (gate.hellos().contains(member)) servers.insert(member);
  return servers;
}

std::string NodeCore::Implementation::why_not_recover() const {
  if (gate.given_up()) return "this server was itself given up by a recovery";
  if (database.standing().serving) return "the cluster database serves: nothing is lost for good";
  if (!database.standing().counting) return "this server's database was lost, or has not caught up: it holds nothing to go on with";
  if (members.empty()) return "there is no connection to corosync on this server";
  std::set<ServerId> counting = members;
  for (const auto& [server, lineage] : gate.lineages())
    if (lineage == kNoLineage) counting.erase(server);
  if (database.voters().majority(counting)) return "a majority of the voters is here: `baton status` says what the database waits for";
  // SAFETY: R1. What any survivor holds may have been committed.
  for (const auto& [server, hello] : gate.hellos())
    if (server != settings.self && members.contains(server) && hello.last > database.last())
      return fmt::format("{} holds more of the log (entry {} of epoch {}, here entry {} of epoch {}): recover there",
                         configuration.server_name(server), hello.last.index, hello.last.epoch, database.last().index,
                         database.last().epoch);
  return {};
}

void NodeCore::Implementation::handle(const Recover& event) {
  const std::string problem = why_not_recover();
  if (!problem.empty()) return note({.kind = "problem", .text = "not recovered: " + problem});
  const auto present = survivors();
  std::string given_up;
  for (const ServerId voter : database.voters().all())
    if (!present.contains(voter)) given_up += (given_up.empty() ? "" : ", ") + configuration.server_name(voter);
  note({.kind = "alert", .text = fmt::format("{} recovers the cluster on {}: given up for good: {}", event.author,
                                             configuration.server_name(settings.self), given_up)});
  recovered_at = now;
  feed_database(database::Recover{present, event.rounds});
}

}  // namespace baton::node
