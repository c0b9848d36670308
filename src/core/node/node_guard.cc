// What this server's guard is told (what the server knows, the fences), and what waits until the guard has it. Pure.
// docs/protocol.md, "Fences" and "Taking a group from an owner that has not released it".
#include "src/base/planted.h"
#include "src/core/node/node_state.h"

namespace baton::node {

namespace {
constexpr Duration kGuardPatience = 1s;

void raise(guard::Fences& fences, ServerId server, const LogPosition& position) {
  auto& fence = fences[server];
  fence = std::max(fence, position);
}
}  // namespace

bool NodeCore::Implementation::runs_what_it_does_not_own() const {
  for (const auto& [name, run] : runs) {
    const auto group = database.state().groups.find(name);
    const bool owned = group != database.state().groups.end() && group->second.owner == settings.self;
    // What is left of an earlier assignment counts although the group has come back since.
    if (owned && !stale_runs.contains(name)) continue;
    // Mirrors and addresses are what a lease brings to life; processes and mounts are dead without them.
    for (const auto& resource : run->configuration().resources) {
      const bool lives_by_lease = resource.kind == ResourceKind::kMirror || resource.kind == ResourceKind::kAddress;
      if (lives_by_lease && run->resources().at(resource.name).state != group::ResourceState::kDown) return true;
    }
  }
  return false;
}

/// SAFETY: W5, T7. What an earlier batond had applied may have been given up since: it says nothing of this log then.
void NodeCore::Implementation::forget_what_was_cut() {
  if (!database.holds(exact)) exact = LogPosition{};
}

guard::Knowledge NodeCore::Implementation::knowledge() {
  forget_what_was_cut();
  // SAFETY: F1. Not past what is up here and belongs, or may belong, to another server by now.
  if (database.standing().serving && (!runs_what_it_does_not_own() || planted(Plant::kKnownBeforeDown)))
    server_knows = std::max(server_knows, database.known_by(settings.self));
  guard::Knowledge wanted;
  wanted.grants = database.standing().counting;  // F4
  wanted.knows = server_knows;
  wanted.exact = std::max(exact, database.applied_on_disk());
  wanted.fences = fences;
  // SAFETY: R2, R6. Who was given up grants nothing and has no lease.
  wanted.lineage = database.standing().counting ? database.lineage() : Epoch{};
  if (gate.shut()) {
    wanted.grants = false;
    wanted.fences[settings.self] = LogPosition{kNoLineage, ~uint64_t{0}};
  }
  // SAFETY: F2. Uncommitted entries, too.
  for (const auto& [server, position] : database.fences_above(exact)) raise(wanted.fences, server, position);
  // SAFETY: V1, V5. Before any entry of the log counts as being on this voter's disk.
  wanted.voters = database.voters();
  wanted.voters_fence = std::max(voters_fence, database.voters_fence_above(exact));
  // SAFETY: W4. Its vote alone is a majority: the guard needs more than that.
  wanted.alone = alone_by_log();
  // Only what is on disk: else a right would outlive the word by which it was given.
  if (database.voters_on_disk()) right_on_disk = right;
  wanted.right = wanted.alone ? right_on_disk : 0;
  wanted.right_by = wanted.right != 0 ? right_by : kNever;
  return wanted;
}

void NodeCore::Implementation::tell_guard() {
  if (!guard) return;
  guard::Knowledge wanted = knowledge();
  const auto own_fence = wanted.fences.find(settings.self);
  const bool fenced = own_fence != wanted.fences.end() && wanted.knows < own_fence->second;
  if (fenced && !withdrawn && !lease_lapsed())
    note({.kind = "database", .text = "lease withdrawn: a group of this server is being given to another one"});
  withdrawn = fenced;
  if (told && *told == wanted) return;
  ++tell_number;
  if (!told || told->fences != wanted.fences || told->voters != wanted.voters || told->voters_fence != wanted.voters_fence)
    fences_number = tell_number;
  told = wanted;
  out().push_back(TellGuard{{settings.start, tell_number, std::move(wanted)}});
}

/// L2: the guard has answered that it has the fences of the log as it is.
bool NodeCore::Implementation::fences_in_place() const {
  if (planted(Plant::kAcknowledgedBeforeFence)) return true;
  if (guard && told) return guard->teller == settings.start && guard->number >= fences_number;
  // Without a guard: only if there is nothing that it had to know.
  return fences.empty() && database.fences_above(exact).empty() && database.voters_index() == 0;
}

void NodeCore::Implementation::handle(const Persisted& event) {
  tell_guard();
  // SAFETY: L2. (A Persist that failed promises nothing.)
  if (event.ok && !fences_in_place()) {
    held_back = event;
    return;
  }
  feed_database(database::Persisted{event.token, event.ok});
}

void NodeCore::Implementation::release_held() {
  if (!held_back || !fences_in_place()) return;
  const Persisted event = *held_back;
  held_back.reset();
  feed_database(database::Persisted{event.token, event.ok});
}

/// SAFETY: W1. A fence for a TakeOver that never came on the disk: nothing was acknowledged in its epoch, and epochs need not reach it.
LogPosition NodeCore::Implementation::as_acknowledged(LogPosition fence) const {
  if (database.standing().counting) fence.epoch = std::min(fence.epoch, database.promise_on_disk());
  return fence;
}

void NodeCore::Implementation::handle(const GuardReported& event) {
  const bool another = !guard || guard->start != event.report.start;
  if (guard_noted) note({.kind = "problem", .text = "baton-guard answers again"});
  guard_noted = false;
  if (another) {
    guard_since = now;
    told.reset();
    for (const auto& [server, position] : event.report.knowledge.fences) raise(fences, server, as_acknowledged(position));
    server_knows = std::max(server_knows, event.report.knowledge.knows);
    voters_fence = std::max(voters_fence, as_acknowledged(event.report.knowledge.voters_fence));
    // Of an earlier batond of this boot; a guard forgets it with the machine's power.
    // SAFETY: T6, T7. Not what this one gave up, if that guard's end was quicker than the word.
    if (right == 0 && alone_by_log() && event.report.knowledge.alone && !rival_met && stood_down == kNever) {
      right = event.report.knowledge.right;
      right_by = event.report.knowledge.right_by;
    }
    // Kept from an earlier batond of this boot: what is above is taken as it stands in the log.
    if (database.holds(event.report.knowledge.exact)) exact = std::max(exact, event.report.knowledge.exact);
  }
  guard = event.report;
  hear_guard();
  heed_refused_right();
  tell_guard();
  release_held();
  nothing_new = !another;
}

void NodeCore::Implementation::handle(const GuardGone&) {
  guard.reset();
  told.reset();
}

std::map<ServerId, Duration> NodeCore::Implementation::lease_left(Instant when,
                                                                  database::Database::Grants grants) const {
  std::map<ServerId, Duration> left;
  const bool all = grants == database::Database::Grants::kAll;
  if (!guard && all) {
    // It may go on granting unseen, but for the hints that this is for its absence now is what counts.
    for (const auto& server : configuration.servers) left[server.id] = guard::with_drift(configuration.timing.lease);
  }
  if (!guard) return left;
  for (const auto& [server, over] : all ? guard->account : guard->account_below_fences)
    left[server] = std::max(Duration{0}, over - when);
  // SAFETY: a server that this guard has not heard of may have been granted a lease by one before it.
  const Duration of_former = guard_since + guard::with_drift(configuration.timing.lease) - when;
  for (const auto& server : configuration.servers) left.try_emplace(server.id, std::max(Duration{0}, of_former));
  // SAFETY: L3, R7. Nor of one that is no server of the cluster any more, and from which an entry of this log takes something all the same.
  if (told)
    for (const auto& [server, fence] : told->fences) left.try_emplace(server, std::max(Duration{0}, of_former));
  // SAFETY: R1. What the former voters granted is not known here: a recovery counts as a grant to everybody else.
  const Duration of_given_up = recovered_at == kNever ? Duration{0} : recovered_at + guard::with_drift(configuration.timing.lease) - when;
  for (auto& [server, rest] : left)
    if (server != settings.self) rest = std::max(rest, of_given_up);
  return left;
}

std::string NodeCore::Implementation::waiting_for_guard() const {
  if (held_back) return "baton-guard has not confirmed its fences yet: this voter's database acknowledges nothing until then";
  if (!guard) return "baton-guard cannot be reached: this server grants no leases, and gets none";
  return {};
}

void NodeCore::Implementation::note_guard() {
  if (!held_back && guard) {
    guard_missed_since = kNever;
    return;
  }
  if (guard_missed_since == kNever) guard_missed_since = now;
  if (guard_noted || now < guard_missed_since + kGuardPatience) return;
  guard_noted = true;
  note({.kind = "problem", .text = waiting_for_guard()});
}

}  // namespace baton::node
