// One copy of a mirror disk: its role, permits, generations, in-sync set, write order, bitmap, activity log and copy
// runs. Pure: no clock, thread, I/O, randomness beyond the seed. docs/protocol.md, "Permits" to "Order".
#pragma once

#include <memory>

#include "src/core/mirror/mirror_types.h"

namespace baton::mirror {

struct Settings {
  ServerId self;
  ServerId peer;
  uint64_t seed = 1;                    // for the random part of new generations
  MirrorProtocol protocol = MirrorProtocol::kC;
  Duration link_timeout = 1s;           // silence on the link after which it is dropped
  Duration peer_timeout = 6s;           // a request that the peer has not answered for so long: it is dropped
  uint64_t send_limit_blocks = 16384;   // protocols A and B: how far the peer may lag before writes wait (64 MiB)
  Duration max_lag{Duration::zero()};   // protocol A: how far behind the peer may take over by itself; 0: never
  bool zeroed_store = false;            // a blank copy's store is known to read as zeroes: no initial copy needed
  bool snapshot = true;                 // try to keep the last consistent state while this copy is a copy's target
  Duration ping_interval = 200ms;
  Duration connect_grace = 400ms;       // how long a fresh primary waits for an in-sync peer before proposing to go alone
  Duration freeze_limit = 10s;          // frozen longer than that without a lease: the export is aborted
  Duration cold_extent = 3s;            // an extent not written for so long leaves the activity log when it may
  uint32_t activity_capacity = 3800;    // extents in the activity log; a request over more extents fails
  uint32_t copy_window = 16;            // copy steps under way at once, at most
  uint32_t copy_step_blocks = 64;       // blocks a copy step moves at most
  uint64_t copy_least_bytes = 10 << 20;  // per second: what a copy gets however busy the foreground is
};

/// What happened since the start; for figures that people look at.
struct Counters {
  uint64_t reads = 0, writes = 0, flushes = 0, zeroes = 0;  // answered requests of the export
  uint64_t read_bytes = 0, written_bytes = 0;
  Duration write_time{Duration::zero()};  // of all answered writes together, from arrival to answer
  uint64_t peer_answers = 0;
  Duration peer_time{Duration::zero()};   // of all that the peer answered
};

/// Turns a fresh store into a copy: what StoredCopy is before the first start.
StoredCopy blank_copy(const std::string& mirror, uint64_t size_blocks);

class MirrorCopy {
 public:
  MirrorCopy(const Settings& settings, StoredCopy stored);
  ~MirrorCopy();

  /// Persists the start (incarnation, not clean). Call once before any step.
  void start(const Context& context, std::vector<Action>& actions);

  /// Takes one event and appends what is to be done. Never blocks, never fails.
  void step(const Context& context, const Event& event, std::vector<Action>& actions);

  /// When a Tick is wanted at the latest; kNever: not at all.
  Instant next_tick() const;

  const MirrorReport& report() const;
  const Counters& counters() const;

 private:
  struct Implementation;
  std::unique_ptr<Implementation> implementation_;
};

}  // namespace baton::mirror
