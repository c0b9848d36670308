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
  Duration peer_timeout = 1s;           // silence on the link after which it is dropped
  Duration ping_interval = 200ms;
  Duration connect_grace = 400ms;       // how long a fresh primary waits for an in-sync peer before proposing to go alone
  Duration freeze_limit = 10s;          // frozen longer than that without a lease: the export is aborted
  Duration cold_extent = 1s;            // an extent not written for so long leaves the activity log when it may
  uint32_t activity_capacity = 960;     // extents in the activity log; a request over more extents fails
  uint32_t copy_window = 16;            // copy steps under way at once
  uint32_t copy_step_blocks = 64;       // blocks a copy step moves at most
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

 private:
  struct Implementation;
  std::unique_ptr<Implementation> implementation_;
};

}  // namespace baton::mirror
