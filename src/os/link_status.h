// The state of the interconnects as corosync sees them (its statistics map). Reads on a thread of its own,
// because libcmap's calls have no time-out. The interface is for the loop's thread.
#pragma once

#include <functional>
#include <memory>
#include <set>
#include <vector>

#include "src/base/ids.h"
#include "src/base/result.h"
#include "src/os/event_loop.h"

namespace baton {

/// Counted since corosync's start.
struct LinkCounters {
  uint64_t pings = 0;        // sent
  uint64_t pongs = 0;        // answers received
  uint64_t send_errors = 0;  // packets, data and pings, that the kernel did not take
  uint32_t downs = 0;
  uint32_t latency_us = 0;        // mean of the round trip; 0: none measured
  uint32_t latency_worst_us = 0;  // since the link came up
};

struct LinkStatus {
  ServerId peer;
  uint32_t link = 0;
  bool connected = false;
  LinkCounters counters;
  /// Figures are no part of a link's state.
  bool operator==(const LinkStatus& other) const {
    return peer == other.peer && link == other.link && connected == other.connected;
  }
};

class LinkStatusReader {
 public:
  explicit LinkStatusReader(EventLoop& loop);
  ~LinkStatusReader();
  LinkStatusReader(const LinkStatusReader&) = delete;
  LinkStatusReader& operator=(const LinkStatusReader&) = delete;

  using Callback = std::function<void(Result<std::vector<LinkStatus>>)>;
  /// Those of the links 0 to `links` - 1 to these peers that corosync has, sorted. Errors: kUnavailable when corosync is not
  /// there, or when the previous read has not been answered yet.
  void read(const std::set<ServerId>& peers, uint32_t links, Callback callback);

 private:
  struct Shared;
  std::shared_ptr<Shared> shared_;
};

}  // namespace baton
