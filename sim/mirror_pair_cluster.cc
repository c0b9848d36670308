// MirrorPair: the cluster around the copies: who is in view, leases, committed records on their way,
// promotions.
#include <fmt/format.h>

#include <algorithm>

#include "sim/mirror_pair.h"

namespace baton::sim {

namespace {
constexpr Duration kRound = 30ms;
constexpr Duration kLease = 300ms;
constexpr Duration kSilentFor = 150ms;  // until the view is without a lost server
}  // namespace

/// A lease is renewed only for a server whose data plane knows the newest permit, or has no export (L1 and
/// "nothing runs here that is not ours").
void MirrorPair::renew_lease(int index) {
  Node& node = nodes_[index];
  if (!node.copy || node.isolated || now_ < node.lease_withheld_until) return;
  if (node.exported && node.permit != database_.committed().permit) return;
  node.lease_until = now_ + kLease;
}

void MirrorPair::tell_state(int index, Duration low, Duration high) {
  after(random_.between(low, high), [this, index, state = database_.committed(), boot = nodes_[index].boot] {
    Node& node = nodes_[index];
    if (!node.copy || node.boot != boot || node.isolated || database_.committed().version == 0) return;
    node.known_permit = std::max(node.known_permit, state.permit);
    feed(index, mirror::StateCommitted{state});
  });
}

void MirrorPair::cluster_round() {
  after(kRound, [this] { cluster_round(); });
  for (int index = 0; index < 2; ++index) {
    Node& node = nodes_[index];
    renew_lease(index);
    const bool there = node.copy && !node.isolated;
    MirrorMember& member = database_.member(index);
    if (there && !member.in_view) {
      member.in_view = true;
    } else if (!there && member.in_view) {
      after(kSilentFor, [this, index, boot = node.boot] {
        const Node& self = nodes_[index];
        if (self.copy && !self.isolated && self.boot == boot) return;
        database_.member(index).in_view = self.copy && !self.isolated;
        if (random_.chance(0.7)) feed(1 - index, mirror::PeerLost{"left the view"});
      });
    }
    // Reports may overtake each other, so they are repeated.
    const bool repeat = !member.report || random_.chance(0.1);
    if (there && repeat && node.copy->report().incarnation.value != 0) member.report = node.copy->report();
    if (there && random_.chance(0.2)) tell_state(index, 1ms, 60ms);
    if (node.want_link && node.connection == 0 && random_.chance(0.4)) connect(index);
  }
  decide();
  promote_holder();
}

void MirrorPair::decide() {
  const int holder = database_.holder_index();
  if (holder >= 0) {
    const Node& node = nodes_[holder];
    const MirrorMember& member = database_.member(holder);
    const bool in_charge = member.in_view && !member.released;
    if (in_charge) return;
    if (!member.released && now_ < node.lease_until) return;
    if (!member.released && node.copy && !node.isolated)
      return;  // back again: it goes on, or says that it does not
  }
  if (group_stopped_) return;
  const int preferred = holder < 0 || random_.chance(0.5) ? static_cast<int>(random_.below(2)) : holder;
  const auto assignment = database_.assign(preferred);
  if (!assignment) return;
  note(fmt::format("assigned to {}, permit {}{}", assignment->index, database_.committed().permit,
                   assignment->whole_set_crashed ? ", the whole set crashed" : assignment->trailing ? ", behind" : ""));
  whole_set_crashed_ = assignment->whole_set_crashed ? assignment->index : -1;
  forced_ = assignment->forced ? assignment->index : -1;
  // Whoever takes over behind may be given several permits before it is up.
  if (assignment->trailing || assignment->index != trailing_) trailing_ = assignment->trailing ? assignment->index : -1;
  for (int index = 0; index < 2; ++index) tell_state(index, 1ms, 60ms);
}

/// batond repeats its request until it is answered.
void MirrorPair::promote_holder() {
  const int holder = database_.holder_index();
  if (holder < 0 || database_.member(holder).released || !random_.chance(0.4)) return;
  const Node& node = nodes_[holder];
  const Permit permit = database_.committed().permit;
  if (!node.copy || node.isolated || node.exported || node.known_permit != permit) return;
  after(random_.between(Duration(0ms), Duration(20ms)), [this, holder, permit, boot = node.boot] {
    const Node& self = nodes_[holder];
    const bool still = self.boot == boot && !self.exported && !database_.member(holder).released;
    if (still && database_.committed().permit == permit) feed(holder, mirror::Promote{permit});
  });
}

void MirrorPair::propose(int index, const mirror::ProposeInSync& proposal) {
  std::string set;
  for (const auto& [id, incarnation] : proposal.in_sync) set += fmt::format(" {}:{}", id, incarnation);
  note(fmt::format("    {} proposes v{}{}", index, proposal.expected_version, set));
  if (nodes_[index].isolated || random_.chance(0.15)) return;  // lost
  const int times = random_.chance(0.1) ? 2 : 1;
  for (int time = 0; time < times; ++time) {
    const Duration high = time == 0 && !random_.chance(0.1) ? Duration(20ms) : Duration(900ms);
    after(random_.between(Duration(1ms), high), [this, proposal, index] {
      if (nodes_[index].isolated || !database_.apply(proposal)) return;
      note(fmt::format("committed v{}, {} in sync", database_.committed().version,
                       database_.committed().in_sync.size()));
      for (int told = 0; told < 2; ++told) {
        if (random_.chance(0.8)) tell_state(told, 1ms, 60ms);
      }
    });
  }
}

void MirrorPair::promoted(int index, Permit permit) {
  Node& node = nodes_[index];
  note(fmt::format("promoted: {} under {}", index, permit));
  if (node.exported && node.permit == permit) return;
  const mirror::Superblock& durable = node.disk->stored().superblock;
  if (durable.permit != permit || !durable.was_primary) violated("P1: promoted before the permit is on disk");
  if (permit <= newest_promoted_) violated("I1: promoted under a permit that is not newer");
  if (!durable.consistent || durable.detached) violated("O4: an inconsistent copy was promoted");
  newest_promoted_ = permit;
  node.exported = true;
  node.permit = permit;
  ++outcome_.promotions;
  const bool crashed = whole_set_crashed_ == index && permit == database_.committed().permit;
  const bool forced = forced_ == index && permit == database_.committed().permit;
  const auto& content = node.disk->current();
  const bool trailing = trailing_ == index;
  trailing_ = -1;
  if (trailing) {
    ++outcome_.takeovers_behind;
    const std::string wrong = history_.trailing_took_over(content, settings_[index].max_lag);
    if (!wrong.empty()) violated(fmt::format("A5: promoted {}: {}", index, wrong));
    may_diverge_ = true;
  }
  for (uint64_t block = 0; block < content.size() && !forced; ++block) {
    const size_t floor = crashed ? history_.flushed_floor(block) : history_.acknowledged_floor(block);
    const std::string wrong = history_.judge(block, content[block], floor);
    if (!wrong.empty())
      violated(fmt::format("I2: promoted {} {}: {}", index, crashed ? "(set crashed)" : "", wrong));
  }
  if (!crashed && !forced) return;
  outcome_.set_crashes += crashed ? 1 : 0;
  history_.whole_set_crashed(content);
}

/// Nothing runs there any more under the permit that it had.
void MirrorPair::released(int index) {
  Node& node = nodes_[index];
  const bool deliberate = node.demoting;
  node.exported = node.demoting = node.moving = false;
  if (!deliberate) node.requests.clear();
  if (node.stopping) return;
  after(random_.between(Duration(1ms), Duration(30ms)),
        [this, index, boot = node.boot, permit = node.known_permit] {
          const Node& self = nodes_[index];
          if (self.boot != boot || !self.copy || self.isolated || self.exported) return;
          if (database_.holder_index() == index && database_.committed().permit == permit) {
            database_.member(index).released = true;
          }
        });
}

}  // namespace baton::sim
