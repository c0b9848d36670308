// Two servers without a third vote: whether this one may decide alone, and what an operator is shown before he lets it. Pure.
// docs/protocol.md, "Partitions and takeover".
#include <algorithm>

#include "src/core/node/node_state.h"
#include "src/model/known_configuration.h"

namespace baton::node {

namespace {
/// The other one is a member, but no epoch comes to serve: for so long that is not an operator's affair.
constexpr Duration kStuck = 10s;
}  // namespace

bool NodeCore::Implementation::alone_by_log() const {
  return database.taken_over() && database.voters().contains(settings.self);
}

ServerId NodeCore::Implementation::other_server() const {
  const VoterSet& voters = database.voters();
  ServerId first;
  for (const auto* set : {&voters.now, &voters.before})
    for (const ServerId server : *set)
      if (server != settings.self && (first == ServerId{} || server < first)) first = server;
  if (first != ServerId{}) return first;
  for (const auto& server : configuration.servers)
    if (server.id != settings.self) return server.id;
  return {};
}

/// The configured ones, also before this server knows what of its log is committed.
std::set<ServerId> NodeCore::Implementation::servers_on_disk() const {
  std::set<ServerId> servers;
  for (const auto& server : configuration_on_disk().servers) servers.insert(server.id);
  return servers;
}

void NodeCore::Implementation::watch_right() {
  const bool serving = database.standing().serving;
  const bool seen = sees_other();
  if (seen || sees_other_now) other_seen = now;
  sees_other_now = seen;
  go_on_after_an_end();
  watch_disk();
  watch_ping();
  describe_own_end();
  if (serving) {
    not_serving_since = kNever;
    operator_called = false;
  } else if (not_serving_since == kNever) {
    not_serving_since = now;
  }
  if (alone_by_log()) {
    const uint64_t gaps = guard ? guard->knowledge.gaps : 0;
    // SAFETY: W4. Its guard has not run for long: an operator may have let the other one go on.
    if (right != 0 && guard && right != gaps) {
      right = 0;
      note({.kind = "problem", .text = "this server decided alone and was paused for long: it goes on with the other one, or by "
                                       "an operator's word (baton cluster takeover)"});
      tell_database_right();
    }
    if (right == 0 && guard && database.standing().serving) {  // all have agreed
      right = gaps;
      right_by = kNever;
    }
  } else {
    right = 0;
  }
  tell_database_right();
  if (!serving) call_operator();
}

/// SAFETY: W5. The guard has to know first that there is no right any more: the next batond would take it from there. Until it answers
/// nothing else is done here.
void NodeCore::Implementation::yield(const Event& event) {
  right = right_on_disk = 0;
  if (const auto* reported = std::get_if<GuardReported>(&event)) {
    if (!guard || guard->start != reported->report.start) told.reset();
    guard = reported->report;
  } else if (std::holds_alternative<GuardGone>(event)) {
    guard.reset();
    told.reset();
  }
  tell_guard();
  if (started_anew || !guard || guard->teller != settings.start || guard->number < tell_number) return;
  started_anew = true;
  out().push_back(StartAnew{"the other server was let go on alone later than this one: what this one decided alone is given up"});
}

void NodeCore::Implementation::tell_database_right() {
  if (!database.taken_over() && !told_right.right) return;
  database::AloneRight wanted;
  wanted.right = right != 0;
  wanted.by_itself = by_ping();
  wanted.everybody = told_right.everybody.empty() || wanted.right != told_right.right ? servers_on_disk() : told_right.everybody;
  if (wanted.right == told_right.right && wanted.everybody == told_right.everybody && wanted.by_itself == told_right.by_itself) return;
  told_right = wanted;
  feed_database(wanted);
}

/// The wait for the other server has a limit; after that somebody has to look.
void NodeCore::Implementation::call_operator() {
  if (operator_called || !may_call_operator(configuration.np) || now < not_serving_since + configuration.np_wait) return;
  operator_called = true;
  note({.kind = "alert", .text = partition_waiting(now)});
}

std::string NodeCore::Implementation::partition_waiting(Instant when) const {
  if (database.standing().serving) return {};
  if (const std::string text = why_gate_waits(); !text.empty()) return text;
  if (!may_call_operator(configuration.np)) return database.standing().waiting;
  const std::string other = configuration.server_name(other_server());
  if (rival_met)
    return "both servers decided alone, and each has what the other one lacks: everything here is frozen until a person says whose data stays "
           "(baton cluster takeover, on that server)";
  const auto peer = peers.find(other_server());
  if (peer != peers.end() && peer->second.in_view) {
    const std::string left_out = own_end.empty() || alone_by_log() ? "" : "; " + own_end;
    const bool stuck = not_serving_since != kNever && when >= not_serving_since + kStuck && !database.standing().waiting.empty() &&
                       left_out.empty();
    return database.standing().waiting + left_out + (stuck ? ". By a person's word: baton cluster takeover, on the server whose data stays (what "
                                                  "the other one has beyond that is given up)" : "");
  }
  const std::string what = stood_down != kNever ? "this server, which went on alone, stands down"
                           : alone_by_log()   ? "this server was let go on alone, and was switched on (or paused for long) since"
                                              : fmt::format("{} is not reached, and two servers without a witness decide together", other);
  const std::string left_out = own_end.empty() || alone_by_log() ? "" : "; " + own_end;
  const std::string arbiter = arbiter_waiting();
  const Duration left = not_serving_since == kNever ? Duration{0} : not_serving_since + configuration.np_wait - when;
  const std::string until = left > Duration{0} ? fmt::format(" (for {} s more before somebody is called)", left / 1s + 1) : "";
  return fmt::format("{}{}{}: everything here is frozen and waits for {}{}. If that is off, or cut off, and to stay so: baton cluster "
                     "takeover", what, left_out, arbiter, other, until);
}

// ---- What an operator is shown ----

std::string NodeCore::Implementation::describe_copy(const TakenOver& states, const std::string& key, bool& loses) const {
  const std::string other = configuration.server_name(other_server());
  const auto& record = states.after.mirrors.at(key);
  const auto member = record.in_sync.find(settings.self);
  const auto own = reports.find(settings.self);
  const MirrorReport* report = own == reports.end() || !own->second.contains(key) ? nullptr : &own->second.at(key);
  if (record.unknown) {
    loses = true;
    return fmt::format("which copies of mirror {} have everything is not known since the database was restored", key);
  }
  if (record.in_sync.empty()) return fmt::format("mirror {} was never used", key);
  if (member == record.in_sync.end()) {
    loses = true;
    if (states.before.mirrors.at(key).in_sync.contains(settings.self))
      return fmt::format("the copy of mirror {} here was in sync when this server was left out of decisions; {} may have gone on without "
                         "it since, and it may lack what was answered then. Its group does not start by this alone", key, other);
    return fmt::format("the copy of mirror {} here was not in sync: it lacks acknowledged writes that {} has. Its group does not start "
                       "by this alone", key, other);
  }
  if (report == nullptr)
    return fmt::format("the copy of mirror {} here was in sync; whether it was stopped in order is seen when its daemon runs", key);
  if (report->incarnation == member->second && report->consistent && !report->detached)
    return fmt::format("the copy of mirror {} here has everything that was acknowledged before the servers lost each other: nothing "
                       "is lost unless {} was let go on alone", key, other);
  loses = true;
  return fmt::format("the copy of mirror {} here was in sync, but {}. Its group does not start by this alone", key,
                     report->detached     ? "its disk has failed"
                     : !report->consistent ? "is inconsistent now"
                                           : "restarted uncleanly since: it may lack writes that were answered and not flushed");
}

/// What of maintenance and standings will go on here, or hold up the groups.
std::vector<std::string> NodeCore::Implementation::describe_maintenance(const ClusterState& state) const {
  std::vector<std::string> facts;
  const std::string name = configuration.server_name(settings.self);
  const ServerState& self = state.server(settings.self);
  const auto add = [&](const std::string& what, const std::string& help) { facts.push_back(fmt::format("{} (baton {})", what, help)); };
  const bool asked_of_this_start = self.shutdown && self.standing != ServerStanding::kStopped &&
                                   self.shutdown->lives.contains(settings.self) &&
                                   self.shutdown->lives.at(settings.self) == settings.start;
  if (state.shutdown && !state.shut_down)
    add(fmt::format("the cluster is being shut down by {}: that goes on", state.shutdown->author), "cluster shutdown --cancel");
  if (asked_of_this_start)
    add(fmt::format("{} is being shut down by {}: that goes on, and then nobody is left", name, self.shutdown->author),
        fmt::format("server shutdown {} --cancel", name));
  if (state.suspension)
    add(fmt::format("the cluster is suspended by {}: nothing starts by itself", state.suspension->author), "cluster resume");
  if (self.suspension)
    add(fmt::format("{} is suspended by {}: it gets no group", name, self.suspension->author), fmt::format("server resume {}", name));
  if (self.drain)
    add(fmt::format("{} is being drained by {}: it gets no group", name, self.drain->author), fmt::format("server undrain {}", name));
  if (self.standing == ServerStanding::kIsolated)
    add(fmt::format("{} is isolated (Od): it gets no group", name), fmt::format("server return {}", name));
  return facts;
}

/// SAFETY: W1. Nobody else has a vote that would not be asked, not even by a change that is on its way.
bool NodeCore::Implementation::two_decide_by_operator(const Configuration& parsed) const {
  const auto voters = database.voters().all();
  const bool others_vote =
      std::any_of(voters.begin(), voters.end(), [&](ServerId voter) { return parsed.server(voter) == nullptr; });
  return may_call_operator(parsed.np) && parsed.servers.size() == 2 && !others_vote;
}

/// W1. `parsed`: the configuration by this server's own log.
Status NodeCore::Implementation::may_decide_alone(const Configuration& parsed) const {
  const std::string other = configuration.server_name(other_server());
  if (!may_call_operator(parsed.np))
    return fail_as(ErrorCode::kConflict, "only one of two servers with np = \"operator\", \"disk\" or \"ping\" can be let go on alone (np is \"{}\"): this "
                   "cluster goes on when a majority is there", to_string(parsed.np));
  // SAFETY: R2, R6.
  if (gate.shut()) return fail_as(ErrorCode::kConflict, "{}", why_gate_waits());
  // SAFETY: W1. Nor may anybody who has no vote: a witness that was taken away, a server that has left.
  if (parsed.server(settings.self) == nullptr || !database.voters().contains(settings.self))
    return fail_as(ErrorCode::kConflict, "this server has no vote (any more): only one of the two servers can be let go on alone");
  if (!two_decide_by_operator(parsed))
    return fail_as(ErrorCode::kConflict, "a change of the servers is under way, and others vote than these two");
  // SAFETY: W2. Who decided alone by a recovery or a restore, or because it was the only server, needs nobody's word to do so again, and
  // may not have on its disk yet that this one votes.
  const VoterSet& voters = database.voters();
  if (voters.joint() && !voters.before.contains(settings.self) && database.state_on_disk().taken_over == ServerId{})
    return fail_as(ErrorCode::kConflict, "this server was just to get a vote, and {} may not know of it: start {}", other, other);
  // SAFETY: W1. The entry would take from it what it has: after a power loss it would wait for the other one.
  if (voters.all() == std::set<ServerId>{settings.self} && !database.taken_over())
    return fail_as(ErrorCode::kConflict, "this server is the only voter: it decides alone, and needs no word for it. What it waits for: {}",
                   database.standing().waiting);
  if (!database.standing().counting)
    return fail_as(ErrorCode::kConflict, "the cluster database of this server was lost or has never caught up: it does not know "
                   "what the cluster's state was. Start {}", other);
  if (!guard) return fail_as(ErrorCode::kUnavailable, "baton-guard cannot be reached on this server: repeat when it runs again");
  return {};
}

/// W1. And is it time that a person says so? `state`: by this server's own log.
Status NodeCore::Implementation::may_take_over(Instant when, const Configuration& parsed, const ClusterState& state) const {
  if (auto possible = may_decide_alone(parsed); !possible) return possible;
  const std::string other = configuration.server_name(other_server());
  if (sees_other() && when < not_serving_since + kStuck)
    return fail_as(ErrorCode::kUnavailable, "{} is a member, and the two have not agreed yet: repeat in {} s if that does not change",
                   other, kStuck / 1s);
  if (ending) return fail_as(ErrorCode::kConflict, "Baton ends on this server: it was shut down");
  // SAFETY: W7. What the other one's guard holds of a lease from here has ended.
  const Instant alone_since = sees_other() ? not_serving_since : std::max(not_serving_since, other_seen);
  if (when < alone_since + guard::with_drift(configuration.timing.lease))
    return fail_as(ErrorCode::kUnavailable, "the servers have only just lost each other, or this one has just started: repeat in a "
                   "moment");
  // SAFETY: W4, W7. It keeps its right for so long while it stands still.
  const Duration gap = guard::with_drift(guard::kLongGap + configuration.timing.lease + configuration.timing.token);
  const bool may_have_gone_on = parsed.np == NpKind::kPing;  // T8: nothing here says whether it did
  const bool other_alone = state.taken_over == other_server() || left_out_by_own_end(state) || disk_lock.others() || may_have_gone_on;
  const char* went_on = may_have_gone_on ? "may have gone on" : "went on";
  // SAFETY: W1. The guard alone goes on by its right, whatever has become of its batond.
  const auto peer = peers.find(other_server());
  const bool answers = peer != peers.end() && peer->second.in_view && !peer->second.silent && peer->second.life != 0;
  if (other_alone && sees_other() && !answers)
    return fail_as(ErrorCode::kConflict, "baton-guard runs on {}, which {} alone, and its batond does not answer: it may hold groups "
                   "there. Have batond run again there, or switch its power off, first", other, went_on);
  if (other_alone && when < alone_since + gap)
    return fail_as(ErrorCode::kUnavailable, "{} {} alone, and may only stand still for a moment: repeat in {} s", other, went_on,
                   (alone_since + gap - when) / 1s + 1);
  return may_overrule_disk(when, gap);
}

bool NodeCore::Implementation::sees_other() const {
  const auto peer = peers.find(other_server());
  return (peer != peers.end() && peer->second.in_view) || (guard && guard->members.contains(other_server()));
}

Result<TakeoverOffer> NodeCore::Implementation::offer_takeover(Instant when, const std::string& author) const {
  const std::string other = configuration.server_name(other_server());
  if (database.standing().serving)
    return fail_as(ErrorCode::kConflict, "there is nothing to take over: a majority is here and decides");
  const ClusterState state = database.state_on_disk();
  const auto parsed = known_configuration(state.configuration_text);
  if (!parsed) return fail_as(ErrorCode::kConflict, "this server has no configuration yet: start {}", other);
  if (required_level(TakeOver{}) > state.format_level)
    return fail_as(ErrorCode::kConflict, "not both servers are known to understand a takeover: upgrade Baton on both, and have both up once");
  if (const auto possible = may_take_over(when, *parsed, state); !possible) return pass(possible);
  TakeoverOffer offer;
  offer.version = database.standing().last_index;
  offer.facts.push_back(sees_other() ? fmt::format("{} is a member, but the two cannot decide together", other)
                                     : fmt::format("{} has not been reached for {} s", other, (when - not_serving_since) / 1s));
  if (!sees_other() && when < not_serving_since + parsed->np_wait)
    offer.facts.push_back(fmt::format("it may still be starting: np_wait ({}) is not over", format_duration(parsed->np_wait)));
  add_disk_facts(offer, when);
  add_ping_facts(offer);
  if (state.taken_over == other_server()) {
    offer.loses = true;
    offer.facts.push_back(fmt::format("{} WAS LET GO ON ALONE, and the two have not decided together since: what it has answered by itself "
                                      "would be given up", other));
  }
  if (left_out_by_own_end(state)) {
    offer.loses = true;
    offer.facts.push_back(fmt::format("this server was shut down in order, and {} WENT ON ALONE: what it has answered since would be given "
                                      "up", other));
  }
  offer.facts.push_back(fmt::format("what {} runs without this server (only if somebody has let it go on alone, too) would be given "
                                    "up, and meanwhile both would answer clients: make sure that nobody has", other));
  offer.command = {settings.self, fmt::format("{} is not reached", other), author};
  ClusterState after = state;
  apply_command(after, offer.command, offer.version + 1);
  for (const auto& group : parsed->groups)
    for (const auto& resource : group.resources)
      if (resource.kind == ResourceKind::kMirror && state.mirrors.contains(mirror_key(group.name, resource.name)))
        offer.facts.push_back(describe_copy({state, after}, mirror_key(group.name, resource.name), offer.loses));
  for (auto& fact : describe_maintenance(state)) offer.facts.push_back(std::move(fact));
  return offer;
}

}  // namespace baton::node
