// All databases are lost, and an operator begins with a backup that was made at some earlier moment; then he names the copy of
// each mirror that has the most. docs/protocol.md, R7-R10. Deterministic, one thread.
#include <algorithm>

#include "sim/cluster.h"
#include "src/core/database/restored_voter.h"
#include "src/model/known_configuration.h"
#include "src/model/mirror_place.h"

namespace baton::sim {

namespace {
constexpr Duration kPatience = 60s;
constexpr Duration kLook = 200ms;
/// What is left when a person looks, before he says a word: nothing may have started by then that has a mirror.
constexpr Duration kHeLooks = 6s;
constexpr int64_t kFoundedMs = 1700000000000;
}  // namespace

/// A backup of a moment when the cluster had been founded, and its mirrors were there.
std::vector<database::Entry> Cluster::some_backup() {
  const auto whole = checkers_->log();
  if (whole.size() < 8) return {};
  const size_t length = random_.between(8, whole.size());
  return {whole.begin(), whole.begin() + static_cast<ptrdiff_t>(length)};
}

void Cluster::lose_databases() {
  const auto backup = restores_ >= weather_.disasters ? std::vector<database::Entry>{} : some_backup();
  if (backup.empty() || (voters_.joint() && !weather_.everything)) return;
  ++restores_;
  world_.count("all databases lost");
  world_.say("sim", "all databases are lost; the backup holds {} of {} entries", backup.size(), checkers_->committed());
  for (const auto& [id, server] : servers_)
    if (server->enlisted()) server->lose();
  const bool disk_decided = np() == NpKind::kDisk;
  run_until(world_.now() + random_.between(1s, 4s));
  bus_->heal();
  guard_bus_->heal();
  checkers_->restored(backup);
  const uint64_t permits_then = checkers_->state().permits_above;
  followed_ = backup.size();
  voters_ = checkers_->state().voters;
  // "A restored database knows nothing of the disk's claims: ... Have none, or prepare the disk anew": he has none.
  const bool old_ones_come = weather_.everything && !disk_decided && np() != NpKind::kDisk && random_.chance(0.5);
  Server& first = restore_somewhere(backup, old_ones_come);
  go_by_backup(checkers_->state().configuration_text, first.keys().current);
  for (const auto& [id, server] : servers_) {
    if (!server->enlisted()) continue;
    server->find();
    if (server.get() != &first) come_after_restore(*server, first, old_ones_come);
    world_.after(server.get() == &first ? 1ms : random_.between(1ms, 5s), [one = server.get()] { one->power_on(); });
  }
  name_copies(permits_then);
}

/// Among them those whose copies have less than others: nothing here goes by who restores.
Server& Cluster::restore_somewhere(const std::vector<database::Entry>& backup, bool old_ones_come) {
  std::vector<Server*> some;
  const auto configuration = known_configuration(checkers_->state().configuration_text);
  for (const auto& server : configuration->servers)
    if (servers_.at(server.id)->enlisted()) some.push_back(servers_.at(server.id).get());
  Server& chosen = *some[random_.below(some.size())];
  // Its clock is set right first: the restore goes by it (R7).
  const int64_t now_ms = kFoundedMs + to_ms(world_.now().time_since_epoch());
  std::set<ServerId> survivors{chosen.id()};
  if (old_ones_come)
    for (const Server* server : some)
      if (random_.chance(0.5)) survivors.insert(server->id());
  database::Restoration restoration{chosen.id(), survivors, database::restore_round(now_ms, random_.below(1000)),
                                    now_ms,      now_ms,        "a server",
                                    "operator",  chosen.keys().current};
  chosen.clear();
  chosen.give_key(chosen.keys().current);  // what a rotation has left there goes
  chosen.disk().restore(database::restored_voter(backup, restoration));
  world_.say("sim", "server {} is restored", chosen.id());
  return chosen;
}

/// With an old database it is one of before the recovery, and learns that where it meets the first one (R2).
void Cluster::come_after_restore(Server& server, const Server& first, bool old_ones_come) {
  // He has compared the keys: one that is not here, nor staged here, is copied to it.
  const std::string& key = first.keys().current;
  if (server.keys().current != key && server.keys().next != key) server.give_key(key);
  const bool keeps = old_ones_come && !server.disk().rotten && server.disk().stored().counting && random_.chance(0.6);
  if (!keeps) return server.clear();
  world_.count("old databases come to a restored one");
}

/// Each once he has seen all copies that there are, and looked for a while.
void Cluster::name_copies(uint64_t permits_then) {
  const Instant asked = world_.now() + kHeLooks;
  const auto configuration = known_configuration(checkers_->state().configuration_text);
  const auto unknown = [&](const auto& mirror) { return mirror.second.unknown && find_mirror(*configuration, mirror.first); };
  for (const Instant limit = world_.now() + kPatience; world_.now() < limit; run_until(world_.now() + kLook)) {
    for (const auto& [id, server] : servers_) {
      if (!server->enlisted()) continue;
      if (server->given_up()) server->clear();
      server->resume_machine();
      server->resume_guard();
      server->resume_batond();
      server->regain_engine();
      server->power_on();
      server->start_batond();
    }
    const auto& mirrors = checkers_->state().mirrors;
    if (checkers_->state().permits_above > permits_then && std::none_of(mirrors.begin(), mirrors.end(), unknown)) return;
    for (const auto& [id, server] : servers_)
      if (world_.now() >= asked && server->running() && !server->paused() && server->node().standing().serving) {
        operator_->name_copies(*server, checkers_->truth());
        break;
      }
  }
  throw Violation("progress", "the mirrors' copies could not be named after a restore");
}

}  // namespace baton::sim
