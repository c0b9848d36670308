// All databases are lost, and an operator begins with a backup that was made at some earlier moment; then he names the copy of
// each mirror that has the most. docs/protocol.md, R7-R10. Deterministic, one thread.
#include <algorithm>

#include "sim/cluster.h"
#include "src/core/database/restored_voter.h"
#include "src/model/configuration_toml.h"
#include "src/model/mirror_place.h"

namespace baton::sim {

namespace {
constexpr Duration kPatience = 60s;
constexpr Duration kLook = 200ms;
/// What is left when a person looks, before he says a word: nothing may have started by then that has a mirror.
constexpr Duration kHeLooks = 6s;
}  // namespace

/// A backup of a moment when the cluster had been founded, and its mirrors were there.
std::vector<database::Entry> Cluster::some_backup() {
  const auto whole = checkers_->log();
  if (whole.size() < 8) return {};
  const size_t length = random_.between(8, whole.size());
  return {whole.begin(), whole.begin() + static_cast<ptrdiff_t>(length)};
}

void Cluster::lose_databases() {
  const auto backup = restored_ ? std::vector<database::Entry>{} : some_backup();
  if (backup.empty() || voters_.joint()) return;
  restored_ = true;
  world_.count("all databases lost");
  world_.say("sim", "all databases are lost; the backup holds {} of {} entries", backup.size(), checkers_->committed());
  for (const auto& [id, server] : servers_)
    if (server->enlisted()) server->lose();
  run_until(world_.now() + random_.between(1s, 4s));
  bus_->heal();
  guard_bus_->heal();
  checkers_->restored(backup);
  followed_ = backup.size();
  voters_ = checkers_->state().voters;
  Server& first = restore_somewhere(backup);
  for (const auto& [id, server] : servers_) {
    if (!server->enlisted()) continue;
    server->find();
    if (server.get() != &first) server->clear();
    world_.after(server.get() == &first ? 1ms : random_.between(1ms, 5s), [one = server.get()] { one->power_on(); });
  }
  name_copies();
}

/// Among them those whose copies have less than others: nothing here goes by who restores.
Server& Cluster::restore_somewhere(const std::vector<database::Entry>& backup) {
  std::vector<Server*> some;
  const auto configuration = parse_configuration(checkers_->state().configuration_text);
  for (const auto& server : configuration->servers)
    if (servers_.at(server.id)->enlisted()) some.push_back(servers_.at(server.id).get());
  Server& chosen = *some[random_.below(some.size())];
  const int64_t now_ms = chosen.wall_ms();
  database::Restoration restoration{chosen.id(), {chosen.id()}, database::restore_round(now_ms, random_.below(1000)),
                                    now_ms,      now_ms,        "a server",
                                    "operator"};
  chosen.clear();
  chosen.disk().restore(database::restored_voter(backup, restoration));
  world_.say("sim", "server {} is restored", chosen.id());
  return chosen;
}

/// Each once he has seen all copies that there are, and looked for a while.
void Cluster::name_copies() {
  const Instant asked = world_.now() + kHeLooks;
  const auto configuration = parse_configuration(checkers_->state().configuration_text);
  const auto unknown = [&](const auto& mirror) { return mirror.second.unknown && find_mirror(*configuration, mirror.first); };
  for (const Instant limit = world_.now() + kPatience; world_.now() < limit; run_until(world_.now() + kLook)) {
    for (const auto& [id, server] : servers_) {
      if (!server->enlisted()) continue;
      server->resume_machine();
      server->resume_guard();
      server->resume_batond();
      server->regain_engine();
      server->power_on();
      server->start_batond();
    }
    const auto& mirrors = checkers_->state().mirrors;
    if (checkers_->state().permits_above > 0 && std::none_of(mirrors.begin(), mirrors.end(), unknown)) return;
    for (const auto& [id, server] : servers_)
      if (world_.now() >= asked && server->running() && !server->paused() && server->node().standing().serving) {
        operator_->name_copies(*server, checkers_->truth());
        break;
      }
  }
  throw Violation("progress", "the mirrors' copies could not be named after a restore");
}

}  // namespace baton::sim
