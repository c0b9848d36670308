// Questions to another machine's kernel by ICMP or ICMPv6: it answers before anything of Baton runs there. Needs root. One thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "src/base/time.h"
#include "src/survey/socket_address.h"

namespace baton::survey {

/// A raw socket from one address to another one of the same family; packets are never divided.
class IcmpSocket {
 public:
  IcmpSocket(const std::string& from, const std::string& to);
  /// ... from whatever address the way there begins at.
  explicit IcmpSocket(const std::string& to);
  ~IcmpSocket();
  IcmpSocket(const IcmpSocket&) = delete;
  IcmpSocket& operator=(const IcmpSocket&) = delete;
  bool good() const { return fd_ >= 0; }

  /// Is an echo of so many bytes answered?
  bool echo(size_t size, milliseconds limit);
  /// Sends an ICMP message of `size` bytes and waits for the answer of type `wanted`: its bytes, without the IP header. Nothing
  /// when it cannot be sent, or when no answer comes in time.
  std::optional<std::vector<uint8_t>> ask(uint8_t type, uint8_t wanted, size_t size, milliseconds limit);

 private:
  std::optional<std::vector<uint8_t>> wait_for(uint8_t wanted, milliseconds limit);

  bool ipv4() const { return peer_.family() == AF_INET; }

  int fd_;
  uint16_t id_;  // a number of its own: every raw socket gets every answer
  uint16_t number_ = 0;
  SocketAddress peer_;
};

}  // namespace baton::survey
