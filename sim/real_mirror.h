// A mirror of the simulated cluster with its two real MirrorCopy cores: their disks, the link between them, a client that
// writes through whoever has it exported, and what must hold of the data (I1-I3, S1, P1). What batond steers comes from the
// servers (sim/server_mirrors.cc). docs/protocol.md. Deterministic, one thread.
#pragma once

#include <array>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "sim/mirror_disk.h"
#include "sim/mirror_history.h"
#include "sim/mirror_truth.h"
#include "sim/server.h"
#include "src/core/mirror/mirror_copy.h"

namespace baton::sim {

class RealMirror {
 public:
  using Done = std::function<void(bool ok)>;
  struct Surroundings {
    virtual ~Surroundings() = default;
    virtual bool linked(ServerId one, ServerId other) const = 0;
    virtual const ClusterState& committed_state() const = 0;
    virtual MirrorTruth& truth() = 0;
  };

  RealMirror(World& world, Surroundings& around, const std::string& key, Server& first, Server& second, Duration freeze_limit);
  ~RealMirror();

  // ---- From the servers ----
  void power_on(ServerId server);
  void power_off(ServerId server);
  /// Its process ends, and is started again at once.
  void daemon_dies(ServerId server);
  void told(ServerId server, const MirrorState& state);
  void peer_gone(ServerId server, ServerId gone);
  void start(ServerId server, Permit permit, Done done);
  void stop(ServerId server, Done done);
  void kill(ServerId server, Done done);
  MirrorReport report(ServerId server) const;

  // ---- At the end ----
  void stop_client() { client_stopped_ = true; }
  /// Both copies hold the same, when nothing is under way any more.
  void check_equal() const;
  uint64_t acknowledged() const { return acknowledged_; }

 private:
  struct Request {
    mirror::ClientRequest request;
    std::vector<uint64_t> values;  // of a write
    std::vector<size_t> floors;    // of a read: what was acknowledged when it was issued
    uint64_t flush_mark = 0;
  };
  struct Side {
    Server* server = nullptr;
    mirror::Settings settings;
    std::unique_ptr<mirror::MirrorCopy> copy;  // none: no power
    std::unique_ptr<MirrorDisk> disk;
    uint64_t boot = 0;
    std::deque<std::function<void()>> inbox;  // while the machine stands still
    bool draining = false;
    bool want_link = false;
    bool closing = false;  // the client is asked to end
    Permit permit;         // exported under
    mirror::ConnectionId connection = 0;
    Instant tick_at = kNever;  // by the server's clock
    std::map<mirror::BufferId, std::vector<uint64_t>> buffers;
    mirror::BufferId next_buffer = 1;
    std::map<mirror::RequestId, Request> requests;
    Done start_done, stop_done;
  };
  struct Connection {
    bool cut = false;
    std::array<Instant, 2> last_arrival{};
  };
  struct ActionHandler;

  // real_mirror.cc
  int index_of(ServerId server) const;
  MirrorStandIn& stand_in(int index);
  void boot(int index);
  void forget(int index);
  void later(int index, Duration delay, std::function<void()> what);
  void drain(int index);
  void feed(int index, const mirror::Event& event);
  void carry_out(int index, const mirror::Action& action);
  void arm_tick(int index);
  void operation_later(int index, mirror::OperationId operation, Duration low, Duration high,
                       std::function<mirror::OperationDone(Side&)> finish);
  void up(int index, Permit permit);
  void down(int index);
  static void answer(Done& done, bool ok);

  // real_mirror_link.cc
  void connect_round();
  void connect(int from);
  bool linked() const;
  Instant arrival(mirror::ConnectionId connection, int to);
  void send(int from, const mirror::SendMessage& message);
  void close(int from, mirror::ConnectionId connection);

  // real_mirror_client.cc
  void client_round();
  void issue(int index);
  void completed(int index, const mirror::CompleteRequest& done);
  void check_write(int index, const Request& request) const;
  bool is_newer(BlockRange range, const std::vector<uint64_t>& data) const;
  void check_flush(int index, const Request& request) const;
  void judge_promotion(int index, bool set_crashed);
  bool holds_every_write(int member) const;
  [[noreturn]] void violated(const char* checker, const std::string& text) const;

  World& world_;
  Surroundings& around_;
  const std::string key_;
  Random random_;
  std::array<Side, 2> sides_;
  MirrorHistory history_;
  std::map<mirror::ConnectionId, Connection> connections_;
  mirror::ConnectionId newest_connection_ = 0;
  mirror::RequestId next_request_ = 1;
  bool client_stopped_ = false;
  uint64_t acknowledged_ = 0;
};

}  // namespace baton::sim
