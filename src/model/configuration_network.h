// IPv4 addresses and networks as written in the configuration. Plain values, any thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace baton {

struct Ipv4Network {
  uint32_t address = 0;  // as a number: the first octet is the highest
  uint8_t prefix_length = 0;

  uint32_t mask() const { return prefix_length == 0 ? 0 : ~uint32_t{0} << (32 - prefix_length); }
  bool contains(uint32_t host) const { return (host & mask()) == (address & mask()); }
  uint32_t broadcast() const { return address | ~mask(); }
};

/// A dotted IPv4 address; nothing if it is none.
std::optional<uint32_t> parse_ipv4(const std::string& text);

/// "10.0.0.0/24"; host bits may be set (the caller says so). Nothing if it is no network.
std::optional<Ipv4Network> parse_network(const std::string& text);

std::string format_ipv4(uint32_t address);

/// May an interface have it? Not 0.x, loopback, multicast, reserved.
bool is_host_address(uint32_t address);

}  // namespace baton
