// Two servers without a third vote that ask ping targets: when this one goes on by itself because of their answers, when it stands
// down, and what becomes of it when both went on. Pure. docs/protocol.md, "The arbiter by ping targets".
#include <algorithm>

#include <fmt/ranges.h>

#include "src/base/planted.h"
#include "src/core/node/node_state.h"

namespace baton::node {

namespace {
constexpr Duration kDecideWithin = 2s;       // besides lease and token, after the last time that the two decided together
constexpr Duration kAddressPatience = 200ms; // for an address of the other one's groups
constexpr Duration kSettle = 50ms;          // rings that form anew tell of a loss that is over at once
constexpr Duration kStandDown = 2s;          // without an answer
constexpr Duration kMissed = 3s;             // before people are told
}  // namespace

void NodeCore::Implementation::watch_ping() {
  const ArbiterView& view = arbiter_view();
  const Configuration& parsed = view.configuration;
  const bool used = parsed.np == NpKind::kPing && parsed.servers.size() == 2 && parsed.server(settings.self) != nullptr && !gate.shut();
  // What parts the servers lasts longer than that: a pause of the targets that is as long may be the same loss.
  const Duration patience = (parsed.timing.token + parsed.timing.consensus) * 3 / 4;
  ping.use(now, used ? parsed.ping_targets : std::vector<std::string>{}, patience);
  if (used) {
    note_together();
    if (!sees_other() && other_seen == now) ping.hurry(now);
    ask_addresses(view);
    stand_down_or_go_on();
    go_on_by_ping(view);
    if (auto round = ping.next(now)) out().push_back(std::move(*round));
  }
  note_ping();
}

/// SAFETY: T2. An epoch serves with both as voters, and this server's beat has come back from a view with both.
void NodeCore::Implementation::note_together() {
  if (members.empty()) together = Instant{};
  if (database.standing().serving) rival_met = false;
  const bool both = database.standing().serving && members.contains(other_server()) && database.voters().contains(other_server()) &&
                    !database.taken_over() && !database.voters().joint() && guard.has_value();
  if (!both || silence.returned_sent() == Instant{}) return;
  together = std::max(together, silence.returned_sent());
  together_guard = guard->start;
  together_gaps = guard->knowledge.gaps;
  lease_seen_over = kNever;
  other_holds_on = false;
  not_by_ping.clear();
}

Instant NodeCore::Implementation::together_until() const {
  const TimingProfile& timing = configuration.timing;
  return together == Instant{} ? Instant{} : together + guard::with_drift(timing.lease) + timing.token + kDecideWithin;
}

/// T5. Addresses of groups that the other one had: they answer after its lease only if it decides alone.
void NodeCore::Implementation::ask_addresses(const ArbiterView& view) {
  std::vector<std::string> addresses;
  const bool undecided = !sees_other() && !alone_by_log() && !database.standing().serving && now < together_until();
  for (const auto& group : view.configuration.groups) {
    const auto state = database.state().groups.find(group.name);
    if (!undecided || state == database.state().groups.end() || state->second.owner != other_server()) continue;
    for (const auto& resource : group.resources)
      if (resource.kind == ResourceKind::kAddress) addresses.push_back(resource.address.address);
  }
  if (addresses.empty() || !other_is_preferred()) return ping.ask_also({});
  ping.ask_also(addresses);
  if (lease_seen_over != kNever) {
    other_holds_on = other_holds_on || ping.other_answered() >= lease_seen_over;
    return;
  }
  const auto left = lease_left(now, database::Database::Grants::kAll);
  const auto others = left.find(other_server());
  if (others == left.end() || others->second > Duration{0}) return;
  lease_seen_over = now;
  ping.hurry(now);
}

/// Why this server does not go on by itself, for people; empty: it does.
std::string NodeCore::Implementation::why_not_by_ping(const ArbiterView& view) const {
  const std::string other = configuration.server_name(other_server());
  if (std::string why = why_not_by_itself(view); !why.empty()) return why;
  // SAFETY: T2. After a start, a pause, or with another guard, nothing says what the other one has done meanwhile.
  if (together == Instant{} || together_guard != guard->start || together_gaps != guard->knowledge.gaps)
    return fmt::format("it has not decided together with {} since it was started, or stood still: {} may have gone on without it", other, other);
  // SAFETY: T9. With the entry on this disk only the other one goes by another word.
  if (configuration.np != NpKind::kPing) return fmt::format("{} may not know yet that ping targets decide", other);
  // SAFETY: T3. After that the other one may have gone on, and have ended.
  if (now >= together_until())
    return not_by_ping.empty() ? fmt::format("it stood still itself, or was held up, when {} was lost", other) : not_by_ping;
  // SAFETY: T3. Who was cut off itself does not go on when it is back.
  if (ping.steady_since(now) > together && !planted(Plant::kOldPingCounts))
    return fmt::format("no ping target answered all the time while {} was lost: it may be this server that was cut off", other);
  // SAFETY: T1. An echo that was sent before says nothing about the time after.
  if (ping.target_answered() < (planted(Plant::kOldPingCounts) ? together - 1s : other_seen))
    return fmt::format("no ping target has answered since {} was lost", other);
  if (now < other_seen + kSettle) return fmt::format("{} was lost a moment ago", other);
  if (other_holds_on) return fmt::format("an address of {}'s groups still answers: {} lives, and went on", other, other);
  if (ping.asks_also() && (lease_seen_over == kNever || now < lease_seen_over + kAddressPatience))
    return fmt::format("it looks whether addresses of {}'s groups still answer", other);
  return {};
}

/// The next moment at which there may be more to do than by the answers.
Instant NodeCore::Implementation::next_ping_step() const {
  Instant next = ping.next_tick();
  if (!ping.in_use() || database.standing().serving || sees_other() || now >= together_until()) return next;
  if (now < other_seen + kSettle) next = std::min(next, other_seen + kSettle);
  if (!ping.asks_also()) return next;
  if (lease_seen_over != kNever && now < lease_seen_over + kAddressPatience) next = std::min(next, lease_seen_over + kAddressPatience);
  const auto left = lease_left(now, database::Database::Grants::kAll);
  const auto others = left.find(other_server());
  if (lease_seen_over == kNever && others != left.end() && others->second > Duration{0}) next = std::min(next, now + others->second);
  return next;
}

void NodeCore::Implementation::go_on_by_ping(const ArbiterView& view) {
  if (database.standing().serving || alone_by_log() || together == Instant{}) return;
  const std::string why = why_not_by_ping(view);
  if (!why.empty()) {
    if (now < together_until()) not_by_ping = why;
    return;
  }
  if (is_proposing("takeover")) return;
  const std::string other = configuration.server_name(other_server());
  if (take_over_by_itself(fmt::format("{} is not reached, and a ping target is", other),
                          fmt::format("{} is not reached, and a ping target is: it goes on alone. (If {} reaches one, too, there are two owners now)",
                                      other, other))) {
    // SAFETY: T3. However long the disk, or the way to the guard, takes.
    right_by = together_until();
  } else {
    not_by_ping = "its own last entry is not on its disk yet";
  }
}

/// T4, T7: by targets, or after an end in order, and not by a person's word.
bool NodeCore::Implementation::by_ping() const {
  return ping.in_use() && alone_by_log() && !database.taken_over_by_word();
}

/// T6.
void NodeCore::Implementation::stand_down_or_go_on() {
  const bool alone = by_ping() && !sees_other() && database.state().server(other_server()).standing != ServerStanding::kStopped;
  // SAFETY: T3. A right that the guard has not got yet has its own time limit, and is not given again without one.
  if (alone && right != 0 && guard && guard->knowledge.right == right && ping.quiet_for() >= kStandDown) {
    stood_down_gaps = right;
    stood_down = now;
    right = right_on_disk = 0;
    note({.kind = "alert", .text = fmt::format("no ping target has answered for {} s ({}): this server, which went on alone, stands down until "
                                               "one does", kStandDown / 1s, ping.describe())});
    tell_database_right();
    return;
  }
  if (stood_down == kNever) return;
  // SAFETY: T6, W4. Only the right that it had: not after a pause, nor beside the other one.
  if (!alone || right != 0 || !guard || guard->knowledge.gaps != stood_down_gaps) {
    if (guard) stood_down = kNever;
    return;
  }
  if (ping.target_answered() <= stood_down) return;
  stood_down = kNever;
  right = stood_down_gaps;
  right_by = kNever;
  note({.kind = "problem", .text = "a ping target answers again: this server goes on alone"});
  tell_database_right();
}

/// SAFETY: T7. Neither is given up before a person has chosen.
void NodeCore::Implementation::meet_rival() {
  right = right_on_disk = 0;
  if (std::exchange(rival_met, true)) return;
  note({.kind = "alert", .text = fmt::format("{} went on alone, too, while the servers did not reach each other: each has what the other one lacks. "
                                             "Both wait for a person to say whose data stays (baton cluster takeover, there)",
                                             configuration.server_name(other_server()))});
}

void NodeCore::Implementation::note_ping() {
  const bool missed = ping.in_use() && ping.quiet_for() >= kMissed && !alone_by_log();
  if (missed && !ping_noted)
    note({.kind = "alert", .text = fmt::format("no ping target answers ({}): while that is so this server does not go on by itself if {} is lost",
                                               ping.describe(), configuration.server_name(other_server()))});
  if (ping_noted && ping.steady_since(now) != kNever) note({.kind = "problem", .text = "a ping target answers again"});
  if (missed || ping.quiet_for() == Duration{0}) ping_noted = missed;
}

std::string NodeCore::Implementation::ping_waiting() const {
  if (stood_down != kNever) return fmt::format("no ping target answers ({}), and it goes on when one does", ping.describe());
  return alone_by_log() ? "" : why_not_by_ping(*known_view);
}

/// For people; empty: nothing to say.
std::string NodeCore::Implementation::describe_ping() const {
  if (!ping.in_use()) return {};
  if (stood_down != kNever) return "no target answers: this server has stood down until one does";
  if (ping.quiet_for() >= kMissed) return "no target answers: this server does not go on by itself if the other one is lost";
  return {};
}

void NodeCore::Implementation::add_ping_facts(TakeoverOffer& offer) const {
  if (!ping.in_use()) return;
  const std::string other = configuration.server_name(other_server());
  if (rival_met) {
    offer.loses = true;
    offer.facts.push_back(fmt::format("BOTH SERVERS WENT ON ALONE: what {} has answered since would be given up; its copies are kept until "
                                      "somebody discards them", other));
    if (const auto reported = reports.find(other_server()); reported != reports.end())
      for (const auto& [key, report] : reported->second)
        if (report.dirty_bytes != 0)
          offer.facts.push_back(fmt::format("the copy of mirror {} on {} has {} KiB that were written alone", key, other, report.dirty_bytes / 1024));
  } else if (!sees_other()) {
    offer.loses = true;
    offer.facts.push_back(fmt::format("{} MAY HAVE GONE ON ALONE by a ping target, and goes on again whenever it reaches one: switch it off, and "
                                      "leave it off until it reaches this server", other));
  }
}

}  // namespace baton::node
