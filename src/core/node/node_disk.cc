// Two servers without a third vote that have a disk in common: the lock on it takes the operator's place. When it is asked, what its
// answer means, and when it is freed. Pure. docs/protocol.md, "The arbiter on a disk".
#include <algorithm>

#include "src/base/planted.h"
#include "src/core/node/node_state.h"
#include "src/model/known_configuration.h"

namespace baton::node {

namespace {
constexpr Duration kStartPatience = 5s;     // after a start the other one is waited for at least that long
constexpr Duration kPreference = 1500ms;    // so long the other one may ask first, if it lives and runs the groups
constexpr Duration kWordLimit = 3s;         // for the disk's answer to an operator's word
constexpr Duration kDiskMissed = 3s;        // before people are told
constexpr Duration kSameDisk = 15s;         // by then the other one has written to it, if it is the same
}  // namespace

void NodeCore::Implementation::watch_disk() {
  const ArbiterView& view = arbiter_view();
  const Configuration& parsed = view.configuration;
  const bool used = parsed.np == NpKind::kDisk && parsed.servers.size() == 2 && parsed.server(settings.self) != nullptr && !gate.shut();
  disk_lock.use(now, used ? parsed.np_disk : "", used ? other_server() : ServerId{});
  if (used) {
    prove_disk();
    heed_disk(view);
    disk_lock.wish(disk_wish(view));
    if (auto round = disk_lock.next(now, guard ? guard->knowledge.gaps : 0)) out().push_back(std::move(*round));
  }
  heed_word();
  note_disk();
}

/// SAFETY: Q7. What the other one writes there, in the life in which it is heard: so it is the same disk.
void NodeCore::Implementation::prove_disk() {
  const auto peer = peers.find(other_server());
  const bool heard = peer != peers.end() && peer->second.in_view && peer->second.life != 0;
  if (heard && disk_lock.answers(now) && disk_lock.other().life == peer->second.life) disk_proved = disk_lock.disk();
}

/// Why this server does not ask the disk now, for people; empty: it does. (A server that decides alone already does so by itself.)
std::string NodeCore::Implementation::why_not_ask(const ArbiterView& view) const {
  const std::string other = configuration.server_name(other_server());
  if (!disk_lock.answers(now)) return disk_lock.why_not(now) + ", which would say who may go on";
  if (std::string why = why_not_by_itself(view); !why.empty()) return why;
  if (disk_lock.others()) return fmt::format("the disk names {}: what that has decided alone is not here", other);
  if (disk_proved != disk_lock.disk()) {
    // SAFETY: Q7. Nothing was heard of the other one since this start; it wrote to this disk in an earlier one.
    if (disk_lock.other().sequence == 0) return fmt::format("{} has never written to the disk {}", other, disk_lock.disk());
    const Duration wait = std::max<Duration>(view.configuration.startup_wait, kStartPatience);
    if (now < started_at + wait)
      return fmt::format("it has just been started, and waits for {} for {} s more before it asks the disk", other,
                         (started_at + wait - now) / 1s + 1);
  }
  if (disk_lock.other_lives(now) && other_is_preferred() && now < other_seen + kPreference)
    return fmt::format("{} lives, by the disk, and may ask first", other);
  return {};
}

arbiter::DiskWish NodeCore::Implementation::disk_wish(const ArbiterView& view) const {
  using Kind = arbiter::DiskWish::Kind;
  const bool others_vote = database.voters().contains(other_server());
  // SAFETY: Q5. The change by which the other one votes again is settled: it holds all that was decided here.
  if (database.standing().serving && others_vote && !database.taken_over() && !database.voters().joint()) return {Kind::kFree, 0};
  if (planted(Plant::kLockFreedEarly) && database.standing().serving) return {Kind::kFree, 0};
  if (asked_word) return {Kind::kHold, word_voids};
  if (alone_by_log()) {
    // SAFETY: Q6. Only the word that was given to this batond, while that could not ask the disk.
    if (right != 0) return {Kind::kHold, word_without_disk ? disk_lock.other().claim : 0};
    return {sees_other() ? Kind::kKeep : Kind::kHold, 0};
  }
  if (!database.standing().serving && why_not_ask(view).empty()) return {Kind::kHold, 0};
  return {};
}

/// What the last round says.
void NodeCore::Implementation::heed_disk(const ArbiterView& view) {
  const std::string other = configuration.server_name(other_server());
  if (disk_lock.take_voided()) {
    // SAFETY: Q6. A person has let the other one go on.
    note({.kind = "alert", .text = fmt::format("the disk {} names {}, by an operator's word: this server decides nothing alone any more",
                                               disk_lock.disk(), other)});
    if (alone_by_log()) right = 0;
    tell_database_right();
  }
  // SAFETY: Q4. The guard ran without a long gap since that round began.
  if (!disk_lock.has(now) || !guard || disk_lock.marked() != guard->knowledge.gaps) return;
  if (alone_by_log()) {
    word_without_disk = false;
    if (right != 0) return;
    right = disk_lock.marked();
    right_by = kNever;
    note({.kind = "problem", .text = fmt::format("the disk {} names this server: it goes on alone", disk_lock.disk())});
    tell_database_right();
    return;
  }
  if (database.standing().serving || asked_word || is_proposing("takeover") || !why_not_ask(view).empty()) return;
  const std::string self = configuration.server_name(settings.self);
  take_over_by_itself(fmt::format("{} is not reached, and the disk names {}", other, self),
                      fmt::format("{} is not reached, and the disk {} names this server: it goes on alone", other, disk_lock.disk()));
}

/// An operator's word, for which the lock is taken first if the disk can be asked. True: it waits for that.
bool NodeCore::Implementation::word_waits(const Requested& event) {
  if (!disk_lock.in_use() || !disk_lock.answers(now) || disk_lock.has(now)) return false;
  if (asked_word) out().push_back(Decided{asked_word->request, true, Applied{false, "another word came after it"}});
  asked_word = event;
  word_voids = disk_lock.others() ? disk_lock.other().claim : 0;
  word_until = now + kWordLimit;
  return true;
}

void NodeCore::Implementation::heed_word() {
  if (!asked_word) return;
  const Requested word = *asked_word;
  if (disk_lock.has(now)) {
    asked_word.reset();
    return handle(word);
  }
  if (disk_lock.answers(now) && now < word_until) return;
  asked_word.reset();
  const std::string why = !disk_lock.answers(now) ? "the disk cannot be asked any more"
                                                  : fmt::format("the disk names {} now", configuration.server_name(other_server()));
  out().push_back(Decided{word.request, true, Applied{false, why + ": look again, and repeat"}});
}

void NodeCore::Implementation::note_disk() {
  const std::string why = disk_lock.why_not(now);
  if (why.empty()) disk_missed_since = kNever;
  else if (disk_missed_since == kNever) disk_missed_since = now;
  const bool missed = disk_missed_since != kNever && now >= disk_missed_since + kDiskMissed;
  if (missed && !disk_noted)
    note({.kind = "alert", .text = fmt::format("{}: while that is so this server does not go on by itself if {} is lost", why,
                                               configuration.server_name(other_server()))});
  if (!missed && disk_noted && why.empty()) note({.kind = "problem", .text = "the disk that decides between the servers answers again"});
  if (missed || why.empty()) disk_noted = missed;
  const auto peer = peers.find(other_server());
  const bool both = disk_lock.answers(now) && peer != peers.end() && peer->second.in_view && peer->second.life != 0;
  if (!both || disk_lock.other().life == peer->second.life) {
    not_same_since = kNever;
  } else if (not_same_since == kNever) {
    not_same_since = now;
  } else if (now >= not_same_since + kSameDisk && !std::exchange(not_same_noted, true)) {
    note({.kind = "alert", .text = fmt::format("{} does not write to the disk {}: it cannot, or {} names another disk there",
                                               configuration.server_name(other_server()), disk_lock.disk(), disk_lock.disk())});
  }
  if (not_same_since == kNever) not_same_noted = false;
}

/// Q6. Whom the disk names must have stood still, as far as the disk shows, for as long as it keeps a right.
Status NodeCore::Implementation::may_overrule_disk(Instant when, Duration gap) const {
  if (!disk_lock.in_use() || !disk_lock.answers(when) || !disk_lock.others()) return {};
  const std::string other = configuration.server_name(other_server());
  if (disk_lock.other_lives(when))
    return fail_as(ErrorCode::kConflict, "the disk {} names {}, which writes to it: it lives, and goes on alone. Switch its power off first",
                   disk_lock.disk(), other);
  const Instant wrote = disk_lock.other_wrote() == kNever ? started_at : std::max(started_at, disk_lock.other_wrote());
  if (when < wrote + gap)
    return fail_as(ErrorCode::kUnavailable, "the disk {} names {}, which may only stand still for a moment: repeat in {} s", disk_lock.disk(),
                   other, (wrote + gap - when) / 1s + 1);
  return {};
}

std::string NodeCore::Implementation::why_not_prepare_disk(Instant when, const std::string& device) const {
  // SAFETY: Q3. While both decide nobody needs a claim. Otherwise what stands on the disk, whatever name it goes by, may be all that
  // keeps the other one from going on, too.
  if (!database.standing().serving || database.state().taken_over != ServerId{} || database.state().voters.joint())
    return "a disk is prepared only while both servers are there and decide together: `baton status` tells what is missing";
  if (disk_lock.disk() == device && disk_lock.answers(when))
    return fmt::format("{} decides between the servers now: apply np = \"operator\" first", device);
  return {};
}

void NodeCore::Implementation::add_disk_facts(TakeoverOffer& offer, Instant when) const {
  if (!disk_lock.in_use()) return;
  const std::string other = configuration.server_name(other_server());
  if (!disk_lock.answers(when)) {
    offer.facts.push_back(fmt::format("{}: WHETHER {} GOES ON BY IT IS NOT KNOWN HERE. Switch {} off, and leave it off until this server "
                                      "reaches the disk again", disk_lock.why_not(when), other, other));
  } else if (disk_lock.others()) {
    offer.loses = true;
    offer.facts.push_back(fmt::format("THE DISK NAMES {}: it went on alone, or was about to, and has not written to the disk since. What it "
                                      "has answered by itself would be given up", other));
  }
}

std::string NodeCore::Implementation::disk_waiting() const {
  if (!alone_by_log()) return why_not_ask(*known_view);
  if (!disk_lock.answers(now)) return disk_lock.why_not(now);
  return disk_lock.others() ? fmt::format("the disk names {}", configuration.server_name(other_server())) : "";
}

/// For people; empty: nothing to say.
std::string NodeCore::Implementation::describe_disk() const {
  if (!disk_lock.in_use()) return {};
  if (const std::string why = disk_lock.why_not(now); !why.empty())
    return why + ": nobody here goes on by itself if the other server is lost";
  const std::string other = configuration.server_name(other_server());
  if (disk_lock.others())
    return fmt::format("it names {}: if that is lost now, this server waits for it, or for an operator", other);
  const bool held = disk_lock.own().claim != 0;
  if (held && !alone_by_log())
    return fmt::format("it still names this server: if this one is lost now, {} waits for it, or for an operator", other);
  if (!held && disk_proved != disk_lock.disk()) return fmt::format("{} has not been seen to write to it since this start", other);
  return {};
}

}  // namespace baton::node
