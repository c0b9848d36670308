// Internet and MAC addresses as values. IPv6 can follow: the family is part of the value. Any thread.
#pragma once

#include <array>
#include <cstdint>
#include <string>

#include "src/base/result.h"

namespace baton {

struct MacAddress {
  std::array<uint8_t, 6> bytes{};
  auto operator<=>(const MacAddress&) const = default;
  std::string text() const;  // "02:00:0a:01:00:01"
};

/// Error (kInvalid): not six pairs of hexadecimal digits.
Result<MacAddress> parse_mac_address(const std::string& text);

/// An address with the length of its network's prefix: "10.1.0.10/24".
struct InterfaceAddress {
  int family = 2;                     // AF_INET
  std::array<uint8_t, 16> address{};  // IPv4: the first four
  uint8_t prefix_length = 0;

  auto operator<=>(const InterfaceAddress&) const = default;
  std::string address_text() const;  // "10.1.0.10"
  std::string text() const;          // "10.1.0.10/24"
  size_t address_bytes() const { return family == 2 ? 4 : 16; }
  bool same_address(const InterfaceAddress& other) const {
    return family == other.family && address == other.address;
  }
  /// Whether `other` lies in this address's network.
  bool network_holds(const InterfaceAddress& other) const;
};

/// "10.1.0.10/24". Errors (kInvalid): no prefix length, not IPv4, or no address a host can have.
Result<InterfaceAddress> parse_interface_address(const std::string& text);

}  // namespace baton
