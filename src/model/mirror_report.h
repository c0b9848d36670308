// What a mirror daemon tells its batond, and batond the other servers. Plain values, any thread.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "src/base/ids.h"
#include "src/model/cluster_state.h"

namespace baton {

enum class MirrorRole { kSecondary, kPrimary };

/// The mirror connect and the copy, from this copy's point of view.
enum class MirrorLink {
  kDown,         // no peer; a primary is alone, or waits to be allowed to be
  kConnecting,   // handshake under way
  kCopying,      // the secondary is being brought up to date
  kReadmitting,  // it holds everything; waiting for the in-sync set to say so
  kConnected,    // in sync
  kRefused,      // the peer's data is older, newer or diverged in a way that needs the operator
};

enum class CopyKind { kNone, kFast, kFull };

/// When a write completes: A on the local disk and queued to the peer, B when the peer has received it, C when it is
/// on both disks.
enum class MirrorProtocol : uint8_t { kA, kB, kC };

/// What the mirror did in the last second, and since its daemon started. Not part of what makes a report "changed".
struct MirrorMetrics {
  uint64_t reads = 0, writes = 0, flushes = 0, zeroes = 0;       // requests of the export, since the start
  uint64_t read_bytes = 0, written_bytes = 0, sent_bytes = 0;    // since the start
  double read_iops = 0, write_iops = 0;                          // of the last second
  double read_bytes_per_second = 0, write_bytes_per_second = 0;
  double local_us = 0, peer_us = 0, total_us = 0;                // mean of the last second's writes: disk, peer, request
  bool operator==(const MirrorMetrics&) const = default;
};

/// One of the (at most two) mirror connects, as its primary or secondary sees it.
struct MirrorPath {
  std::string address;   // the peer's
  bool up = false;       // authenticated and heard
  bool active = false;   // carries the data now
  std::string encryption;  // "TLS 1.3", or "none"
  double round_trip_ms = 0;
  std::string problem;   // why it is down
  bool operator==(const MirrorPath&) const = default;
};

struct MirrorReport {
  MirrorRole role = MirrorRole::kSecondary;
  MirrorLink link = MirrorLink::kDown;
  Incarnation incarnation;
  Permit permit;
  Generation generation;
  bool consistent = true;   // false: target of an unfinished copy
  bool exported = false;    // the device exists
  uint64_t size_bytes = 0;
  uint64_t dirty_bytes = 0; // still to copy or compare
  CopyKind copy = CopyKind::kNone;  // the running or the last copy
  std::string copy_reason;          // why it was needed, and why of that kind
  uint64_t copy_total_bytes = 0;
  uint64_t copy_done_bytes = 0;
  uint64_t copy_sent_bytes = 0;     // data sent to the target
  uint64_t copy_read_bytes = 0;     // data read on both sides to compare or to send
  uint64_t copy_zero_bytes = 0;     // of the done ones, those that were zeroes: not sent
  uint64_t copy_bytes_per_second = 0;  // of the last seconds
  uint64_t rate_limit = 0;          // bytes per second as set by a person; 0: follows the foreground's latency
  MirrorProtocol protocol = MirrorProtocol::kC;
  bool detached = false;    // this copy's disk failed: the service goes on from the other copy
  bool broken = false;      // broken off by a person (`baton mirror break`)
  bool backup = false;      // exported read-only for a backup
  bool snapshot = false;    // inconsistent, yet the state before the copy is kept
  uint64_t lag_bytes = 0;   // protocols A and B: written here, not yet on the other copy's disk
  uint64_t read_errors = 0; // blocks that this disk could not read, taken from the other copy
  std::string slow;         // what is slow now, empty: nothing
  std::string waiting;      // what requests wait for, empty: nothing ("lease", "in-sync = me", ...)
  std::string problem;      // what a person should look at, empty: nothing

  bool operator==(const MirrorReport&) const = default;
};

const char* to_string(MirrorRole role);
const char* to_string(MirrorLink link);
const char* to_string(CopyKind kind);
const char* to_string(MirrorProtocol protocol);  // "A", "B", "C"

}  // namespace baton
