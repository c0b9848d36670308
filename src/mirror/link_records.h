// What the transport of the mirror connect says to its peer by itself: joining a path to a session, beats,
// acknowledgements, the end. Pure functions, robust against any input. docs/protocol.md, "Mirror connect". Any thread.
#pragma once

#include <span>
#include <string>
#include <variant>

#include "src/base/bytes.h"

namespace baton::mirror {

constexpr size_t kMaxPaths = 2;

/// Names one session: random, chosen by the side that connects.
struct SessionId {
  uint64_t high = 0;
  uint64_t low = 0;
  auto operator<=>(const SessionId&) const = default;
};

/// Connecting side, first on every path. The frame's acknowledgement says what it has received.
struct Join {
  SessionId session;
  uint8_t path = 0;
  bool fresh = false;  // it has not heard yet that the peer knows the session
};
enum class JoinResult : uint8_t { kAccepted, kUnknown, kRefused };
/// The answer, with what the accepting side has received.
struct Joined {
  JoinResult result = JoinResult::kAccepted;
  uint64_t memory = 0;  // names what the accepting side remembers of the session: another number, and it has forgotten
  std::string reason;
};
/// On every path all the time. Times are the sender's clock but for `echo`, which gives the peer its own back.
struct Beat {
  uint64_t sent_ns = 0;
  uint64_t echo_ns = 0;   // of the peer's latest beat; 0: none yet
  uint64_t held_ns = 0;   // how long ago it came
};
/// Only for the frame's acknowledgement.
struct Acknowledge {};
/// The session ends in order.
struct Goodbye {
  std::string reason;
};

/// The place is the type on the wire: new ones at the end.
using LinkRecord = std::variant<Join, Joined, Beat, Acknowledge, Goodbye>;

void encode_record(const LinkRecord& record, Bytes& out);
/// False: not exactly one record of that place.
bool decode_record(uint8_t place, std::span<const uint8_t> body, LinkRecord& record);

}  // namespace baton::mirror
