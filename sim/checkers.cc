// The checkers. Deterministic, one thread.
#include "sim/checkers.h"

#include <algorithm>

#include "sim/ping_targets.h"
#include "sim/shared_disk.h"
#include "src/model/known_configuration.h"

namespace baton::sim {

Checkers::Checkers(World& world, const ClusterSettings& settings,
                   const std::map<ServerId, std::unique_ptr<Server>>& servers)
    : world_(world), settings_(settings), servers_(servers), maintenance_(world, servers) {
  for (const auto& group : settings.configuration.groups)
    for (const auto& resource : group.resources)
      // What has no right of its own (processes, mounts) is dead without these.
      if (resource.kind == ResourceKind::kMirror || resource.kind == ResourceKind::kAddress)
        exclusive_.emplace_back(group.name, mirror_key(group.name, resource.name));
  states_[0] = reference_;
  const auto founders = settings.configuration.voters();
  voters_.now = {founders.begin(), founders.end()};
}

std::vector<database::Entry> Checkers::log() const {
  std::vector<database::Entry> entries;
  for (const auto& each : committed_) entries.push_back(each.entry);
  return entries;
}

void Checkers::restored(const std::vector<database::Entry>& backup) {
  committed_.resize(backup.size());
  reference_ = ClusterState{};
  const auto founders = settings_.configuration.voters();
  voters_ = VoterSet{{founders.begin(), founders.end()}, {}};
  for (const auto& each : committed_) {
    if (each.outcome.applied) apply_command(reference_, each.entry.command, each.entry.index);
    if (const auto* change = std::get_if<SetVoters>(&each.entry.command)) voters_ = change->voters;
    if (const auto* takeover = std::get_if<TakeOver>(&each.entry.command)) voters_ = VoterSet{{takeover->server}, {}};
  }
  states_.clear();
  states_[backup.size()] = reference_;
  compared_.clear();
  stalled_.clear();
  std::erase_if(requests_, [&](const auto& known) {
    return std::none_of(backup.begin(), backup.end(), [&](const auto& entry) { return std::pair(entry.origin, entry.request) == known; });
  });
  history_.restored(backup.size());
  maintenance_.restored();
  policy_.restored();
  truth_.everybody_lost_power();
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
    if (const auto* takeover = std::get_if<TakeOver>(&entry.command)) {
      if (takeover->author.empty()) check_end_before(*takeover, entry);
      voters_ = VoterSet{{takeover->server}, {}};
      rights_[takeover->server] = server.boot();
    }
    check_majority(server, entry);
    if (entry.request != 0 && !requests_.insert({entry.origin, entry.request}).second)
      throw Violation("once", fmt::format("request {} of server {} was recorded twice, again as entry {}",
                                          entry.request, entry.origin, entry.index));
    committed_.push_back({entry, applied.outcome, server.id()});
    newly_committed(entry, applied.outcome);
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

/// W7: nobody's word, but that of the other one itself, which has not been let go on since.
void Checkers::check_end_before(const TakeOver& takeover, const database::Entry& entry) const {
  const auto configuration = known_configuration(reference_.configuration_text);
  if (configuration->np == NpKind::kDisk && settings_.shared_disk->names(takeover.server)) return world_.count("went on by the disk");
  const bool by_ping = configuration->np == NpKind::kPing;
  const auto heard = heard_target_.find(takeover.server);
  if (by_ping && heard != heard_target_.end() && heard->second) return world_.count("went on by ping targets");
  world_.count("went on by itself after an end");
  for (const auto& configured : configuration->servers) {
    const ServerId id = configured.id;
    const auto& server = servers_.at(id);
    if (id == takeover.server) continue;
    const bool alone = server->running() && server->node().taken_over();
    if (reference_.server(id).standing != ServerStanding::kStopped || reference_.shut_down || alone)
      throw Violation("right", fmt::format("entry {}: server {} goes on by itself although server {} {}", entry.index, takeover.server, id,
                                           alone ? "decides alone" : by_ping ? "was not shut down in order, nor has a ping target answered since that was lost"
                                                   : "was not shut down in order"));
  }
}

/// An operator let this server go on alone: that is in its log where this entry is, or above, and so the entry is committed by it.
ServerId Checkers::taken_over_at(const Server& server, uint64_t index) const {
  const auto& log = server.disk().stored().entries;
  for (size_t place = index - 1; place < log.size(); ++place)
    if (const auto* takeover = std::get_if<TakeOver>(&log[place].command)) return takeover->server;
  return {};
}

/// A joint entry begins from what is settled, a settling one ends the joint one before it.
void Checkers::check_change(const VoterSet& changed, const database::Entry& entry) const {
  const bool fits = changed.joint() ? !voters_.joint() && changed.before == voters_.now
                                    : voters_.joint() && changed.now == voters_.now;
  if (!fits && changed.now != changed.before)  // else it is a recovery
    throw Violation("voters", fmt::format("entry {} ({}, epoch {}) does not follow from the change before", entry.index,
                                          describe(entry.command), entry.epoch));
}

void Checkers::newly_committed(const database::Entry& entry, const Applied& outcome) {
  const ClusterState before = reference_;
  const Applied judged = apply_command(reference_, entry.command, entry.index);
  if (judged.applied != outcome.applied || judged.refusal != outcome.refusal)
    throw Violation("state", fmt::format("entry {} was judged otherwise than by the rules", entry.index));
  history_.committed(entry, outcome);
  states_[entry.index] = reference_;
  while (states_.size() > 256) states_.erase(states_.begin());
  if (!outcome.applied) return count_refused(entry);
  truth_.committed(entry, before, reference_);
  maintenance_.committed(entry, before, reference_);
  policy_.committed(entry, reference_);
  check_reason(entry, before);
  check_np(entry, before);
}

/// Of what T9 and K1 are about.
void Checkers::count_refused(const database::Entry& entry) const {
  const auto before = known_configuration(reference_.configuration_text);
  if (!before) return;
  const auto* rotation = std::get_if<RotateKeys>(&entry.command);
  if (rotation != nullptr && rotation->step == RotateKeys::Step::kBegin && may_go_on_by_itself(before->np))
    world_.count("rotations refused beside an arbiter");
  const auto* apply = std::get_if<ApplyConfiguration>(&entry.command);
  if (apply != nullptr && known_configuration(apply->text)->np != before->np) world_.count("changes of np refused");
}

/// T9, Q7: what decides between two servers changes by way of the operator, not away from targets that have let one go on, and
/// keys are not replaced beside a disk or targets.
void Checkers::check_np(const database::Entry& entry, const ClusterState& before) const {
  if (before.configuration_version == 0) return;
  const NpKind then = known_configuration(before.configuration_text)->np;
  const NpKind now = known_configuration(reference_.configuration_text)->np;
  const auto violated = [&](const std::string& what) {
    throw Violation("np", fmt::format("entry {} ({}): np is \"{}\" after \"{}\", {}", entry.index, describe(entry.command), to_string(now),
                                      to_string(then), what));
  };
  if (now != then && may_go_on_by_itself(now) && may_go_on_by_itself(then)) violated("in one step");
  if (now != then && then == NpKind::kPing && before.taken_over != ServerId{})
    violated(fmt::format("while server {} decides alone", before.taken_over));
  if (may_go_on_by_itself(now) && reference_.keys.under_way()) violated("while the key is being replaced");
}

/// I4: a move says why, and what led to it.
void Checkers::check_reason(const database::Entry& entry, const ClusterState& before) const {
  const auto missing = [&](const char* what) {
    throw Violation("reason", fmt::format("entry {} ({}) has no {}", entry.index, describe(entry.command), what));
  };
  if (const auto* assign = std::get_if<AssignGroup>(&entry.command)) {
    if (assign->reason.empty()) missing("reason");
    if (before.groups.at(assign->group).owner != ServerId{} && assign->causes.empty()) missing("causes");
    if (reference_.groups.at(assign->group).reason != assign->reason) missing("reason in the state");
  } else if (const auto* phase = std::get_if<SetGroupPhase>(&entry.command)) {
    if (phase->reason.empty()) missing("reason");
  } else if (const auto* set = std::get_if<SetInSync>(&entry.command)) {
    if (set->reason.empty()) missing("reason");
  }
}

/// By the voters of the newest change up to this entry, itself included; of both sets until the leader (which is the first to
/// apply an entry) has a settling one in its log (V1).
void Checkers::check_majority(const Server& leader, const database::Entry& entry) const {
  if (const ServerId alone = taken_over_at(leader, entry.index); alone != ServerId{}) return check_majority_of({alone}, entry);
  // R1: what a recovery found counts as committed by those who decide since.
  const Epoch lineage = leader.node().lineage();
  if (lineage != node::kNoLineage && entry.epoch <= lineage) return check_majority_of(leader.node().voters().now, entry);
  check_majority_of(voters_.now, entry);
  const bool change_itself = std::holds_alternative<SetVoters>(entry.command);
  const bool settled_later = !change_itself && leader.node().voters() == VoterSet{voters_.now, {}};
  if (voters_.joint() && !settled_later) check_majority_of(voters_.before, entry);
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
  history_.answered(server.id(), decided.request, decided.decided, decided.outcome);
}

void Checkers::stepped(Server& server) {
  if (server.take_ownership_changed()) check_one_owner();
  if (!server.running()) return;
  check_leader(server);
  check_state(server);
  check_right(server);
}

/// W4: who decides alone was told to since its power was on, or the other one is there.
void Checkers::check_right(const Server& server) {
  // What the targets had said when it began to, whatever comes before the entry is committed.
  auto& [start, alone] = known_alone_[server.id()];
  if (start == server.start() && !alone && server.node().taken_over())
    heard_target_[server.id()] = settings_.ping_targets->answered_since_loss(server.id());
  start = server.start();
  alone = server.node().taken_over();
  if (!server.node().taken_over() || !server.node().standing().serving) return;
  const auto& peers = server.node().peers();
  const bool together = std::any_of(peers.begin(), peers.end(), [&](const auto& peer) {
    return peer.first != server.id() && peer.second.in_view;
  });
  if (together) {
    rights_[server.id()] = server.boot();
  } else if (rights_[server.id()] != server.boot() && server.node().configuration().np == NpKind::kDisk &&
             settings_.shared_disk->names(server.id())) {
    world_.count("went on by the disk after a start");
    rights_[server.id()] = server.boot();
  } else if (rights_[server.id()] != server.boot()) {
    throw Violation("right", fmt::format("server {} decides alone, and nobody has told it to since it was switched on", server.id()));
  }
}

/// The state at an index is the same everywhere, and what a program has read it never reads an older state of.
void Checkers::check_state(const Server& server) {
  const uint64_t index = server.node().standing().committed;
  const std::pair now{server.start(), index};
  auto& compared = compared_[server.id()];
  if (index == 0 || index > committed_.size() || compared == now) return;
  if (compared.first == now.first && index < compared.second)
    throw Violation("linearizable", fmt::format("server {} goes back from entry {} to {}", server.id(), compared.second, index));
  compared = now;
  const auto known = states_.find(index);
  if (known != states_.end() && !(known->second == server.node().state()))
    throw Violation("state", fmt::format("the state after entry {} is another one at server {}", index, server.id()));
}

/// I1: at most one server has, by its own knowledge and clock, the group with something of it up, and the right
/// to hold it. And, whatever they believe, a resource serves at one server at most.
void Checkers::check_one_owner() const {
  std::vector<const Server*> valid;
  for (const auto& [id, server] : servers_)
    if (server->lease_page_valid()) valid.push_back(server.get());
  if (valid.size() < 2) return;
  for (const auto& group : settings_.configuration.groups) {
    const Server* owner = nullptr;
    for (const Server* server : valid) {
      if (!server->believes_to_own(group.name)) continue;
      if (!server->anything_up(group.name)) continue;  // released, and not told yet that this is committed
      if (owner != nullptr)
        throw Violation("one owner", fmt::format("servers {} and {} both own the group {} and have a lease",
                                                 owner->id(), server->id(), group.name));
      owner = server;
    }
  }
  for (const auto& [group, key] : exclusive_) {
    const Server* serves = nullptr;
    for (const Server* server : valid) {
      if (!server->is_up(key)) continue;
      if (serves != nullptr)
        throw Violation("one server", fmt::format("{} serves on servers {} and {}", key, serves->id(), server->id()));
      serves = server;
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
  // While no voter has promised another epoch, this leader's state is the present one: nothing that was answered lacks.
  if (leaders_.rbegin()->first == standing.epoch && standing.committed < history_.answered_up_to())
    throw Violation("linearizable", fmt::format("server {} leads with {} entries, but entry {} was answered", server.id(),
                                                standing.committed, history_.answered_up_to()));
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

/// I5. A server that does not serve says why; a wanted group that does not start has a reason; what an owner carries out has
/// a deadline.
void Checkers::look_at_waits() {
  maintenance_.look();
  for (const auto& [id, server] : servers_)
    if (server->running() && !server->paused()) check_waiting(*server);
}

void Checkers::check_waiting(const Server& server) {
  const auto& node = server.node();
  const auto& standing = node.standing();
  if (!standing.serving) {
    if (standing.waiting.empty())
      throw Violation("wait", fmt::format("server {} does not serve and does not say why", server.id()));
    return;
  }
  std::optional<planner::Plan> plan;
  if (standing.leader == server.id()) plan = node.plan(server.local_now());
  for (const auto& [name, group] : node.state().groups) {
    bool explained = true;
    const bool is_down = group.phase == GroupPhase::kStopped || group.phase == GroupPhase::kFailed;
    if (is_down && group.wanted && plan) {
      const auto waits = plan->waiting.find(name);
      explained = (waits != plan->waiting.end() && !waits->second.empty()) ||
                  std::any_of(plan->steps.begin(), plan->steps.end(), [&](const auto& step) { return step.group == name; });
    } else if (group.owner == server.id() && group.phase != GroupPhase::kStarted && server.lease_page_valid()) {
      const auto* run = node.run(name);
      explained = run != nullptr && (run->all_up() || run->all_down() || run->next_tick() != kNever);
    }
    const Stalled now{server.start(), group.version};
    const auto seen = stalled_.find({server.id(), name});
    if (explained) {
      if (seen != stalled_.end()) stalled_.erase(seen);
    } else if (seen != stalled_.end() && seen->second == now) {
      throw Violation("wait", fmt::format("group {} is {} and waits at server {}, without a reason or a deadline", name,
                                          to_string(group.phase), server.id()));
    } else {
      stalled_[{server.id(), name}] = now;
    }
  }
}

bool Checkers::holds_all(const std::vector<database::Entry>& log) const {
  for (size_t place = 0; place < committed_.size(); ++place)
    if (place >= log.size() || !(log[place] == committed_[place].entry)) return false;
  return true;
}

void Checkers::at_the_end() const {
  for (const auto& [id, server] : servers_) {
    if (!voters_.contains(id)) continue;
    const auto& log = server->disk().stored().entries;
    for (size_t place = 0; place < committed_.size(); ++place)
      if (place >= log.size() || !(log[place] == committed_[place].entry))
        throw Violation("durable", fmt::format("server {} lacks committed entry {} at the end", id, place + 1));
  }
}

}  // namespace baton::sim
