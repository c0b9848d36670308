// One message to a receiver of syslog or SNMP: a datagram, or a connection that is closed when the receiver has read it. Blocks until its
// deadline, name resolution even longer: for a worker thread. Any thread.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "src/base/result.h"
#include "src/base/time.h"

namespace baton {

struct MessageTarget {
  enum class Kind { kUdp, kTcp, kLocal };
  Kind kind = Kind::kUdp;
  std::string host;  // a name or an address
  uint16_t port = 0;
  std::string path;  // kLocal: a datagram socket
};

/// ENSURES: with kTcp the receiver has read all of it and closed the connection, or kept it open until the limit; with kLocal it is in the
/// receiver's queue; with kUdp it was sent, and no port unreachable came back at once.
Status send_message(const MessageTarget& target, std::string_view message, Duration limit);

}  // namespace baton
