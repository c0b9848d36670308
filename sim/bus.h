// A model of corosync's closed process group with extended virtual synchrony: rings of servers that reach one
// another, messages in one order per ring, delivery agreed but not safe (when a ring breaks, those who move on
// together have received the same, others perhaps less or more), views late and different. Deterministic, one
// thread.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "sim/world.h"
#include "src/core/node/node_types.h"

namespace baton::sim {

struct BusSettings {
  Duration token = 500ms;
  Duration consensus = 600ms;
  // Now and then a ring forms much sooner than by time-outs, also before leases have ended.
  double quick_chance = 0.25;
  Duration quick_at_most = 1100ms;
  Duration wait_at_most = 400us;  // for the token
  // Now and then a member hears of a new ring, and of all in it, later than the others.
  double late_chance = 0.05;
  Duration late_at_most = 300ms;
};

/// What a server's engine gives a member of the process group: a view, or a message of somebody.
struct BusEvent {
  std::optional<node::ViewChanged> view;
  ServerId from;
  std::shared_ptr<const void> message;  // what was sent: one bus carries one type
};
using Deliver = std::function<void(ServerId to, const BusEvent& event)>;

class Bus {
 public:
  Bus(World& world, const BusSettings& settings, const std::vector<ServerId>& servers, Deliver deliver);

  // ---- From the servers ----
  void process_started(ServerId server);
  /// `engine_lives`: the process ended, corosync goes on and tells the others.
  void process_ended(ServerId server, bool engine_lives);
  void send(ServerId from, std::shared_ptr<const void> message);

  // ---- Faults ----
  /// Another process group on the same engines: what happens to this one's happens to that one's, though rings form at
  /// times of their own there.
  void also(Bus* other) { other_ = other; }
  void engine_up(ServerId server);
  void engine_down(ServerId server);
  /// The whole machine stands still, or goes on with what it had.
  void engine_paused(ServerId server, bool paused);
  /// From `from` to `to` only: two calls for both directions.
  void set_reachable(ServerId from, ServerId to, bool reachable);
  /// Messages on the way to and from this server get lost: retransmitted with the next rounds of the token, and now and
  /// then the token itself goes missing, so that the ring forms anew.
  void set_lossy(ServerId server, bool lossy);
  /// No ring comes about for a while: joins are exchanged over and over.
  void unsettle(Duration lasts);
  void heal();
  /// Nothing is cut between the two, in neither direction: what does not go through corosync.
  bool linked(ServerId one, ServerId other) const { return !cut_.contains({one, other}) && !cut_.contains({other, one}); }
  /// By which key this server's engine speaks and hears, here and in the other group.
  void set_key(ServerId server, const std::string& key);
  const std::string& key_of(ServerId server) const { return keys_.at(server); }
  /// The members of its engine's ring, itself included.
  std::set<ServerId> ring_of(ServerId server) const;
  /// In both directions, with both engines at work, by one key.
  bool reach(ServerId one, ServerId other) const;

 private:
  /// In both directions, by one key.
  bool hears(ServerId one, ServerId other) const;
  struct Item {
    enum class Kind { kMessage, kJoin, kLeave, kSync };
    Kind kind = Kind::kMessage;
    ServerId from;
    uint64_t process = 0;
    std::shared_ptr<const void> message;
    std::map<ServerId, uint64_t> processes;  // of a kSync
  };
  struct Ring {
    uint64_t number = 0;
    std::set<ServerId> members;
    std::vector<Item> log;
  };
  struct Engine {
    bool up = false;
    bool paused = false;
    Instant late_until{};  // what is delivered here is delivered then
    uint64_t boot = 0;
    std::shared_ptr<Ring> ring;
    size_t delivered = 0;  // items of the ring's log
    bool delivering = false;
    std::deque<Item> outgoing;  // not in the ring's order yet
    bool sequencing = false;
    uint64_t process = 0;                    // of this server's batond; 0: none
    bool joined = false;                     // its own join was delivered
    std::map<ServerId, uint64_t> processes;  // the group as this engine knows it
  };

  bool runs(const Ring& ring) const;
  bool loses(const Ring& ring) const;
  Duration delivery_delay(const Engine& engine);
  void sequence_later(ServerId server);
  void sequence(ServerId server);
  void deliver_later(ServerId server);
  void deliver_next(ServerId server);
  void give(ServerId server, const Item& item);
  void give_view(ServerId server, std::map<ServerId, node::Departure> departed);
  void reform_later();
  void reform();
  std::vector<std::set<ServerId>> partition();
  void install(const std::set<ServerId>& members);
  void leave_ring(const std::shared_ptr<Ring>& ring, const std::set<ServerId>& together);
  bool flapping() const;

  World& world_;
  BusSettings settings_;
  Random random_;
  std::vector<ServerId> servers_;
  Deliver deliver_;
  Bus* other_ = nullptr;
  std::map<ServerId, Engine> engines_;
  std::set<std::pair<ServerId, ServerId>> cut_;
  std::map<ServerId, std::string> keys_;  // one that is missing hears everybody
  std::set<ServerId> lossy_;
  Instant unsettled_until_{};
  uint64_t next_ring_ = 1;
  uint64_t next_process_ = 1;
};

}  // namespace baton::sim
