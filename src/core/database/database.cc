// A voter's events, its view and timers, its disk, and its standing. Pure. docs/protocol.md, "Cluster
// database".
#include "src/core/database/database.h"

#include <algorithm>

#include <fmt/format.h>

#include "src/core/database/database_implementation.h"

namespace baton::database {

namespace {
constexpr Duration kCatchUpInterval = 1s;
}  // namespace

void Database::Implementation::step(Instant when, const Event& event, std::vector<Action>& wanted) {
  now = when;
  actions = &wanted;
  std::visit([&](const auto& what) { handle(what); }, event);
  check_timers();
  progress();
  update_standing();
  actions = nullptr;
}

void Database::Implementation::handle(const ViewChanged& event) {
  members = event.members;
  std::erase_if(not_counting, [&](ServerId voter) { return !members.contains(voter); });
  silent.clear();
  // SAFETY: an epoch belongs to one view. Leading, acknowledging and serving end here; grants, acknowledgements
  // and promises of two views are never added up.
  role = Role::kNone;
  epoch = Epoch{};
  prepared_here = Epoch{};
  promise_owed = false;
  acknowledgement_owed = false;
  followers.clear();
  promises.clear();
  fetched.clear();
  lease_over.clear();
  settle_at = kNever;
  lease_wait_until = kNever;
  accounts_wanted.clear();
  reminder_at = kNever;
  leader_owes_since = kNever;
  attempts = 0;
  attempt_at = may_lead() ? now + rank(false) * settings.step_timeout : kNever;
  catch_up_at = log.durable_counting() || members.empty() ? kNever : now;
}

void Database::Implementation::handle(const MessageReceived& event) {
  if (!members.contains(event.from)) return;
  std::visit([&](const auto& message) { receive(event.from, message); }, event.message);
}

void Database::Implementation::handle(const Persisted& event) {
  if (!log.persisted(event.token, event.ok)) return;
  disk_failing = !event.ok;
  persist_again_at = event.ok ? now : now + settings.persist_retry;
}

void Database::Implementation::handle(const SilenceChanged& event) {
  silent.clear();
  for (const ServerId voter : event.silent)
    if (members.contains(voter) && voter != settings.self) silent.insert(voter);
  const bool leader_hangs = role == Role::kFollowing && silent.contains(leader_of(epoch));
  if (leader_hangs && may_lead()) {
    attempt_at = std::min(attempt_at, now + rank(true) * settings.step_timeout);
  } else if (serves()) {
    attempt_at = kNever;
  }
}

void Database::Implementation::check_timers() {
  if (leader_owes_since != kNever && role == Role::kFollowing &&
      now >= leader_owes_since + (2 + rank(true)) * settings.step_timeout) {
    leader_owes_since = kNever;
    attempt_at = now;
  }
  if (role == Role::kCollecting) choose_log();
  if (now >= attempt_at) {
    if (!log.durable_counting() || !may_lead()) {
      attempt_at = kNever;
    } else if (disk_failing) {
      attempt_at = now + settings.persist_retry;  // it could not promise anything
    } else {
      start_candidacy();
    }
  }
  if (role == Role::kFetching && now >= fetch_sent_at + settings.resend_interval) send_fetch();
  if (leads()) repeat_appends();
  if (now >= catch_up_at) {
    send(CatchUpRequest{});
    catch_up_at = now + kCatchUpInterval;
  }
  give_up_proposals();
}

void Database::Implementation::progress() {
  after_durable_promise();
  if (leads()) advance_commit();
  if (leads()) settle_voters();
  apply_committed();
  count_when_caught_up();
  acknowledge();
  send_proposals();
  if (leads()) send_appends();
  persist_if_needed();
}

void Database::Implementation::persist_if_needed() {
  if (log.persist_under_way() || now < persist_again_at) return;
  if (auto persist = log.start_persist()) actions->push_back(std::move(*persist));
}

Instant Database::Implementation::next_tick() const {
  Instant next = std::min({attempt_at, catch_up_at, lease_wait_until, reminder_at, settle_at});
  if (leader_owes_since != kNever && role == Role::kFollowing)
    next = std::min(next, leader_owes_since + (2 + rank(true)) * settings.step_timeout);
  if (role == Role::kCollecting && promised_by_majority())
    next = std::min(next, collecting_since + settings.step_timeout);
  if (role == Role::kFetching) next = std::min(next, fetch_sent_at + settings.resend_interval);
  if (leads()) {
    for (const auto& [voter, follower] : followers)
      if (!up_to_date(follower)) next = std::min(next, follower.sent_at + follower.patience);
  }
  const bool forwards = serves() && !leads();
  for (const auto& [request, proposal] : pending) {
    next = std::min(next, proposal.since + settings.proposal_limit);
    if (forwards) next = std::min(next, proposal.sent_at + settings.resend_interval);
  }
  if (disk_failing && !log.persist_under_way()) next = std::min(next, persist_again_at);
  return next;
}

std::set<ServerId> Database::Implementation::counting_members() const {
  std::set<ServerId> counting = members;
  for (const ServerId voter : not_counting) counting.erase(voter);
  if (!log.durable_counting()) counting.erase(settings.self);
  return counting;
}

bool Database::Implementation::may_lead() const {
  if (!missing_agreement().empty()) return false;  // SAFETY: W4
  return log.voters().contains(settings.self) && log.voters().majority(counting_members());
}

uint32_t Database::Implementation::rank(bool without_leader) const {
  uint32_t before = 0;
  for (const ServerId voter : members) {
    if (voter >= settings.self) break;
    if (!log.voters().contains(voter)) continue;
    if (not_counting.contains(voter) || silent.contains(voter)) continue;
    if (without_leader && voter == leader_of(epoch)) continue;
    ++before;
  }
  return before;
}

std::map<ServerId, Duration> Database::Implementation::lease_account(Grants grants) const {
  return account == nullptr ? std::map<ServerId, Duration>{} : account(lease, now, grants);
}

bool Database::Implementation::serves() const {
  // SAFETY: L1. Only an epoch that was opened in this view and whose StartEpoch is committed; and no newer one
  // is being opened.
  return (role == Role::kLeading || role == Role::kFollowing) && epoch == prepared_here &&
         epoch == log.promised() && committed > 0 && log.position(committed).epoch == epoch;
}

ServerId Database::Implementation::leader() const {
  return role == Role::kLeading || role == Role::kFollowing ? leader_of(epoch) : ServerId{};
}

void Database::Implementation::update_standing() {
  Standing fresh;
  fresh.epoch = log.promised();
  fresh.leader = leader();
  fresh.serving = serves();
  fresh.counting = log.durable_counting();
  fresh.committed = committed;
  fresh.last_index = log.last_index();
  fresh.waiting = why_waiting();
  if (leads()) fresh.lease_over = lease_over;
  if (fresh == standing) return;
  standing = std::move(fresh);
  actions->emplace_back(StandingChanged{});
}

std::string Database::Implementation::why_no_majority() const {
  const auto counting = counting_members();
  std::string text = "no majority: ";
  for (const auto* set : log.voters().deciding()) {
    std::string missing;
    for (const ServerId voter : *set)
      if (!counting.contains(voter)) missing += fmt::format("{}{}", missing.empty() ? "" : ", ", voter);
    const auto there = std::count_if(set->begin(), set->end(), [&](ServerId voter) { return counting.contains(voter); });
    text += fmt::format("{}{} of {} voters are there, {} are needed; missing: {}",
                        set == log.voters().deciding().front() ? "" : ", and of the new ones ", there, set->size(),
                        set->size() / 2 + 1, missing);
  }
  return text;
}

std::string Database::Implementation::why_waiting() const {
  if (disk_failing) return "the disk under the cluster database is full or fails; trying again every 500 ms";
  if (serves()) return {};
  if (members.empty()) return "no connection to corosync";
  const VoterSet& voters = log.voters();
  const bool lost = !log.durable_counting();
  if (lost && !voters.contains(settings.self)) return "new here: catching up with the voters";
  if (!voters.majority(counting_members())) return why_no_majority();
  if (lost) return "this voter's database was lost: catching up with the others";
  if (const std::string text = why_no_agreement(); !text.empty()) return text;
  switch (role) {
    case Role::kNone:
      return "a new epoch has not been opened yet";
    case Role::kPreparing:
      return "opening an epoch: writing the promise";
    case Role::kCollecting:
      return "opening an epoch: waiting for the other voters' promises";
    case Role::kFetching:
      return fmt::format("opening an epoch: fetching entries from voter {}", fetch_from);
    case Role::kLeading:
      return lease_wait_until == kNever ? "opening an epoch: waiting for a majority's disks"
                                        : "opening an epoch: waiting for a former owner's lease to end";
    case Role::kFollowing:
      return fmt::format("voter {} is opening an epoch", leader_of(epoch));
  }
  return {};
}

Database::Database(const Settings& settings, StoredVoter stored)
    : implementation_(std::make_unique<Implementation>(settings, std::move(stored))) {
  auto& standing = implementation_->standing;
  standing.counting = implementation_->log.durable_counting();
  standing.epoch = implementation_->log.promised();
  standing.last_index = implementation_->log.last_index();
  standing.waiting = implementation_->why_waiting();
}
Database::~Database() = default;

void Database::set_lease_account(LeaseAccount account, void* lease) {
  implementation_->account = account;
  implementation_->lease = lease;
}
void Database::step(Instant now, const Event& event, std::vector<Action>& actions) {
  implementation_->step(now, event, actions);
}
Instant Database::next_tick() const { return implementation_->next_tick(); }
std::map<ServerId, LogPosition> Database::fences_above(const LogPosition& exact) const {
  std::map<ServerId, LogPosition> fences;
  for (const auto& [index, losers] : implementation_->takeovers())
    for (const ServerId loser : losers)
      if (index > exact.index) fences[loser] = implementation_->fence_at(index);
  return fences;
}
LogPosition Database::known_by(ServerId owner) const {
  uint64_t last = implementation_->log.durable_index();
  for (const auto& [index, losers] : implementation_->takeovers())
    if (losers.contains(owner)) last = std::min(last, index - 1);
  return implementation_->log.position(last);
}
const VoterSet& Database::voters() const { return implementation_->log.voters(); }
uint64_t Database::voters_index() const { return implementation_->log.voters_index(); }
LogPosition Database::voters_fence_above(const LogPosition& exact) const {
  const uint64_t index = implementation_->log.voters_index();
  return index > exact.index ? implementation_->fence_at(index) : LogPosition{};
}
LogPosition Database::last_on_disk() const { return implementation_->log.position(implementation_->log.durable_index()); }
Epoch Database::promise_on_disk() const { return implementation_->log.durable_promise(); }
bool Database::voters_on_disk() const { return implementation_->log.voters_index() <= implementation_->log.durable_index(); }
bool Database::taken_over() const { return implementation_->log.taken_over(); }
bool Database::taken_over_by_word() const { return implementation_->log.taken_over_by_word(); }
ClusterState Database::state_on_disk() const {
  ClusterState state = implementation_->state;
  const VoterLog& log = implementation_->log;
  for (uint64_t index = implementation_->applied + 1; index <= log.durable_index(); ++index) {
    const Entry& entry = log.entry(index);
    if (entry.request == 0 || log.find(entry.origin, entry.request) == index) apply_command(state, entry.command, index);
  }
  return state;
}
std::string Database::why_not_change(const VoterSet& voters) const { return implementation_->why_not_change(voters); }
Epoch Database::lineage() const { return implementation_->log.durable_lineage(); }
const std::set<ServerId>& Database::survivors() const { return implementation_->log.survivors(); }
LogPosition Database::last() const { return implementation_->log.last(); }
int64_t Database::newest_wall_ms() const {
  for (uint64_t index = implementation_->log.last_index(); index > 0; --index)
    if (const int64_t wall_ms = implementation_->log.entry(index).wall_ms; wall_ms != 0) return wall_ms;
  return 0;
}
LogPosition Database::applied_on_disk() const {
  return implementation_->log.position(std::min(implementation_->applied, implementation_->log.durable_index()));
}
bool Database::holds(const LogPosition& position) const { return implementation_->log.holds(position); }
const ClusterState& Database::state() const { return implementation_->state; }
const Standing& Database::standing() const { return implementation_->standing; }

}  // namespace baton::database
