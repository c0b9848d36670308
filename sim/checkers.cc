// The checkers. Deterministic, one thread.
#include "sim/checkers.h"

#include <algorithm>

namespace baton::sim {

Checkers::Checkers(World& world, const ClusterSettings& settings,
                   const std::map<ServerId, std::unique_ptr<Server>>& servers)
    : world_(world), settings_(settings), servers_(servers) {
  const auto founders = settings.configuration.voters();
  voters_.now = {founders.begin(), founders.end()};
}

void Checkers::applied(const Server& server, const node::EntryApplied& applied) {
  const database::Entry& entry = applied.entry;
  if (entry.index > committed_.size() + 1)
    throw Violation("committed", fmt::format("server {} applied entry {} before anybody applied {}",
                                             server.id(), entry.index, committed_.size() + 1));
  if (entry.index == committed_.size() + 1) {
    if (const auto* change = std::get_if<SetVoters>(&entry.command)) {
      check_change(change->voters, entry);
      voters_ = change->voters;
    }
    check_majority(entry);
    if (entry.request != 0 && !requests_.insert({entry.origin, entry.request}).second)
      throw Violation("once", fmt::format("request {} of server {} was recorded twice, again as entry {}",
                                          entry.request, entry.origin, entry.index));
    committed_.push_back({entry, applied.outcome, server.id()});
    return;
  }
  const Committed& known = committed_[entry.index - 1];
  if (!(known.entry == entry))
    throw Violation("committed",
                    fmt::format("entry {} is \"{}\" of epoch {} at server {}, but server {} applied \"{}\" "
                                "of epoch {}",
                                entry.index, describe(entry.command), entry.epoch, server.id(), known.first,
                                describe(known.entry.command), known.entry.epoch));
  if (known.outcome.applied != applied.outcome.applied || known.outcome.refusal != applied.outcome.refusal)
    throw Violation("state", fmt::format("entry {} was judged differently at servers {} and {}", entry.index,
                                         known.first, server.id()));
}

/// A joint entry begins from what is settled, a settling one ends the joint one before it.
void Checkers::check_change(const VoterSet& changed, const database::Entry& entry) const {
  const bool fits = changed.joint() ? !voters_.joint() && changed.before == voters_.now
                                    : voters_.joint() && changed.now == voters_.now;
  if (!fits)
    throw Violation("voters", fmt::format("entry {} ({}, epoch {}) does not follow from the change before", entry.index,
                                          describe(entry.command), entry.epoch));
}

/// By the voters of the newest change up to this entry, itself included; of both sets while it is not settled.
void Checkers::check_majority(const database::Entry& entry) const {
  check_majority_of(voters_.now, entry);
  if (voters_.joint()) check_majority_of(voters_.before, entry);
}

/// Durable: on the disks of a majority, or on one whose loss came later.
void Checkers::check_majority_of(const std::set<ServerId>& voters, const database::Entry& entry) const {
  size_t holders = 0;
  for (const ServerId id : voters) {
    const auto& voter = servers_.at(id);
    const auto holds = [&](const std::vector<database::Entry>& log) {
      return log.size() >= entry.index && log[entry.index - 1] == entry;
    };
    if (holds(voter->disk().stored().entries) || holds(voter->disk().lost())) ++holders;
  }
  if (holders < voters.size() / 2 + 1)
    throw Violation("durable",
                    fmt::format("entry {} ({}, epoch {}) counts as committed with {} of {} disks holding it",
                                entry.index, describe(entry.command), entry.epoch, holders, voters.size()));
}

void Checkers::decided(const Server& server, const node::Decided& decided) {
  if (!answered_.insert({server.id(), decided.request}).second)
    throw Violation("once",
                    fmt::format("request {} of server {} was answered twice", decided.request, server.id()));
  world_.mark('q', server.id(), decided.request, decided.decided, decided.outcome.applied);
}

void Checkers::stepped(const Server& server) {
  check_one_owner();
  if (!server.running()) return;
  check_leader(server);
  // The state at an index is the same everywhere.
  const auto& standing = server.node().standing();
  if (standing.committed == 0 || standing.committed > committed_.size()) return;
  auto [known, fresh] = states_.try_emplace(standing.committed, server.node().state());
  if (!fresh && !(known->second == server.node().state()))
    throw Violation(
        "state", fmt::format("the states after entry {} differ: server {}", standing.committed, server.id()));
}

/// I1: at most one server has, by its own knowledge and clock, the group with something of it up, and the right
/// to hold it. And, whatever they believe, a resource serves at one server at most.
void Checkers::check_one_owner() const {
  for (const auto& group : settings_.configuration.groups) {
    const Server* owner = nullptr;
    for (const auto& [id, server] : servers_) {
      if (!server->lease_page_valid() || !server->believes_to_own(group.name)) continue;
      if (!server->anything_up(group.name)) continue;  // released, and not told yet that this is committed
      if (owner != nullptr)
        throw Violation("one owner", fmt::format("servers {} and {} both own the group {} and have a lease",
                                                 owner->id(), id, group.name));
      owner = server.get();
    }
    for (const auto& resource : group.resources) {
      const std::string key = mirror_key(group.name, resource.name);
      const Server* serves = nullptr;
      for (const auto& [id, server] : servers_) {
        if (!server->is_up(key) || !server->lease_page_valid()) continue;
        if (serves != nullptr)
          throw Violation("one server", fmt::format("{} serves on servers {} and {}", key, serves->id(), id));
        serves = server.get();
      }
    }
  }
}

void Checkers::check_leader(const Server& server) {
  const auto& standing = server.node().standing();
  if (standing.leader != server.id() || !standing.serving) return;
  const auto [known, fresh] = leaders_.try_emplace(standing.epoch, server.id());
  if (known->second != server.id())
    throw Violation("one leader", fmt::format("servers {} and {} both lead epoch {}", known->second,
                                              server.id(), standing.epoch));
  if (!fresh) return;
  // All that was committed in earlier epochs is in a serving leader's log. (A later epoch may have begun
  // elsewhere.)
  const auto later = std::find_if(committed_.begin(), committed_.end(),
                                  [&](const Committed& each) { return each.entry.epoch >= standing.epoch; });
  const auto earlier = static_cast<uint64_t>(later - committed_.begin());
  if (standing.committed < earlier)
    throw Violation("committed",
                    fmt::format("server {} serves in epoch {} with {} entries; {} of earlier epochs were "
                                "committed",
                                server.id(), standing.epoch, standing.committed, earlier));
}

void Checkers::at_the_end() {
  for (const auto& [id, server] : servers_) {
    if (!voters_.contains(id)) continue;
    const auto& log = server->disk().stored().entries;
    for (size_t place = 0; place < committed_.size(); ++place)
      if (place >= log.size() || !(log[place] == committed_[place].entry))
        throw Violation("durable", fmt::format("server {} lacks committed entry {} at the end", id, place + 1));
  }
}

}  // namespace baton::sim
