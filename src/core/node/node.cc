// Events in, actions out: delivers what happens to database, lease and groups, and collects what they want done.
// Pure. docs/protocol.md.
#include "src/core/node/node.h"

#include <algorithm>

#include "src/base/assert.h"
#include "src/core/node/node_state.h"
#include "src/model/known_configuration.h"

namespace baton::node {

namespace {
constexpr int kBeatsInSilence = 8;  // one that sends none for a lease is silent: seven may be lost or late
constexpr Duration kProposeAgain = 200ms;
constexpr uint64_t kRequestsOfAStart = uint64_t{1} << 24;

std::set<ServerId> founders(const Settings& settings) {
  const auto ids = settings.founding.voters();
  return settings.joined ? std::set<ServerId>{} : std::set<ServerId>(ids.begin(), ids.end());
}

database::Settings database_settings(const Settings& settings) {
  database::Settings made;
  made.self = settings.self;
  made.voters = founders(settings);
  made.append_entries = settings.most_entries;
  made.settle_after = guard::with_drift(settings.founding.timing.lease);
  return made;
}

const char* describe(Departure departure) {
  switch (departure) {
    case Departure::kServerDown: return "it left the cluster's membership (power, network or corosync)";
    case Departure::kProcessDown: return "its batond ended; the server itself is still a member";
    case Departure::kLeft: return "its batond was stopped";
  }
  return "?";
}
}  // namespace

NodeCore::Implementation::Implementation(const Settings& given, database::StoredVoter stored, Instant start)
    : settings(given), configuration(given.founding), database(database_settings(given), std::move(stored)),
      gate(given.self, database.standing().counting ? database.lineage() : kNoLineage, given.given_up),
      silence(given.self, given.start), now(start), not_serving_since(start), disk_lock(given.self, given.start, start),
      started_at(start), published_until(given.published_lease),
      lapsed_since(given.published_lease > start ? kNever : start),
      next_request((given.start % (uint64_t{1} << 39)) * kRequestsOfAStart) {
  // SAFETY: R1. A recovery that is not settled yet: it may have been a moment ago.
  if (const auto& voters = database.voters(); voters.joint() && voters.now == voters.before) recovered_at = start;
  database.set_lease_account(
      [](void* node, Instant when, database::Database::Grants grants) {
        return static_cast<Implementation*>(node)->lease_left(when, grants);
      },
      this);
}

void NodeCore::Implementation::step(Instant when, const Event& event, std::vector<Action>& wanted) {
  BATON_ASSERT(when >= now);
  now = when;
  actions = &wanted;
  nothing_new = false;
  if (!yields) {
    take(event);
    follow_lineage();
  }
  if (yields) {
    yield(event);
    actions = nullptr;
    return;
  }
  watch_silence();
  watch_right();
  watch_start();
  suspend_or_kill();
  look_after_all();
  tell_guard();
  release_held();
  note_guard();
  carry_out_fences();
  send_beat_if_due();
  watch_end();
  actions = nullptr;
}

/// Every server is there and heard, and nothing is being decided.
bool NodeCore::Implementation::undisturbed() const {
  const bool all_here = std::all_of(configuration.servers.begin(), configuration.servers.end(), [&](const auto& server) {
    const auto peer = peers.find(server.id);
    return peer != peers.end() && peer->second.in_view && !peer->second.silent;
  });
  return all_here && database.standing().serving && proposals.empty();
}

/// With many groups this is most of what a step costs. In an undisturbed cluster a beat and a guard's report that say nothing new, which
/// is most of what comes, leave it to the next other event: that at which this server's own beat is due, at the latest.
void NodeCore::Implementation::look_after_all() {
  const Looked present{lease_lapsed(), settled};
  const bool own_beat_is_due = now >= beat_at || report_changed;
  const bool quiet = nothing_new && actions->empty() && present == looked && !present.lapsed && !own_beat_is_due && undisturbed();
  looked = present;
  if (quiet) return;
  tick_runs();
  manage_groups();
  watch_keys();
  if (leads()) lead();
}

void NodeCore::Implementation::handle(const ViewChanged& event) {
  std::set<ServerId> servers = event.members;
  for (const auto& server : configuration.servers) servers.insert(server.id);
  for (const auto voter : servers) {
    auto& peer = peers[voter];
    const bool member = event.members.contains(voter);
    if (peer.in_view && !member) {
      const auto departed = event.departed.find(voter);
      peer.departure = departed == event.departed.end() ? Departure::kServerDown : departed->second;
      peer.absent_since = now;
      note_departure(voter, peer.life);
      peer.life = peer.format_level = 0;
      if (voter != settings.self) reports.erase(voter);  // its own come from its own mirror daemons
      if (voter != settings.self && !event.members.empty()) {
        const bool in_order = database.state().server(voter).standing == ServerStanding::kStopped;
        const std::string text = in_order
            ? fmt::format("{} has left: it was shut down in order", configuration.server_name(voter))
            : fmt::format("{} lost: {}", configuration.server_name(voter), describe(peer.departure));
        note({.kind = "membership", .text = text, .everywhere = true});
        if (peer.departure == Departure::kServerDown) out().push_back(PeerGone{voter, text});
      }
    } else if (!peer.in_view && member && voter != settings.self) {
      note({.kind = "membership", .text = fmt::format("{} is a member", configuration.server_name(voter)), .everywhere = true});
    }
    if (!member && peer.absent_since == Instant{}) peer.absent_since = now;
    peer.in_view = member;
    peer.silent = false;
    if (member && left_in_order == voter) left_in_order = ServerId{};
  }
  if (event.members.empty() && !gate.shut()) {
    note({.kind = "membership", .text = "the connection to corosync is lost: this server is alone until it is back"});
  }
  members = event.members;
  view_since = now;
  silence.view_changed(now, members);
  heard_since.clear();
  ring_keys.clear();
  copies_heard.clear();
  feed_database(database::ViewChanged{members});
  beat_at = now;
}

void NodeCore::Implementation::handle(const MessageReceived& event) {
  if (const auto* message = std::get_if<database::Message>(&event.message)) {
    feed_database(database::MessageReceived{event.from, *message});
    return;
  }
  const auto* beat = std::get_if<BeatMessage>(&event.message);
  if (beat == nullptr || !members.contains(event.from)) return;
  const bool first = event.from != settings.self && silence.last_heard(event.from) == Instant{};
  if (silence.last_heard(event.from) == Instant{}) heard_since[event.from] = now;
  for (const auto& [mirror, report] : beat->mirrors) copies_heard[event.from][mirror] = now;
  silence.beat_received(now, event.from, beat->start, beat->sequence);
  auto& peer = peers[event.from];
  if (peer.silent) {
    peer.silent = false;
    note({.kind = "membership", .text = fmt::format("{} answers again", configuration.server_name(event.from)), .everywhere = true});
    tell_database_who_is_silent();
  }
  auto& ring_key = ring_keys[event.from];
  const uint32_t level = std::max(beat->format_level, 1U);
  const bool same = !first && peer.life == beat->start && ring_key == beat->ring_key && peer.format_level == level;
  peer.life = beat->start;
  ring_key = beat->ring_key;
  peer.format_level = level;
  nothing_new = same;
  if (event.from == settings.self) return;
  take_account(*beat);
  auto& known = reports[event.from];
  nothing_new = same && known == beat->mirrors;
  known = beat->mirrors;
  // A new one needs our reports soon. And beats that follow one another at once share the rounds of corosync's token.
  if (first || now >= beat_at - beat_interval() / 2) beat_at = now;
}

void NodeCore::Implementation::handle(const MirrorReported& event) {
  auto& known = reports[settings.self][event.mirror];
  // What decides promotions is told at once; progress goes with the next beat.
  if (known.incarnation != event.report.incarnation || known.consistent != event.report.consistent ||
      known.link != event.report.link || known.role != event.report.role || known.detached != event.report.detached ||
      (known.generation.counter == 0) != (event.report.generation.counter == 0))
    report_changed = true;
  known = event.report;
}

void NodeCore::Implementation::handle(const MirrorGone& event) {
  if (reports[settings.self].erase(event.mirror) > 0) report_changed = true;
}

void NodeCore::Implementation::handle(const MirrorProposed& event) {
  propose("mirror " + event.change.mirror, event.change, event.wall_ms);
}

void NodeCore::Implementation::handle(const StepDone& event) {
  if (return_done(event)) return;
  for (auto& [name, run] : runs) {
    if (!run->has(event.token)) continue;
    run->step_done(now, event.token, event.ok, event.detail);
    return;
  }
}

void NodeCore::Implementation::handle(const ResourceFailed& event) {
  auto found = runs.find(event.group);
  if (found == runs.end()) return;
  // The guard drops addresses when the lease ends: no failure of theirs, they are suspended.
  const auto* resource = found->second->configuration().find(event.resource);
  if (lease_lapsed() && resource != nullptr && resource->kind == ResourceKind::kAddress) return;
  note({.kind = "problem", .group = event.group, .text = fmt::format("{} failed: {}", event.resource, event.reason),
        .resource = event.resource});
  found->second->resource_failed(now, event.resource, event.reason);
}

void NodeCore::Implementation::handle(const CheckDone& event) {
  for (auto& [name, run] : runs)
    if (run->check_done(now, event.token, event.verdict, event.detail, event.position)) return;
}

/// A voter that does not know a command could not judge it: it is not even proposed.
std::string NodeCore::Implementation::why_not_understood(const Command& command) const {
  if (required_level(command) <= database.state().format_level) return {};
  return fmt::format("not every voter is known to understand this command (level {}, the cluster has {}): "
                     "upgrade Baton on all servers and the witness, and have all of them up once",
                     required_level(command), database.state().format_level);
}

void NodeCore::Implementation::handle(const Requested& event) {
  const bool takeover = std::holds_alternative<TakeOver>(event.command);
  std::string why;
  if (takeover) {
    if (const auto offer = offer_takeover(now, ""); !offer) why = offer.error().message;
  } else {
    why = why_not_understood(event.command);
  }
  if (!why.empty()) return out().push_back(Decided{event.request, true, Applied{false, why}});
  if (takeover && word_waits(event)) return;
  const uint64_t request = ++next_request;
  proposals[request] = Proposal{"", true, event.request};
  Command command = event.command;
  if (auto* shutdown = std::get_if<SetShutdown>(&command); shutdown != nullptr && shutdown->lives.empty())
    shutdown->lives = lives();
  if (auto* wish = std::get_if<WishGroup>(&command)) name_lost_owner(*wish);
  feed_database(database::ProposeCommand{request, command, event.wall_ms});
  // SAFETY: W4. An operator's word, to the guard as it runs now.
  if (takeover && proposals.contains(request)) {
    right = guard->knowledge.gaps;
    right_by = kNever;
    word_without_disk = disk_lock.in_use() && !disk_lock.has(now);
  }
}

void NodeCore::Implementation::handle(const Tick&) { feed_database(database::Tick{}); }

void NodeCore::Implementation::feed_database(const database::Event& event) {
  std::vector<database::Action> wanted;
  database.step(now, event, wanted);
  for (auto& action : wanted) {
    if (auto* send = std::get_if<database::Send>(&action)) {
      out().push_back(Send{std::move(send->message), lineage()});
    } else if (auto* persist = std::get_if<database::Persist>(&action)) {
      out().push_back(std::move(*persist));
    } else if (auto* applied = std::get_if<database::EntryApplied>(&action)) {
      on_applied(*applied);
    } else if (auto* decided = std::get_if<database::ProposalDecided>(&action)) {
      on_decided(*decided);
    } else if (std::holds_alternative<database::Overruled>(action)) {
      yields = true;
    } else if (std::holds_alternative<database::Rivalled>(action)) {
      meet_rival();
    } else {
      on_standing();
    }
  }
}

void NodeCore::Implementation::on_applied(const database::EntryApplied& applied) {
  const auto& command = applied.entry.command;
  advance_cluster_time(database.state().clock_ms);
  forget_what_was_cut();
  // SAFETY: F2, V5.
  const bool changes_voters = std::holds_alternative<SetVoters>(command) || std::holds_alternative<TakeOver>(command);
  if (changes_voters && applied.entry.index > exact.index)
    voters_fence = std::max(voters_fence, applied.fence);
  if (const auto* restore = std::get_if<RestoreDatabase>(&command); restore != nullptr && applied.entry.index > exact.index)
    for (const ServerId server : restore->servers) fences[server] = std::max(fences[server], applied.fence);
  if (applied.taken_from != ServerId{} && applied.entry.index > exact.index) {
    auto& fence = fences[applied.taken_from];
    fence = std::max(fence, applied.fence);
  }
  if (applied.outcome.applied) {
    look_for_end(command);
    if (const auto* assign = std::get_if<AssignGroup>(&command)) {
      previous_owner[assign->group] = last_owner[assign->group];
      last_owner[assign->group] = assign->server;
      note_start_event(*assign, applied.taken_from != ServerId{});
      stale_runs.erase(assign->group);
      const auto run = runs.find(assign->group);
      if (assign->server == settings.self && run != runs.end() && !run->second->adopting() && !run->second->all_down())
        stale_runs.insert(assign->group);
      renew_run(assign->group);
    } else if (const auto* phase = std::get_if<SetGroupPhase>(&command)) {
      note_phase(*phase);
      if (phase->phase == GroupPhase::kStopped) renew_run(phase->group);
    } else if (std::holds_alternative<RestoreDatabase>(command)) {
      previous_owner.clear();
      last_owner.clear();
      start_events.clear();
      failed_groups.clear();
      for (const auto& group : configuration.groups) renew_run(group.name);
    } else if (const auto* change = std::get_if<ApplyConfiguration>(&command)) {
      // Each one in its turn, also when many entries are applied in one step: what an earlier one had started here is ended.
      const auto parsed = known_configuration(change->text);
      BATON_ASSERT(static_cast<bool>(parsed));  // it was checked when it was applied
      load_configuration(*parsed);
    }
  }
  out().push_back(EntryApplied{applied.entry, applied.outcome});
  watch_return();
}

void NodeCore::Implementation::load_configuration(const Configuration& loaded) {
  configuration = loaded;
  told_right.everybody.clear();
  std::erase_if(peers, [&](const auto& peer) {
    return configuration.server(peer.first) == nullptr && !members.contains(peer.first);
  });
  configuration_version = database.state().configuration_version;
  for (const auto& group : configuration.groups) {
    const bool here = std::find(group.servers.begin(), group.servers.end(), settings.self) != group.servers.end();
    if (!here) continue;
    auto& run = runs[group.name];
    // A group that is up keeps the definition it was started with until it stops, but for what looks after it.
    if (run != nullptr) run->set_monitors(group.monitors);
    if (run != nullptr && !(run->all_down() && !run->adopting())) continue;
    // SAFETY: I1. What has been given back, or is just being given back, is not started again: that may be committed already.
    if (run != nullptr && (!run->failure().empty() || is_proposing("group " + group.name))) continue;
    const bool fresh = run == nullptr;
    run = std::make_unique<group::GroupRun>(group, &next_token);
    if (fresh) {
      run->adopt(now);  // batond may have been restarted under a running group
    } else {
      run->assume_down();
    }
  }
}

void NodeCore::Implementation::renew_run(const std::string& name) {
  auto found = runs.find(name);
  if (found == runs.end() || found->second->adopting() || !found->second->all_down()) return;
  const auto* group = configuration.group(name);
  if (group == nullptr) return;
  collect_steps(name, *found->second);
  found->second = std::make_unique<group::GroupRun>(*group, &next_token);
  found->second->assume_down();
}

void NodeCore::Implementation::on_decided(const database::ProposalDecided& decided) {
  auto found = proposals.find(decided.request);
  if (found == proposals.end()) return;
  const Proposal proposal = found->second;
  proposals.erase(found);
  if (proposal.external) {
    out().push_back(Decided{proposal.external_request, decided.decided, decided.outcome});
    return;
  }
  if (!decided.decided || !decided.outcome.applied) propose_again_at[proposal.subject] = now + kProposeAgain;
}

void NodeCore::Implementation::on_standing() {
  const auto& standing = database.standing();
  if (standing.serving && !known_standing.serving) {
    note({.kind = "database", .text = fmt::format("the cluster database serves: epoch {}, led by {}", standing.epoch,
                                                  configuration.server_name(standing.leader)), .everywhere = true});
    // Who joined after this batond's first configuration, and was in no view of its life, is away, too.
    for (const auto& server : configuration.servers)
      if (const auto [peer, added] = peers.try_emplace(server.id); added) peer->second.absent_since = now;
  } else if (!standing.serving && standing.waiting != known_standing.waiting) {
    note({.kind = "database", .text = "the cluster database waits: " + standing.waiting, .everywhere = true});
  }
  known_standing = standing;
}

void NodeCore::Implementation::propose(const std::string& subject, const Command& command, int64_t wall_ms) {
  if (is_proposing(subject) || (required_level(command) > database.state().format_level &&
                                !std::holds_alternative<RaiseFormatLevel>(command))) return;
  const uint64_t request = ++next_request;
  proposals[request] = Proposal{subject, false, 0};
  propose_again_at.erase(subject);
  feed_database(database::ProposeCommand{request, command, wall_ms});
}

bool NodeCore::Implementation::is_proposing(const std::string& subject) const {
  auto again = propose_again_at.find(subject);
  if (again != propose_again_at.end() && now < again->second) return true;
  return std::any_of(proposals.begin(), proposals.end(),
                     [&](const auto& proposal) { return proposal.second.subject == subject; });
}

/// The guards renew the leases: these beats tell only who is there, and the mirrors' reports.
Duration NodeCore::Implementation::beat_interval() const {
  return std::max<Duration>(configuration.timing.beat, configuration.timing.lease / kBeatsInSilence);
}

void NodeCore::Implementation::send_beat_if_due() {
  if (members.empty()) return;
  const Duration interval = beat_interval();
  if (report_changed) beat_at = std::min(beat_at, last_beat + configuration.timing.beat / 5);
  if (now < beat_at) return;
  report_changed = false;
  last_beat = now;
  beat_at = now + interval;
  BeatMessage beat;
  beat.sequence = silence.beat_sent(now);
  beat.start = settings.start;
  beat.mirrors = reports[settings.self];
  beat.clock_ms = cluster_time(now);
  beat.format_level = kFormatLevel;
  beat.settled = settled;
  beat.waited_ms = waiting_since == kNever ? 0 : static_cast<uint64_t>(to_ms(now - waiting_since));
  if (keys) beat.ring_key = keys->ring;
  out().push_back(Send{std::move(beat), lineage()});
}

void NodeCore::Implementation::watch_silence() {
  bool fell_silent = false;
  for (const auto voter : silence.silent(configuration.timing.lease)) {
    auto& peer = peers[voter];
    if (!peer.in_view || peer.silent) continue;
    peer.silent = fell_silent = true;
    peer.absent_since = now;
    reports.erase(voter);
    note({.kind = "membership", .text = fmt::format("{} is silent: a member, but its batond does not answer",
                                                    configuration.server_name(voter)), .everywhere = true});
  }
  if (fell_silent) tell_database_who_is_silent();
}

/// A voter whose batond is stopped cannot lead: the others go on without it (epochs make that safe).
void NodeCore::Implementation::tell_database_who_is_silent() {
  std::set<ServerId> silent;
  for (const auto& [voter, peer] : peers)
    if (peer.silent) silent.insert(voter);
  feed_database(database::SilenceChanged{silent});
}

Instant NodeCore::Implementation::next_tick() const {
  if (yields) return kNever;  // for the guard's answer
  Instant next = std::min({database.next_tick(), next_plan(), gate.next_tick()});
  if (!members.empty()) next = std::min(next, beat_at);
  if (!members.empty() && report_changed) next = std::min(next, last_beat + configuration.timing.beat / 5);
  for (const auto& [name, run] : runs) next = std::min(next, run->next_tick());
  for (const auto& [subject, at] : propose_again_at)
    if (at > now) next = std::min(next, at);
  if (not_serving_since != kNever && !operator_called && may_call_operator(configuration.np))
    next = std::min(next, std::max(now + 1ms, not_serving_since + configuration.np_wait));
  next = std::min(next, std::max(disk_lock.next_tick(now), now + 1ms));
  next = std::min(next, std::max(next_ping_step(), now + 1ms));
  if (guard_missed_since != kNever && !guard_noted) next = std::min(next, guard_missed_since + 1s);
  for (const auto& [server, at] : fence_again_at)
    if (at > now) next = std::min(next, at);
  if (keys) next = std::min(next, next_key_step());
  if (ending && !ended && end_at > now) next = std::min(next, end_at);
  if (waiting_since != kNever && !settled) next = std::min(next, waiting_since + configuration.startup_wait);
  if (published_until > now) {
    next = std::min(next, published_until);
  } else if (lapsed_since != kNever && lapsed_since + settings.freeze_limit > now) {
    next = std::min(next, lapsed_since + settings.freeze_limit);
  }
  return next;
}

NodeCore::NodeCore(const Settings& settings, database::StoredVoter stored, Instant now)
    : implementation_(std::make_unique<Implementation>(settings, std::move(stored), now)) {}
NodeCore::~NodeCore() = default;

void NodeCore::lease_page(Instant published_until) { implementation_->published_until = published_until; }
void NodeCore::step(Instant now, const Event& event, std::vector<Action>& actions) {
  implementation_->step(now, event, actions);
}
Instant NodeCore::next_tick() const { return implementation_->next_tick(); }
const ClusterState& NodeCore::state() const { return implementation_->database.state(); }
const database::Standing& NodeCore::standing() const { return implementation_->database.standing(); }
const Configuration& NodeCore::configuration() const { return implementation_->configuration; }
void NodeCore::time_of_day(std::chrono::minutes time) { implementation_->time_of_day = time; }
Instant NodeCore::lease_until() const { return implementation_->published_until; }
const VoterSet& NodeCore::voters() const { return implementation_->database.voters(); }
const std::string& NodeCore::voters_waiting() const { return implementation_->voters_waiting; }
bool NodeCore::taken_over() const { return implementation_->alone_by_log(); }
Result<TakeoverOffer> NodeCore::offer_takeover(Instant now, const std::string& author) const {
  return implementation_->offer_takeover(now, author);
}
const arbiter::PingWatch& NodeCore::ping() const { return implementation_->ping; }
std::string NodeCore::ping_standing() const { return implementation_->describe_ping(); }
const arbiter::DiskLock& NodeCore::disk_lock() const { return implementation_->disk_lock; }
std::string NodeCore::why_not_prepare_disk(Instant now, const std::string& device) const {
  return implementation_->why_not_prepare_disk(now, device);
}
std::string NodeCore::disk_standing() const { return implementation_->describe_disk(); }
std::string NodeCore::partition_waiting(Instant now) const { return implementation_->partition_waiting(now); }
Instant NodeCore::freeze_ends() const {
  const Instant since = implementation_->lapsed_since;
  return since == kNever ? kNever : since + implementation_->settings.freeze_limit;
}
const guard::Report* NodeCore::guard() const {
  return implementation_->guard ? &*implementation_->guard : nullptr;
}
std::string NodeCore::why_not_recover(Instant now) const { return implementation_->why_not_recover(now); }
std::set<ServerId> NodeCore::lost() const { return implementation_->lost(); }
int64_t NodeCore::newest_wall_ms() const { return implementation_->database.newest_wall_ms(); }
ClusterState NodeCore::state_on_disk() const { return implementation_->database.state_on_disk(); }
Configuration NodeCore::configuration_on_disk() const { return implementation_->configuration_on_disk(); }
LogPosition NodeCore::last() const { return implementation_->database.last(); }
Epoch NodeCore::lineage() const { return implementation_->lineage(); }
const LineageGate& NodeCore::gate() const { return implementation_->gate; }
std::string NodeCore::waiting_for_guard() const { return implementation_->waiting_for_guard(); }
const std::map<ServerId, Peer>& NodeCore::peers() const { return implementation_->peers; }
const std::map<ServerId, std::map<std::string, MirrorReport>>& NodeCore::reports() const {
  return implementation_->reports;
}
const group::GroupRun* NodeCore::run(const std::string& group) const {
  auto found = implementation_->runs.find(group);
  return found == implementation_->runs.end() ? nullptr : found->second.get();
}
planner::Plan NodeCore::plan(Instant now) const { return planner::make_plan(implementation_->planner_input(now)); }
uint64_t NodeCore::cluster_time(Instant now) const { return implementation_->cluster_time(now); }
std::string NodeCore::keys_waiting(Instant now) const { return implementation_->keys_waiting(now); }
const KeysReported* NodeCore::keys() const { return implementation_->keys ? &*implementation_->keys : nullptr; }
std::string NodeCore::starting(Instant now) const { return implementation_->starting(now); }
Status NodeCore::check_wish(Instant now, const WishGroup& wish) const {
  return planner::check_wish(implementation_->planner_input(now), wish);
}

}  // namespace baton::node
