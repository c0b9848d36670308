// What comes from others passes the gate first; and a person's word that a majority is lost for good. Pure.
// docs/protocol.md, "Recovery".
#include <algorithm>

#include "src/core/node/node_state.h"
#include "src/model/known_configuration.h"

namespace baton::node {

namespace {
/// Nothing is lost for good within it: a server that starts, or a network that heals, takes as long.
constexpr Duration kNotOfAMoment = 10s;
}  // namespace

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
  if (gated.say_hello) out().push_back(Send{Hello{database.survivors(), database.last(), database.newest_wall_ms()}, lineage()});
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

/// R6: the guards go on where a batond does not.
void NodeCore::Implementation::hear_guard() {
  const bool before = gate.outdated();
  GateActions gated;
  std::set<ServerId> guards = guard->heard;
  guards.insert(settings.self);
  if (!std::includes(guards.begin(), guards.end(), guard->members.begin(), guard->members.end())) guards.clear();
  gate.guard_heard(guard->knowledge.newest_lineage, std::move(guards), gated);
  if (gate.outdated() && !before) note({.kind = "problem", .text = why_gate_waits()});
  pass_on(gated);
}

std::string NodeCore::Implementation::why_gate_waits() const {
  if (gate.given_up()) return "the cluster was recovered without this server, which was given up: it works for nobody";
  if (gate.outdated())
    return "another server's baton-guard knows of a recovery of the cluster without this server: everything here is frozen until a batond "
           "there says what this server is now (start it there)";
  std::string names;
  for (const ServerId server : gate.waits_for()) names += (names.empty() ? "" : ", ") + configuration.server_name(server);
  if (names.empty() && gate.holding()) return "waiting a moment for the first word of the other servers' baton-guard";
  return names.empty() ? "" : fmt::format("waiting a moment for the first word of {}", names);
}

/// Also before this server knows what of its log is committed.
Configuration NodeCore::Implementation::configuration_on_disk() const {
  const auto parsed = known_configuration(database.state_on_disk().configuration_text);
  return parsed ? *parsed : configuration;
}

std::set<ServerId> NodeCore::Implementation::survivors() const {
  std::set<ServerId> servers{settings.self};
  for (const ServerId member : members)
    if (gate.hellos().contains(member)) servers.insert(member);
  return servers;
}

std::set<ServerId> NodeCore::Implementation::lost() const {
  std::set<ServerId> servers = database.voters().all();
  for (const auto& server : configuration_on_disk().servers) servers.insert(server.id);
  for (const ServerId survivor : survivors()) servers.erase(survivor);
  return servers;
}

std::string NodeCore::Implementation::why_not_recover(Instant when) const {
  if (gate.shut()) return why_gate_waits();
  if (database.standing().serving) return "the cluster database serves: nothing is lost for good";
  if (!database.standing().counting) return "this server's database was lost, or has not caught up: it holds nothing to go on with";
  if (members.empty()) return "there is no connection to corosync on this server";
  if (configuration_on_disk().server(settings.self) == nullptr) return "this server was removed from the cluster: by its own log it is none of it";
  // SAFETY: W1, W2. There a takeover loses nothing, and the two must not be mixed.
  if (two_decide_by_operator(configuration_on_disk()))
    return "of two servers without a witness either goes on by `baton cluster takeover`; then `baton cluster remove` gives the other up";
  if (required_level(SetVoters{{{settings.self}, {settings.self}}}) > database.state_on_disk().format_level)
    return "not all servers were known to understand a recovery (their Baton was older), so those that come back would not stand down";
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
  return why_not_now(when);
}

/// SAFETY: R1. Who runs is asked first, or is switched off; and nobody is given up because of a moment.
std::string NodeCore::Implementation::why_not_now(Instant when) const {
  if (!guard) return "baton-guard cannot be reached on this server: repeat when it runs again";
  for (const ServerId member : members)
    if (member != settings.self && !gate.hellos().contains(member))
      return fmt::format("{} is a member, but its batond has said nothing yet: wait, start it anew, or switch that server off",
                         configuration.server_name(member));
  for (const ServerId member : guard->members)
    if (!members.contains(member))
      return fmt::format("{} runs (its baton-guard is heard), but its batond is not there: start it, or switch that server off",
                         configuration.server_name(member));
  if (when < not_serving_since + kNotOfAMoment)
    return fmt::format("the others have only just been lost, or this server has only just started: repeat in {} s",
                       (not_serving_since + kNotOfAMoment - when) / 1s + 1);
  return {};
}

void NodeCore::Implementation::handle(const Recover& event) {
  const std::string problem = why_not_recover(now);
  if (!problem.empty()) return note({.kind = "problem", .text = "not recovered: " + problem});
  std::string given_up;
  const Configuration known = configuration_on_disk();
  for (const ServerId server : lost()) given_up += (given_up.empty() ? "" : ", ") + known.server_name(server);
  note({.kind = "alert", .text = fmt::format("{} recovers the cluster on {}: given up for good: {}", event.author,
                                             known.server_name(settings.self), given_up)});
  recovered_at = now;
  feed_database(database::Recover{survivors(), event.rounds, event.wall_ms});
}

}  // namespace baton::node
