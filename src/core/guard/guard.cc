// The guard's events and actions. Pure. docs/protocol.md, "Leases" and "Taking a group from an owner that has not
// released it".
#include "src/core/guard/guard.h"

#include <algorithm>

#include "src/base/planted.h"

namespace baton::guard {

namespace {
constexpr Duration kIdleTick = 1s;  // without members: gaps are noticed by steps
}  // namespace

GuardCore::GuardCore(const Settings& settings, uint64_t start, const Knowledge& kept, Instant published, Instant now)
    : settings_(settings),
      start_(start),
      lease_(settings, start, now),
      knowledge_(kept),
      published_until_(published),
      now_(now),
      last_step_(now) {
  // SAFETY: W4. What was published reaches a lease beyond the last moment at which a guard surely ran.
  if (knowledge_.gaps == 0 || published - settings.lease + kLongGap < now) ++knowledge_.gaps;
  take_knowledge();
}

void GuardCore::take_knowledge() {
  // SAFETY: R6.
  lease_.set_knowledge(knowledge_.grants && !outdated(), knowledge_.knows, knowledge_.fences);
  if (!knowledge_.voters.now.empty()) lease_.set_voters(knowledge_.voters, knowledge_.voters_fence);
}

void GuardCore::step(Instant now, const Event& event, std::vector<Action>& actions) {
  now_ = now;
  actions_ = &actions;
  notice_gap();
  std::visit([&](const auto& what) { handle(what); }, event);
  publish();
  beat_if_due();
  actions_ = nullptr;
}

/// F5: a tick that comes late is a gap that no other clock may have seen.
void GuardCore::notice_gap() {
  const bool late = now_ > (beat_at_ == kNever ? last_step_ + kIdleTick : beat_at_) + settings_.lease / 4;
  if (late && beat_at_ != kNever) lease_.forget_sent();
  // SAFETY: W4. Between two gaps it must have run for long enough to be seen by the other server; else they are one.
  if (!late && now_ > late_at_ + 2 * settings_.lease) stalled_since_ = kNever;
  if (late) stalled(last_step_);
  if (stalled_since_ != kNever && now_ > stalled_since_ + kLongGap) long_gap();
  last_step_ = now_;
}

/// It has not run from then until now, but perhaps for moments.
void GuardCore::stalled(Instant since) {
  late_at_ = now_;
  stalled_since_ = std::min(stalled_since_, since);
}

/// SAFETY: W4. Meanwhile an operator may have let the other server go on.
void GuardCore::long_gap() {
  stalled_since_ = kNever;
  if (planted(Plant::kRightKeptOverGap)) return;
  ++knowledge_.gaps;
  actions_->push_back(Keep{knowledge_});
  if (!may_publish()) withdraw();
}

void GuardCore::withdraw() {
  if (published_until_ == Instant{}) return;
  published_until_ = Instant{};
  actions_->push_back(Publish{published_until_});
}

/// A recovery did without this server, as far as its batond has told.
bool GuardCore::outdated() const {
  return knowledge_.newest_lineage > knowledge_.lineage && !planted(Plant::kGuardDeafToRecovery);
}

/// SAFETY: F3, F4, W4, R6.
bool GuardCore::may_publish() const {
  return !lease_.fenced() && knowledge_.grants && !outdated() && (!knowledge_.alone || knowledge_.right == knowledge_.gaps);
}

void GuardCore::handle(const ViewChanged& event) {
  members_ = event.members;
  heard_.clear();
  lease_.view_changed(members_);
  beat_at_ = members_.empty() ? kNever : now_;
}

void GuardCore::handle(const BeatReceived& event) {
  if (members_.contains(event.from) && event.beat.lineage > knowledge_.newest_lineage) hear_of_recovery(event.beat.lineage);
  lease_.beat_received(now_, event.from, event.beat);
  if (event.from == settings_.self || !members_.contains(event.from)) return;
  // A new one needs our grant soon. And beats that follow one another at once share the rounds of corosync's token.
  if (heard_.insert(event.from).second || now_ >= beat_at_ - settings_.beat / 2) beat_at_ = now_;
}

/// SAFETY: R6. Whether this server is a survivor or was given up: by its old log it has no right to anything.
void GuardCore::hear_of_recovery(Epoch lineage) {
  knowledge_.newest_lineage = lineage;
  take_knowledge();
  actions_->push_back(Keep{knowledge_});
  if (outdated()) withdraw();
  actions_->push_back(report(now_));
}

void GuardCore::handle(const Tell& event) {
  teller_ = event.teller;
  number_ = event.number;
  const LogPosition knew = knowledge_.knows;
  const bool granted = knowledge_.grants;
  const Knowledge before = knowledge_;
  const bool has_right = before.right == event.knowledge.right;
  knowledge_ = event.knowledge;
  knowledge_.gaps = before.gaps;
  knowledge_.newest_lineage = std::max(before.newest_lineage, knowledge_.lineage);
  knowledge_.knows = std::max(knowledge_.knows, knew);  // F1: never back
  // SAFETY: W7, T3. Batond may have been held up since it decided so, or this server's clock stood still.
  if (!has_right && limit_is_over()) knowledge_.right = 0;
  take_knowledge();
  actions_->push_back(Keep{knowledge_});
  // SAFETY: F3, before the answer that lets batond acknowledge the entry. (What the other guard has granted lasts to its end; W4 is
  // about what this one publishes by its own vote.)
  if (lease_.fenced() || outdated() || (before.alone && knowledge_.alone && !may_publish())) withdraw();
  actions_->push_back(report(now_));
  if ((knowledge_.knows > knew || knowledge_.grants != granted) && beat_at_ != kNever) beat_at_ = now_;
}

/// Of the right's time limit, which goes by a clock that did not see all.
bool GuardCore::limit_is_over() const {
  const bool recent = now_ <= jumped_at_ + kLongGap;
  return knowledge_.right_by != kNever && now_ + (recent ? unseen_ : Duration{0}) >= knowledge_.right_by;
}

void GuardCore::handle(const TimeJumped& event) {
  if (planted(Plant::kGapIgnored)) return;
  const Duration length = std::min(event.length, 2 * kLongGap);
  unseen_ = length + (now_ <= jumped_at_ + kLongGap ? unseen_ : Duration{0});
  jumped_at_ = now_;
  // SAFETY: F5. The page's deadline is one of a clock that stood still meanwhile.
  lease_.forget_lease();
  withdraw();
  // What no clock of this core's has counted lies before everything that it counts as one gap with it.
  stalled(std::min(stalled_since_, now_) - length);
  if (now_ > stalled_since_ + kLongGap) long_gap();
  // SAFETY: W7, T3. A right whose limit is yet to come may have been taken a moment ago, before this was seen.
  if (knowledge_.right != 0 && now_ < knowledge_.right_by && limit_is_over()) {
    knowledge_.right = 0;
    actions_->push_back(Keep{knowledge_});
  }
  if (beat_at_ != kNever) beat_at_ = now_;
}

void GuardCore::publish() {
  if (!may_publish()) return;
  const Instant until = lease_.lease_until();
  if (until <= published_until_ || until <= now_) return;
  published_until_ = until;
  actions_->push_back(Publish{until});
}

void GuardCore::beat_if_due() {
  if (now_ < beat_at_) return;
  beat_at_ = now_ + settings_.beat;
  Beat beat = lease_.make_beat(now_);
  beat.lineage = knowledge_.newest_lineage;  // what was heard goes round
  actions_->push_back(SendBeat{std::move(beat)});
  publish();
  actions_->push_back(report(now_));
}

Instant GuardCore::next_tick() const { return beat_at_ != kNever ? beat_at_ : last_step_ + kIdleTick; }

Report GuardCore::report(Instant now) const {
  return {start_, teller_, number_, knowledge_, lease_.account(now), lease_.account_below_fences(now), members_,
          heard_};
}

}  // namespace baton::guard
