// See lineage_gate.h.
#include "src/core/node/lineage_gate.h"

#include "src/base/planted.h"

namespace baton::node {

namespace {
/// How long the view waits for newcomers that say nothing: their batond hangs, or is of an older version.
constexpr Duration kHelloLimit = 500ms;
/// Who has just started may be one of a past that the silent ones have given up: he is in no hurry.
constexpr Duration kHelloLimitAtStart = 3s;
}  // namespace

bool LineageGate::fits(Epoch lineage) const {
  return lineage == own_ || lineage == kNoLineage || own_ == kNoLineage || planted(Plant::kReturningNotRefused);
}

void LineageGate::forget_who_left() {
  std::erase_if(heard_, [&](const auto& each) { return !view_.members.contains(each.first); });
  std::erase_if(hellos_, [&](const auto& each) { return !view_.members.contains(each.first); });
}

void LineageGate::view_changed(Instant now, const ViewChanged& view, GateActions& actions) {
  if (holding_) release(actions);
  view_ = view;
  forget_who_left();
  missing_.clear();
  for (const ServerId member : view.members)
    if (member != self_ && !heard_.contains(member)) missing_.insert(member);
  actions.say_hello = !view.members.empty();
  // SAFETY: R3. Those that were given up must not open an epoch with each other before they have heard that they were.
  if (missing_.empty() || given_up_) return deliver_view(actions);
  holding_ = true;
  limit_ = now + (had_view_ ? kHelloLimit : kHelloLimitAtStart);
}

void LineageGate::message_received(const MessageReceived& received, GateActions& actions) {
  const ServerId from = received.from;
  if (!view_.members.contains(from)) return;
  if (from != self_) heard_[from] = received.lineage;
  if (const auto* hello = std::get_if<Hello>(&received.message)) judge(from, *hello, received.lineage, actions);
  // SAFETY: R2. What is said in another lineage is not even looked at.
  if (!given_up_ && fits(received.lineage) && !std::holds_alternative<Hello>(received.message)) {
    if (holding_) {
      held_.push_back(received);
    } else {
      actions.pass.emplace_back(received);
    }
  }
  missing_.erase(from);
  if (holding_ && missing_.empty()) release(actions);
}

void LineageGate::judge(ServerId from, const Hello& hello, Epoch lineage, GateActions& actions) {
  hellos_[from] = hello;
  if (from == self_ || given_up_ || fits(lineage)) {
    if (!holding_) deliver_if_changed(actions);
    return;
  }
  if (lineage > own_) {
    // SAFETY: R2. A newer recovery did without this server: it has no majority and no lease any more.
    given_up_ = true;
    holding_ = false;
    held_.clear();
    actions.stand_down = StandDown{from, lineage, hello.survivors.contains(self_)};
    return deliver_view(actions);
  }
  actions.refused.insert(from);
  if (!holding_) deliver_if_changed(actions);
}

void LineageGate::own_changed(Epoch own, GateActions& actions) {
  own_ = own;
  actions.say_hello = !view_.members.empty();
  if (given_up_) return;
  for (const ServerId server : refused()) actions.refused.insert(server);
  held_.clear();
  if (!holding_) deliver_if_changed(actions);
}

std::set<ServerId> LineageGate::refused() const {
  std::set<ServerId> others;
  for (const auto& [server, lineage] : heard_)
    if (server != self_ && !fits(lineage)) others.insert(server);
  return others;
}

/// Who was given up sees nobody: he has no majority, whatever his log says.
std::set<ServerId> LineageGate::visible() const {
  if (given_up_) return {};
  std::set<ServerId> members = view_.members;
  for (const ServerId server : refused()) members.erase(server);
  return members;
}

void LineageGate::deliver_view(GateActions& actions) {
  had_view_ = had_view_ || !view_.members.empty();
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
  missing_.clear();
  deliver_view(actions);
  for (auto& received : held_) actions.pass.emplace_back(std::move(received));
  held_.clear();
}

void LineageGate::tick(Instant now, GateActions& actions) {
  if (holding_ && now >= limit_) release(actions);
}

}  // namespace baton::node
