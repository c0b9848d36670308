// Opening an epoch: candidates, promises, taking over the most advanced log. Pure. docs/protocol.md, "Opening
// an epoch".
#include <algorithm>

#include "src/base/assert.h"
#include "src/base/planted.h"
#include "src/core/database/database_implementation.h"

namespace baton::database {

namespace {
constexpr uint32_t kMostPatience = 8;
}  // namespace

/// How long another's (or an own) attempt may stay without progress.
Duration Database::Implementation::patience() const {
  const uint32_t tries = std::clamp<uint32_t>(attempts, 1, kMostPatience);
  return settings.step_timeout * (1 + rank(true)) * tries;
}

void Database::Implementation::start_candidacy() {
  seen = std::max({seen, log.promised(), log.last().epoch});
  epoch = make_epoch(round_of(seen) + 1, settings.self);
  seen = epoch;
  log.promise(epoch);
  role = Role::kPreparing;
  ++attempts;
  promises.clear();
  promised_at.clear();
  fetched.clear();
  followers.clear();
  promise_owed = false;
  acknowledgement_owed = false;
  leader_owes_since = kNever;
  settle_at = kNever;
  lease_wait_until = kNever;
  accounts_wanted.clear();
  reminder_at = kNever;
  // Twice: one time-out for all promises, and some more to go on with a majority's.
  attempt_at = now + 2 * patience();
}

/// From here on this voter works in an epoch of another leader.
void Database::Implementation::work_in(Epoch other_epoch) {
  role = Role::kFollowing;
  epoch = other_epoch;
  verified = 0;
  acknowledged = 0;
  promise_owed = false;
  acknowledgement_owed = false;
  followers.clear();
  promises.clear();
  fetched.clear();
  leader_owes_since = kNever;
  settle_at = kNever;
  lease_wait_until = kNever;
  accounts_wanted.clear();
  reminder_at = kNever;
  ++attempts;
  attempt_at = now + patience();
}

void Database::Implementation::receive(ServerId from, const Prepare& message) {
  if (leader_of(message.epoch) != from) return;
  seen = std::max(seen, message.epoch);
  if (from != settings.self && rules_alone()) return meet_rival(message);
  prepared_here = std::max(prepared_here, message.epoch);
  if (message.epoch < log.promised()) {
    if (log.durable_counting() && from != settings.self) send(Refuse{log.promised()});
    return;
  }
  if (from == settings.self) {
    // Its own Prepare has come back: everything before it has been received.
    if (role != Role::kCollecting || message.epoch != epoch) return;
    promises[from] = Promise{epoch, log.last(), committed, lease_account(Grants::kAll), log.voters()};
    promised_at[from] = now;
    choose_log();
    return;
  }
  if (role != Role::kFollowing || epoch != message.epoch) {
    log.promise(message.epoch);
    work_in(message.epoch);
  }
  if (log.durable_counting()) {
    promise_owed = true;
  } else {
    send(CatchUpRequest{});  // no promise can be expected from here
  }
}

void Database::Implementation::after_durable_promise() {
  // SAFETY: nothing is said about an epoch before its promise is on disk.
  const bool durable = log.durable_promise() == epoch && log.promised() == epoch;
  if (role == Role::kPreparing && durable) {
    role = Role::kCollecting;
    collecting_since = now;
    attempt_at = now + 2 * patience();
    send(Prepare{epoch, rules_alone() ? log.takeover_epoch() : Epoch{}});
  }
  if (role == Role::kFollowing && promise_owed && (durable || planted(Plant::kPromiseNotPersisted))) {
    promise_owed = false;
    send(Promise{epoch, log.last(), committed, lease_account(Grants::kAll), log.voters()});
  }
}

void Database::Implementation::receive(ServerId from, const Promise& message) {
  not_counting.erase(from);
  if (message.epoch == epoch && (role == Role::kCollecting || from == leader_of(epoch))) look_for_rival(from, message);
  if (role != Role::kCollecting || message.epoch != epoch) return;
  promises[from] = message;
  promised_at[from] = now;
  choose_log();
}

void Database::Implementation::receive(ServerId, const Refuse& message) {
  seen = std::max(seen, message.promised);
  if ((role != Role::kPreparing && role != Role::kCollecting) || message.promised <= epoch) return;
  // Two candidates that outbid each other would never end: the higher id waits.
  const ServerId rival = leader_of(prepared_here);
  if (rival != ServerId{} && rival < settings.self) {
    attempt_at = std::min(attempt_at, now + patience());
    return;
  }
  start_candidacy();
}

std::map<ServerId, Promise>::const_iterator Database::Implementation::best_promise() const {
  auto best = promises.find(settings.self);
  // SAFETY: W5. Whatever a server has that was taken over before this one is given up.
  if (rules_alone()) return best;
  for (auto promise = promises.begin(); promise != promises.end(); ++promise)
    if (best == promises.end() || promise->second.last > best->second.last) best = promise;
  return best;
}

/// SAFETY: V3. Majorities by the most advanced log, which is to become this one's: this voter may have missed that
/// others decide by now.
bool Database::Implementation::promised_by_majority() const {
  const auto best = best_promise();
  if (best == promises.end()) return false;
  std::set<ServerId> promised;
  for (const auto& [voter, promise] : promises) promised.insert(voter);
  if (best->first == settings.self && !agreed_by(promised)) return false;  // SAFETY: W4
  return best->second.voters.majority(promised);
}

/// With enough promises: the most advanced log becomes this one's.
void Database::Implementation::choose_log() {
  if (role != Role::kCollecting || !promises.contains(settings.self) || !promised_by_majority()) return;
  const bool all = std::all_of(members.begin(), members.end(), [&](ServerId voter) {
    return promises.contains(voter) || not_counting.contains(voter) || silent.contains(voter);
  });
  if (!all && now < collecting_since + settings.step_timeout) return;
  fetch_from = best_promise()->first;
  if (!best_promise()->second.voters.contains(settings.self)) {
    // It was removed and did not know. Another candidate leads, and this one learns from it.
    role = Role::kNone;
    attempt_at = kNever;
    return;
  }
  lease_over.clear();
  for (const auto& [voter, promise] : promises) {
    for (const auto& [server, left] : promise.lease_left) {
      // Counted from the receipt, which is later than the sending.
      auto& over = lease_over[server];
      over = std::max(over, promised_at[voter] + left);
    }
  }
  if (fetch_from == settings.self) {
    begin_leading();
    return;
  }
  role = Role::kFetching;
  fetch_previous = log.last();
  fetched.clear();
  attempt_at = now + 2 * patience();
  send_fetch();
}

void Database::Implementation::send_fetch() {
  fetch_sent_at = now;
  const LogPosition previous =
      fetched.empty() ? fetch_previous : LogPosition{fetched.back().epoch, fetched.back().index};
  send(Fetch{epoch, fetch_from, previous});
}

void Database::Implementation::receive(ServerId from, const Fetch& message) {
  if (role != Role::kFollowing || message.epoch != epoch || leader_of(epoch) != from) return;
  attempt_at = now + patience();
  if (message.to != settings.self) return;
  Fetched reply{epoch, log.holds(message.previous), message.previous, log.last_index(), {}};
  if (reply.ok) {
    reply.entries = log.slice(message.previous.index, settings.append_entries, settings.append_bytes);
  } else {
    const uint64_t below = message.previous.index == 0 ? 0 : message.previous.index - 1;
    reply.previous = log.common_guess(LogPosition{message.previous.epoch, below});
  }
  send(std::move(reply));
}

void Database::Implementation::receive(ServerId from, const Fetched& message) {
  if (role != Role::kFetching || message.epoch != epoch || from != fetch_from) return;
  attempt_at = now + 2 * patience();
  if (!message.ok) {
    if (!fetched.empty() || message.previous.index >= fetch_previous.index) return;
    fetch_previous = log.common_guess(message.previous);
    send_fetch();
    return;
  }
  const LogPosition expected =
      fetched.empty() ? fetch_previous : LogPosition{fetched.back().epoch, fetched.back().index};
  if (message.previous != expected) return;  // an answer to a repeated Fetch
  fetched.insert(fetched.end(), message.entries.begin(), message.entries.end());
  const uint64_t have = fetched.empty() ? fetch_previous.index : fetched.back().index;
  if (have < message.last_index) {
    send_fetch();
    return;
  }
  // SAFETY: only when all of it is there: one Persist replaces the end of this log by the more advanced one's.
  BATON_ASSERT(fetch_previous.index >= committed);
  log.cut(fetch_previous.index);
  for (auto& entry : fetched) log.append(std::move(entry));
  fetched.clear();
  begin_leading();
}

void Database::Implementation::begin_leading() {
  role = Role::kLeading;
  for (const auto& [voter, promise] : promises)
    if (log.voters().contains(voter)) committed = std::max(committed, std::min(promise.committed, log.last_index()));
  followers.clear();
  for (const ServerId voter : members) {
    if (voter == settings.self) continue;
    Follower& follower = followers[voter];
    const auto promise = promises.find(voter);
    follower.confirmed =
        promise == promises.end() ? log.last_index() : log.common_guess(promise->second.last).index;
    follower.next = follower.confirmed;
    follower.patience = settings.resend_interval;
    follower.sent_at = now;
    follower.due = true;
  }
  log.append(Entry{epoch, log.last_index() + 1, StartEpoch{settings.self}, settings.self, 0, 0});
  attempt_at = now + 2 * patience();
  reminder_at = now + settings.resend_interval;
}

}  // namespace baton::database
