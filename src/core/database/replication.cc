// Replication: Append and its acknowledgement, commit, apply; catching up a voter whose database was lost.
// Pure. docs/protocol.md, "Commit", "A lost database" and "Taking a group from an owner that has not released
// it".
#include <algorithm>
#include <functional>

#include "src/base/assert.h"
#include "src/base/planted.h"
#include "src/core/database/database_implementation.h"

namespace baton::database {

namespace {
constexpr Duration kMostPatience = 5s;
constexpr uint64_t kAppendsInFlight = 4;

/// The server of whom somebody else says that it has stopped a group; 0: the entry says no such thing.
ServerId released_by_another(const Entry& entry) {
  const auto* phase = std::get_if<SetGroupPhase>(&entry.command);
  const bool ends = phase != nullptr && (phase->phase == GroupPhase::kStopped || phase->phase == GroupPhase::kFailed);
  return ends && entry.origin != phase->server ? phase->server : ServerId{};
}
}  // namespace

// ---- A follower ----

void Database::Implementation::receive(ServerId from, const Append& message) {
  seen = std::max(seen, message.epoch);
  if (leader_of(message.epoch) != from || from == settings.self) return;
  // SAFETY: nothing older than the promise; and no epoch of another view (its Prepare was not received in this
  // one).
  if (message.epoch < log.promised() || message.epoch != prepared_here) return;
  if (role != Role::kFollowing || epoch != message.epoch) return;
  leader_owes_since = kNever;
  if (!serves()) attempt_at = now + patience();
  if (message.to != ServerId{} && message.to != settings.self) return;
  promise_owed = false;
  take_entries(message);
}

void Database::Implementation::take_entries(const Append& message) {
  if (!log.holds(message.previous)) {
    const uint64_t below = message.previous.index == 0 ? 0 : message.previous.index - 1;
    const LogPosition guess = log.common_guess(LogPosition{message.previous.epoch, below});
    send(AppendDone{epoch, false, guess, committed, log.durable_counting(), {}});
    return;
  }
  uint64_t index = message.previous.index;
  for (const Entry& entry : message.entries) {
    ++index;
    if (log.holds(LogPosition{entry.epoch, index})) continue;
    if (log.last_index() >= index) {
      if (index <= committed && log.taken_over()) {
        // SAFETY: W5. What this voter decided alone, and has applied, is given up: it begins anew with its log.
        actions->emplace_back(Overruled{});
        return;
      }
      BATON_ASSERT(index > committed);
      log.cut(index - 1);
    }
    log.append(entry);
  }
  verified = std::max(verified, index);
  committed = std::max(committed, std::min(message.committed, verified));
  acknowledgement_owed = true;
  if (serves()) attempt_at = kNever;
}

void Database::Implementation::acknowledge() {
  if (role != Role::kFollowing) return;
  // SAFETY: acknowledged is what is on disk, under a promise that is on disk.
  if (log.durable_promise() < epoch) return;
  const uint64_t matched = std::min(verified, log.durable_index());
  const bool complete = log.durable_index() >= verified;
  if (!(acknowledgement_owed && complete) && matched <= acknowledged) return;
  acknowledged = matched;
  if (complete) acknowledgement_owed = false;
  send(AppendDone{epoch, true, log.position(matched), committed, log.durable_counting(), lease_account(Grants::kBelowFences)});
}

/// A voter whose database was lost: does it hold all that a majority without it has committed?
void Database::Implementation::count_when_caught_up() {
  if (log.durable_counting()) {
    if (catch_up_at != kNever) acknowledgement_owed = true;  // tells the leader
    catch_up_at = kNever;
    not_counting.erase(settings.self);
    return;
  }
  // SAFETY: this epoch was opened in this view, without this voter's promise, and its StartEpoch is committed.
  if (log.counting() || !serves() || log.durable_index() < committed) return;
  log.set_counting();
}

void Database::Implementation::receive(ServerId from, const CatchUpRequest&) {
  not_counting.insert(from);
  const auto follower = followers.find(from);
  if (!leads() || follower == followers.end()) {
    if (role == Role::kCollecting) choose_log();
    return;
  }
  follower->second.counting = false;
  if (!follower->second.answered) follower->second.due = true;
}

// ---- The leader ----

void Database::Implementation::receive(ServerId from, const AppendDone& message) {
  if (message.counting) {
    not_counting.erase(from);
  } else {
    not_counting.insert(from);
  }
  const auto found = followers.find(from);
  if (!leads() || message.epoch != epoch || found == followers.end()) return;
  Follower& follower = found->second;
  follower.patience = settings.resend_interval;
  if (!serves()) attempt_at = now + 2 * patience();
  if (!message.ok) {
    const uint64_t guess = log.common_guess(message.matched).index;
    if (follower.answered || guess >= follower.confirmed) return;  // an answer to a repeated Append
    follower.confirmed = guess;
    follower.next = follower.confirmed;
    follower.due = true;
    return;
  }
  if (!log.holds(message.matched)) return;
  follower.answered = true;
  follower.counting = message.counting;
  follower.matched = std::max(follower.matched, message.matched.index);
  follower.confirmed = follower.matched;
  follower.next = std::max(follower.next, follower.matched);
  follower.committed = std::max(follower.committed, message.committed);
  follower.lease_over.clear();
  for (const auto& [server, left] : message.lease_left) follower.lease_over[server] = now + left;
}

bool Database::Implementation::up_to_date(const Follower& follower) const {
  for (const ServerId owner : accounts_wanted)
    if (!follower.lease_over.contains(owner)) return false;
  return follower.answered && follower.matched == log.last_index() && follower.committed >= committed;
}

bool Database::Implementation::wants_append(const Follower& follower) const {
  if (follower.due) return true;
  if (!follower.answered) return false;  // the first one is `due`; then one answer is awaited
  if (follower.next >= log.last_index()) return follower.told < committed;
  return follower.next - follower.matched < kAppendsInFlight * settings.append_entries;
}

void Database::Implementation::send_appends() {
  for (bool more = true; more;) {
    more = false;
    std::set<uint64_t> places;
    size_t wanting = 0;
    for (const auto& [voter, follower] : followers) {
      if (!wants_append(follower)) continue;
      ++wanting;
      places.insert(follower.next);
    }
    if (wanting == 0) return;
    if (wanting == followers.size() && places.size() == 1) {
      send_append(ServerId{}, *places.begin());
      more = true;
      continue;
    }
    for (auto& [voter, follower] : followers)
      if (wants_append(follower)) send_append(voter, follower.next);
    more = true;
  }
}

void Database::Implementation::send_append(ServerId to, uint64_t after) {
  // The planted bug sends (and counts) an older epoch's entries by themselves.
  const bool alone = planted(Plant::kOldEpochServedBeforeStart) && after < log.last_index() &&
                     log.position(after + 1).epoch != epoch;
  const size_t most = alone ? 1 : settings.append_entries;
  Append message{epoch, to, log.position(after), log.slice(after, most, settings.append_bytes), committed};
  const uint64_t sent = after + message.entries.size();
  for (auto& [voter, follower] : followers) {
    if (to != ServerId{} && to != voter) continue;
    follower.next = sent;
    follower.told = committed;
    follower.due = false;
    follower.sent_at = now;
  }
  send(std::move(message));
}

/// Answers that do not come: sent again, ever more seldom. And while the epoch does not serve yet, followers
/// are told that this leader is at work.
void Database::Implementation::repeat_appends() {
  bool prepare_again = false;
  for (auto& [voter, follower] : followers) {
    if (up_to_date(follower) || now < follower.sent_at + follower.patience) continue;
    follower.patience = std::min(follower.patience * 2, kMostPatience);
    follower.next = follower.confirmed;
    follower.due = true;
    prepare_again = prepare_again || !follower.answered;
  }
  if (prepare_again) send(Prepare{epoch, rules_alone() ? log.takeover_epoch() : Epoch{}});
  if (serves()) {
    reminder_at = kNever;
  } else if (now >= reminder_at) {
    reminder_at = now + settings.resend_interval;
    for (auto& [voter, follower] : followers) follower.due = true;
  }
}

void Database::Implementation::advance_commit() {
  std::map<ServerId, uint64_t> on_disk;
  if (log.durable_counting()) on_disk[settings.self] = log.durable_index();
  for (const auto& [voter, follower] : followers)
    if (follower.counting) on_disk[voter] = follower.matched;
  lease_wait_until = kNever;
  accounts_wanted.clear();
  // SAFETY: V1, V2. By the voters of the newest change in this log.
  const auto by_majority = log.voters().reached(on_disk, std::greater<uint64_t>());
  if (!by_majority) return;
  uint64_t candidate = *by_majority;
  // SAFETY: L3. Not before the owner from whom an entry takes a group has lost its lease.
  if (candidate > committed) {
    for (const auto& [index, owners] : takeovers()) {
      if (index > candidate || owners_lease_over(index, owners)) continue;
      candidate = index - 1;
      break;
    }
  }
  if (candidate <= committed) return;
  // SAFETY: figure 8. Copies of an older epoch's entries alone commit nothing: a more advanced log may still
  // win.
  if (log.position(candidate).epoch != epoch && !planted(Plant::kOldEpochServedBeforeStart)) return;
  committed = candidate;
  if (serves()) attempt_at = kNever;
}

/// Entries not known to be committed that take, or may take, a group from an owner: by index, from whom.
std::map<uint64_t, std::set<ServerId>> Database::Implementation::takeovers() const {
  std::map<uint64_t, std::set<ServerId>> found;
  std::map<std::string, std::set<ServerId>> owners;  // who may own each group when the entry is applied
  for (uint64_t index = committed + 1; index <= log.last_index(); ++index) {
    // SAFETY: R7. It takes every group from everybody: whatever was taken before it is in that.
    if (const auto* restore = std::get_if<RestoreDatabase>(&log.entry(index).command)) {
      found = {{index, restore->servers}};
      owners.clear();
      continue;
    }
    const auto* assign = std::get_if<AssignGroup>(&log.entry(index).command);
    if (const ServerId released = released_by_another(log.entry(index)); released != ServerId{})
      found[index].insert(released);
    if (assign == nullptr) continue;
    auto [group_owners, first] = owners.try_emplace(assign->group);
    if (first) {
      const auto group = state.groups.find(assign->group);
      if (group != state.groups.end() && group->second.owner != ServerId{})
        group_owners->second.insert(group->second.owner);
    }
    for (const ServerId owner : group_owners->second)
      if (owner != assign->server) found[index].insert(owner);
    group_owners->second.insert(assign->server);
  }
  return found;
}

/// Have the leases of `owners` ended by the accounts of a majority that has the entry on disk?
bool Database::Implementation::owners_lease_over(uint64_t index, const std::set<ServerId>& owners) {
  if (account == nullptr) return true;  // no leases are kept at all
  const auto over_at = [&](const std::map<ServerId, Instant>& account_of_voter) {
    Instant latest{};
    for (const ServerId owner : owners) {
      const auto over = account_of_voter.find(owner);
      latest = std::max(latest, over == account_of_voter.end() ? kNever : over->second);
    }
    return latest;
  };
  std::map<ServerId, Instant> votes;
  if (log.durable_counting() && log.durable_index() >= index) {
    std::map<ServerId, Instant> own;
    for (const auto& [server, left] : lease_account(Grants::kBelowFences)) own[server] = now + left;
    votes[settings.self] = over_at(own);
  }
  for (const auto& [voter, follower] : followers)
    if (follower.counting && follower.matched >= index) votes[voter] = over_at(follower.lease_over);
  const auto over = log.voters().reached(votes, std::less<Instant>());
  if (over && now >= *over) return true;
  // A voter that has no guard just now accounts for nothing: it is asked again.
  const bool missing = !over || *over == kNever;
  if (missing) accounts_wanted = owners;
  lease_wait_until = missing ? now + settings.resend_interval : *over;
  return false;
}

// ---- Everybody ----

/// Who owns the group that an entry takes away, before it is applied; 0: nobody.
ServerId Database::Implementation::owner_that_loses(const Entry& entry) const {
  const auto* assign = std::get_if<AssignGroup>(&entry.command);
  if (assign == nullptr) return released_by_another(entry);
  const auto group = state.groups.find(assign->group);
  if (group == state.groups.end() || group->second.owner == assign->server) return {};
  return group->second.owner;
}

void Database::Implementation::apply_committed() {
  while (applied < committed) {
    ++applied;
    const Entry& entry = log.entry(applied);
    BATON_ASSERT(entry.index == applied);
    const ServerId taken_from = owner_that_loses(entry);
    const bool twice = entry.request != 0 && log.find(entry.origin, entry.request) != applied;
    const Applied outcome =
        twice ? Applied{false, "recorded already"} : apply_command(state, entry.command, entry.index);
    actions->push_back(EntryApplied{entry, outcome, outcome.applied ? taken_from : ServerId{}, fence_at(entry.index)});
    if (entry.origin != settings.self || pending.erase(entry.request) == 0) continue;
    actions->push_back(ProposalDecided{entry.request, true, outcome});
  }
}

}  // namespace baton::database
