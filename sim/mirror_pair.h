// MirrorPair: two MirrorCopy cores on simulated disks and a simulated link, a database that decides by the
// rules, a client and faults; checks I1, I2, S1, P1, G1, O1 and equality after every step. One seed, one run.
#pragma once

#include <array>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "sim/event_queue.h"
#include "sim/mirror_database.h"
#include "sim/mirror_disk.h"
#include "sim/mirror_history.h"
#include "sim/random.h"
#include "src/core/mirror/mirror_copy.h"

namespace baton::sim {

struct PairOutcome {
  bool ok = true;
  std::string violation;  // "seed 7, step 1234, at 3.210 s: ..."
  uint64_t steps = 0;
  uint64_t acknowledged_writes = 0;
  uint64_t promotions = 0;
  uint64_t set_crashes = 0;
  uint64_t full_copies = 0;
  uint64_t fast_copies = 0;
  uint64_t power_losses = 0;
  uint64_t detached = 0;   // primaries that went on from the other copy
  uint64_t dead_disks = 0;
  uint64_t forced = 0;     // copies that an operator let go on
  uint64_t takeovers_behind = 0;  // A5
  uint64_t hash = 0;  // of everything that happened
  Duration simulated{};
};

/// Runs one seed. `trace`: prints everything that happens.
PairOutcome run_mirror_pair(uint64_t seed, bool trace = false);

class MirrorPair {
 public:
  MirrorPair(uint64_t seed, bool trace);
  ~MirrorPair();
  PairOutcome run();

 private:
  struct Violation {
    std::string text;
  };
  struct PendingRequest {
    mirror::ClientRequest request;
    std::vector<uint64_t> values;  // of a write
    std::vector<size_t> floors;    // of a read: what was acknowledged when it was issued
    uint64_t flush_mark = 0;
    mirror::BufferId buffer = 0;
  };
  struct Node {
    ServerId id;
    std::unique_ptr<mirror::MirrorCopy> copy;  // none: powered off
    std::unique_ptr<MirrorDisk> disk;
    uint64_t boot = 0;
    Instant lease_until{Duration::zero()};
    bool isolated = false;  // from the cluster, not necessarily from its peer
    Instant lease_withheld_until{Duration::zero()};
    Permit known_permit;  // of the newest record that was delivered
    bool want_link = false;
    bool exported = false;
    bool moving = false;  // the client is being stopped for a hand-over
    bool demoting = false;
    bool stopping = false;
    Permit permit;                        // exported under
    mirror::ConnectionId connection = 0;  // as this end sees it
    Instant tick_at = kNever;
    int crash_after_actions = -1;
    int ticks = 0;
    std::map<mirror::BufferId, std::vector<uint64_t>> buffers;
    std::map<mirror::RequestId, PendingRequest> requests;
    std::map<OperationId, BlockRange> reads;  // under way
    bool disk_dead = false;                   // every operation on its data fails
    mirror::BufferId next_buffer = 1;
  };
  struct Connection {
    bool cut = false;
    std::array<Instant, 2> last_arrival{};
  };
  struct ActionHandler;

  // mirror_pair.cc: time, nodes, actions
  void at(Instant when, std::function<void()> what);
  void after(Duration delay, std::function<void()> what) { at(now_ + delay, std::move(what)); }
  bool run_next();
  void run_until(Instant end);
  void boot(int index);
  void feed(int index, const mirror::Event& event);
  void carry_out(int index, const std::vector<mirror::Action>& actions);
  void schedule_tick(int index);
  void operation_later(int index, OperationId operation, Duration low, Duration high, bool ok,
                       std::function<mirror::OperationDone(Node&)> finish);
  void note(const std::string& text);
  [[noreturn]] void violated(const std::string& text);

  // mirror_pair_link.cc
  void connect(int from);
  void send(int from, const mirror::SendMessage& message);
  void close(int from, mirror::ConnectionId connection);
  void cut_link(bool silent);
  Instant arrival(mirror::ConnectionId connection, int to);

  // mirror_pair_cluster.cc: database, leases, promotions
  void cluster_round();
  void renew_lease(int index);
  void tell_state(int index, Duration low, Duration high);
  void decide();
  void promote_holder();
  void propose(int index, const mirror::ProposeInSync& proposal);
  void promoted(int index, Permit permit);
  void released(int index);

  // mirror_pair_client.cc: requests and checks
  void client_round();
  void issue(int index);
  void completed(int index, const mirror::CompleteRequest& done);
  void check_write(int index, const PendingRequest& pending);
  void check_flush(int index, const PendingRequest& pending);
  void check_read(const PendingRequest& pending, const std::vector<uint64_t>& data);
  void check_equal(const std::string& when);
  bool holds_every_write(int member) const;
  bool at_rest() const;
  bool rest_begins() const;
  bool set_as_wanted() const;

  // mirror_pair_durability.cc
  void check_durability();
  void check_either_disk(int index) const;
  void check_order(int index) const;

  // mirror_pair_faults.cc
  void fault();
  void power_off(int index, bool keep_cache);
  void power_on_later(int index);
  void begin_move();
  void heal();
  void check_healed();
  void kill_disk(int index);
  bool last_of_the_set(int index) const;
  void repair_round();
  bool connected(int primary) const;
  bool refuses(int primary) const;
  void force_other(int index);
  void replace_disk(int index);

  const uint64_t seed_;
  const bool trace_;
  Random random_;
  Instant now_{Duration::zero()};
  EventQueue queue_;
  std::array<Node, 2> nodes_;
  MirrorDatabase database_;
  MirrorHistory history_;
  std::map<mirror::ConnectionId, Connection> connections_;
  mirror::ConnectionId newest_connection_ = 0;
  bool network_up_ = true;
  bool chaos_ = true;
  bool may_diverge_ = false;    // a copy was forced: the other one is refused until its disk is replaced
  bool group_stopped_ = false;  // by a person, until the other copy is forced
  bool client_paused_ = false;
  bool client_stopped_ = false;  // at the end
  uint64_t next_request_ = 1;
  Permit newest_promoted_;
  int whole_set_crashed_ = -1;  // the next promotion of this one is by S5
  int forced_ = -1;             // ... is an operator's word
  int trailing_ = -1;           // ... is by A5
  mirror::Settings settings_[2];
  double disk_error_ = 0;
  Instant last_failure_{Duration::zero()};  // a disk's newest failure comes to light then, perhaps later than now
  MirrorProtocol protocol_ = MirrorProtocol::kC;
  std::map<std::pair<uint64_t, uint64_t>, std::vector<uint64_t>> zeroed_;  // what a range's zeroes count as
  uint64_t busy_blocks_ = 0;  // the client's favourite part
  PairOutcome outcome_;
};

}  // namespace baton::sim
