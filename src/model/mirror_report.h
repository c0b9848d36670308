// What a mirror daemon tells its batond, and batond the other servers. Plain values, any thread.
#pragma once

#include <cstdint>
#include <string>

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
  std::string waiting;      // what requests wait for, empty: nothing ("lease", "in-sync = me", ...)
  std::string problem;      // what a person should look at, empty: nothing

  bool operator==(const MirrorReport&) const = default;
};

const char* to_string(MirrorRole role);
const char* to_string(MirrorLink link);
const char* to_string(CopyKind kind);

}  // namespace baton
