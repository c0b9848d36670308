// See lineage_gate.h.
#include "src/core/node/lineage_gate.h"

#include <algorithm>

#include "src/base/planted.h"

namespace baton::node {

namespace {
/// How long the database waits for newcomers that say nothing: their batond hangs, or is of an older version.
constexpr Duration kHelloLimit = 500ms;
/// Who has just started may be one of a past that the silent ones have given up: he is in no hurry.
constexpr Duration kHelloLimitAtStart = 3s;
}  // namespace

bool LineageGate::fits(Epoch lineage) const {
  return lineage == own_ || lineage == kNoLineage || own_ == kNoLineage || planted(Plant::kReturningNotRefused);
}

bool LineageGate::outdated() const { return !given_up_ && guard_heard_ > own_ && !planted(Plant::kReturningNotRefused); }

/// Everybody says Hello again in each view: what was said before may be of a log that has grown since.
void LineageGate::forget_who_left() {
  std::erase_if(heard_, [&](const auto& each) { return !view_.members.contains(each.first); });
  hellos_.clear();
}

void LineageGate::view_changed(Instant now, const ViewChanged& view, GateActions& actions) {
  view_ = view;
  forget_who_left();
  held_.clear();  // promises and acknowledgements of another view count for nothing
  missing_.clear();
  for (const ServerId member : view.members)
    if (member != self_ && !heard_.contains(member)) missing_.insert(member);
  actions.say_hello = !view.members.empty();
  // SAFETY: R3. Those that were given up must not open an epoch with each other before they have heard that they were.
  holding_ = (!missing_.empty() || waits_for_guards()) && !given_up_;
  if (holding_) limit_ = now + (had_company_ ? kHelloLimit : kHelloLimitAtStart);
  deliver_view(actions);
}

/// R6. The first time since the start, when this server may be one of the past: the survivor's batond may be away, and its guard is not.
bool LineageGate::waits_for_guards() const {
  if (had_company_ || view_.members.size() < 2 || planted(Plant::kGuardDeafToRecovery)) return false;
  return !std::includes(guards_.begin(), guards_.end(), view_.members.begin(), view_.members.end());
}

void LineageGate::release_if_heard(GateActions& actions) {
  if (holding_ && missing_.empty() && !waits_for_guards()) release(actions);
}

void LineageGate::message_received(const MessageReceived& received, GateActions& actions) {
  const ServerId from = received.from;
  if (!view_.members.contains(from)) return;
  const auto before = heard_.find(from);
  const bool another = before != heard_.end() && before->second != received.lineage;
  if (from != self_) heard_[from] = received.lineage;
  if (another && !given_up_) deliver_if_changed(actions);
  if (const auto* hello = std::get_if<Hello>(&received.message)) judge(from, *hello, received.lineage, actions);
  // SAFETY: R2. What is said in another lineage is not even looked at.
  if (!shut() && fits(received.lineage) && !std::holds_alternative<Hello>(received.message)) {
    if (holding_ && std::holds_alternative<database::Message>(received.message)) {
      held_.push_back(received);
    } else {
      actions.pass.emplace_back(received);
    }
  }
  missing_.erase(from);
  release_if_heard(actions);
}

void LineageGate::judge(ServerId from, const Hello& hello, Epoch lineage, GateActions& actions) {
  hellos_[from] = hello;
  if (from == self_ || given_up_) return;
  if (fits(lineage)) return deliver_if_changed(actions);
  if (lineage > own_) {
    // SAFETY: R2. A newer recovery did without this server: it has no majority and no lease any more.
    given_up_ = true;
    holding_ = false;
    held_.clear();
    actions.stand_down = StandDown{from, lineage, hello.survivors.contains(self_)};
    return deliver_view(actions);
  }
  actions.refused.insert(from);
  deliver_if_changed(actions);
}

void LineageGate::own_changed(Epoch own, GateActions& actions) {
  own_ = own;
  actions.say_hello = !view_.members.empty();
  if (given_up_) return;
  for (const ServerId server : refused()) actions.refused.insert(server);
  held_.clear();
  deliver_if_changed(actions);
}

void LineageGate::guard_heard(Epoch lineage, std::set<ServerId> guards, GateActions& actions) {
  guard_heard_ = lineage;
  guards_ = std::move(guards);
  if (given_up_) return;
  if (outdated()) held_.clear();
  deliver_if_changed(actions);
  release_if_heard(actions);
}

std::set<ServerId> LineageGate::refused() const {
  std::set<ServerId> others;
  for (const auto& [server, lineage] : heard_)
    if (server != self_ && !fits(lineage)) others.insert(server);
  return others;
}

/// Who was given up sees nobody: he has no majority, whatever his log says.
std::set<ServerId> LineageGate::visible() const {
  if (shut()) return {};
  std::set<ServerId> members = view_.members;
  for (const ServerId server : refused()) members.erase(server);
  return members;
}

void LineageGate::deliver_view(GateActions& actions) {
  delivered_ = visible();
  actions.pass.emplace_back(ViewChanged{delivered_, view_.departed});
  view_.departed.clear();
}

/// Between the engine's views: an epoch need not end because of a word that changes nothing.
void LineageGate::deliver_if_changed(GateActions& actions) {
  if (visible() != delivered_) deliver_view(actions);
}

void LineageGate::release(GateActions& actions) {
  holding_ = false;
  had_company_ = true;
  missing_.clear();
  for (auto& received : held_) actions.pass.emplace_back(std::move(received));
  held_.clear();
}

void LineageGate::tick(Instant now, GateActions& actions) {
  if (holding_ && now >= limit_) release(actions);
}

}  // namespace baton::node
