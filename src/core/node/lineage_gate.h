// Keeps the servers of before a recovery and those of after it apart: whose word is taken, who is a member, who must stand
// down. Holds what concerns the database back until newcomers have said where they belong. Pure. docs/protocol.md, "Recovery".
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "src/core/node/node_types.h"

namespace baton::node {

/// Of a voter that does not count: it holds nothing that could contradict anybody.
constexpr Epoch kNoLineage{~uint64_t{0}};

struct GateActions {
  std::vector<Event> pass;  // to the node, in order
  bool say_hello = false;
  std::optional<StandDown> stand_down;
  std::set<ServerId> refused;  // from now on
};

class LineageGate {
 public:
  LineageGate(ServerId self, Epoch own, bool given_up) : self_(self), own_(own), given_up_(given_up) {}

  void view_changed(Instant now, const ViewChanged& view, GateActions& actions);
  void message_received(const MessageReceived& received, GateActions& actions);
  void tick(Instant now, GateActions& actions);
  Instant next_tick() const { return holding_ ? limit_ : kNever; }
  /// This server's lineage has become another one: by a recovery here, or because it counts from now on.
  void own_changed(Epoch own, GateActions& actions);
  /// What this server's guard has heard from other guards (R6).
  void guard_heard(Epoch lineage, std::set<ServerId> guards, GateActions& actions);

  /// Is what is said in this lineage for this server?
  bool fits(Epoch lineage) const;
  Epoch own() const { return own_; }
  bool given_up() const { return given_up_; }
  /// Its guard knows of a recovery without this server, and nobody has said yet what this server is now.
  bool outdated() const;
  /// Nobody's word is taken, and nothing decided: one of the two.
  bool shut() const { return given_up_ || outdated(); }
  /// Members of the engine's view that belong to an older lineage.
  std::set<ServerId> refused() const;
  /// The members' words about themselves, refused ones, too.
  const std::map<ServerId, Hello>& hellos() const { return hellos_; }
  /// Their lineages, as heard last.
  const std::map<ServerId, Epoch>& lineages() const { return heard_; }
  bool holding() const { return holding_; }
  /// Members that have not been heard yet, while that holds the database up.
  std::set<ServerId> waits_for() const { return holding_ ? missing_ : std::set<ServerId>{}; }

 private:
  void judge(ServerId from, const Hello& hello, Epoch lineage, GateActions& actions);
  void deliver_view(GateActions& actions);
  void deliver_if_changed(GateActions& actions);
  std::set<ServerId> visible() const;
  void release(GateActions& actions);
  void forget_who_left();
  bool waits_for_guards() const;
  void release_if_heard(GateActions& actions);

  ServerId self_;
  Epoch own_;
  bool given_up_;
  Epoch guard_heard_;
  std::set<ServerId> guards_;  // heard, this server's own included; empty: not all of those that are there
  bool had_company_ = false;
  ViewChanged view_;                 // the engine's
  std::set<ServerId> delivered_;     // members as the node knows them
  std::map<ServerId, Epoch> heard_;  // lineages of the view's members
  std::map<ServerId, Hello> hellos_;
  std::set<ServerId> missing_;       // newcomers that have not been heard
  bool holding_ = false;
  Instant limit_ = kNever;
  std::vector<MessageReceived> held_;
};

}  // namespace baton::node
