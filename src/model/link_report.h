// One server's view of an interconnect to another server, for people: nobody decides by it. Plain values, any thread.
#pragma once

#include <cstdint>
#include <optional>

#include "src/base/ids.h"

namespace baton {

struct LinkReport {
  ServerId peer;
  uint32_t link = 0;
  bool connected = false;
  std::optional<uint32_t> loss_per_mille;  // of the pings of the last half minute; nothing: none were sent
  uint32_t round_trip_us = 0;              // mean; 0: not known
  uint32_t round_trip_worst_us = 0;        // since the link came up
  uint32_t downs = 0;                      // since corosync's start
  uint32_t downs_recent = 0;               // in the last five minutes
  uint64_t send_errors = 0;                // since corosync's start: packets that the kernel did not take
  bool operator==(const LinkReport&) const = default;

  /// It goes down again and again: one cut, however long, is none.
  bool flapping() const { return downs_recent >= 2; }
};

}  // namespace baton
