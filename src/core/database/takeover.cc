// Two servers without a third vote: one that an operator lets decide alone, and what becomes of that when the other one is back.
// Pure. docs/protocol.md, "Partitions and takeover".
#include <algorithm>

#include <fmt/format.h>

#include "src/base/planted.h"
#include "src/core/database/database_implementation.h"

namespace baton::database {

void Database::Implementation::handle(const AloneRight& event) {
  const bool gone = right && !event.right;
  right = event.right;
  everybody = event.everybody;
  by_itself = event.by_itself;
  if (!log.taken_over()) return;
  if (gone) {
    handle(ViewChanged{members});  // an epoch that it led by that right is over
  } else if (right && !serves()) {
    attempt_at = now;
  }
}

bool Database::Implementation::everybody_is_there() const {
  const auto there = counting_members();
  return !everybody.empty() &&
         std::all_of(everybody.begin(), everybody.end(), [&](ServerId server) { return there.contains(server) && !silent.contains(server); });
}

/// SAFETY: T7. A right by ping targets says nothing about what the other one did: where that is there, both have to agree.
bool Database::Implementation::rules_alone() const {
  return log.taken_over() && right && log.voters().contains(settings.self) && !(by_itself && everybody_is_there());
}

bool Database::Implementation::is_rival(ServerId from, const Promise& promise) const {
  return from != settings.self && promise.voters.now == std::set<ServerId>{from} && !log.holds(promise.last);
}

/// SAFETY: T7. By a promise: the candidate's own one tells the other server, too.
void Database::Implementation::look_for_rival(ServerId from, const Promise& promise) {
  if (!log.taken_over() || !by_itself || rules_alone() || !is_rival(from, promise)) return;
  right = false;
  if (role == Role::kCollecting) send(Promise{epoch, log.last(), committed, lease_account(Grants::kAll), log.voters()});
  actions->emplace_back(Rivalled{});
}

/// The entry goes into the log at once, in an epoch that only this voter has promised: from here on it is the only voter
/// (V1). False: refused, and answered.
bool Database::Implementation::take_over(const ProposeCommand& event) {
  if (log.find(settings.self, event.request) != 0) return true;
  std::string refusal;
  if (serves()) refusal = "a majority is here, and decides";
  else if (!log.durable_counting()) refusal = "the database of this server was lost, or has never caught up";
  else if (log.durable_index() < log.last_index()) refusal = "what this server was told last is not on its disk yet: repeat in a moment";
  else if (disk_failing) refusal = "the disk under the cluster database is full or fails";
  if (!refusal.empty()) {
    actions->emplace_back(ProposalDecided{event.request, false, Applied{false, refusal}});
    return false;
  }
  // The later one of two takeovers should have the greater epoch (W5): as far as clocks can tell.
  const auto seconds = static_cast<uint64_t>(std::max<int64_t>(event.wall_ms, 0) / 1000);
  seen = std::max({seen, log.promised(), log.last().epoch});
  seen = make_epoch(std::max(round_of(seen) + 1, seconds), settings.self);
  handle(ViewChanged{members});
  log.promise(seen);
  log.append(Entry{seen, log.last_index() + 1, event.command, settings.self, event.request, event.wall_ms});
  right = true;  // W4: the operator's word is one. (The node knows it when the entry is on disk.)
  attempt_at = now;
  return true;
}

/// Another candidate, while this voter decides alone: it is promised nothing.
void Database::Implementation::meet_rival(const Prepare& message) {
  if (message.taken_over > log.takeover_epoch()) {
    // SAFETY: W5. Both decide alone, against the first rule of taking over. The later one stays.
    right = false;
    actions->emplace_back(Overruled{});
    handle(ViewChanged{members});
    return;
  }
  // It has promised an epoch of its own: only one above that gets its promise.
  if (message.epoch > log.promised()) attempt_at = std::min(attempt_at, now + settings.step_timeout / 4);
}

/// W4. Without a right: whose promise is needed besides a majority's, and is not to be had.
std::set<ServerId> Database::Implementation::missing_agreement() const {
  if (!log.taken_over() || rules_alone() || planted(Plant::kAloneWithoutRight)) return {};
  if (everybody.empty()) return {settings.self};  // not told yet
  std::set<ServerId> missing = everybody;
  for (const ServerId server : counting_members()) missing.erase(server);
  return missing;
}

/// W4, W5: are all agreed that this server, which has no right, goes on with its log?
bool Database::Implementation::agreed_by(const std::set<ServerId>& promised) const {
  if (!log.taken_over() || rules_alone() || planted(Plant::kAloneWithoutRight)) return true;
  return !rivals() && !everybody.empty() && std::includes(promised.begin(), promised.end(), everybody.begin(), everybody.end());
}

/// SAFETY: W5. Both were taken over, in turns, and neither has a right now: which was the later one is for a person to say, unless
/// this log begins with the whole of the other one.
bool Database::Implementation::rivals() const {
  if (!log.taken_over() || rules_alone()) return false;
  return std::any_of(promises.begin(), promises.end(), [&](const auto& each) { return is_rival(each.first, each.second); });
}

std::string Database::Implementation::why_no_agreement() const {
  if (!log.taken_over() || rules_alone() || !log.voters().contains(settings.self)) return {};
  if (rivals())
    return "both servers decided alone, and each has what the other one lacks: a person decides whose data stays";
  std::string missing;
  for (const ServerId server : missing_agreement()) missing += fmt::format("{}{}", missing.empty() ? "" : ", ", server);
  if (missing.empty()) return {};
  return fmt::format("it was let go on alone, and was switched on (or paused for long) since: it waits for server {}, which may "
                     "have been let go on meanwhile, or for a person", missing);
}

}  // namespace baton::database
