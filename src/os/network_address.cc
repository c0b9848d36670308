// See network_address.h.
#include "src/os/network_address.h"

#include <arpa/inet.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace baton {

std::string MacAddress::text() const {
  return fmt::format("{:02x}:{:02x}:{:02x}:{:02x}:{:02x}:{:02x}", bytes[0], bytes[1], bytes[2], bytes[3],
                     bytes[4], bytes[5]);
}

Result<MacAddress> parse_mac_address(const std::string& text) {
  MacAddress mac;
  auto& b = mac.bytes;
  int end = 0;
  int count = std::sscanf(text.c_str(), "%2hhx:%2hhx:%2hhx:%2hhx:%2hhx:%2hhx%n", &b[0], &b[1], &b[2], &b[3],
                          &b[4], &b[5], &end);
  if (count == 6 && static_cast<size_t>(end) == text.size()) return mac;
  return fail_as(ErrorCode::kInvalid, "'{}' is no MAC address like 02:00:0a:01:00:01", text);
}

std::string InterfaceAddress::address_text() const {
  char buffer[INET6_ADDRSTRLEN] = "?";
  ::inet_ntop(family, address.data(), buffer, sizeof buffer);
  return buffer;
}

std::string InterfaceAddress::text() const { return fmt::format("{}/{}", address_text(), prefix_length); }

bool InterfaceAddress::network_holds(const InterfaceAddress& other) const {
  if (family != other.family) return false;
  for (size_t bit = 0; bit < prefix_length; ++bit) {
    const uint8_t mask = static_cast<uint8_t>(0x80 >> (bit % 8));
    if ((address[bit / 8] & mask) != (other.address[bit / 8] & mask)) return false;
  }
  return true;
}

Result<InterfaceAddress> parse_interface_address(const std::string& text) {
  const size_t slash = text.find('/');
  InterfaceAddress address;
  char* end = nullptr;
  const long length = slash == std::string::npos ? -1 : std::strtol(text.c_str() + slash + 1, &end, 10);
  if (slash == std::string::npos || end == text.c_str() + slash + 1 || *end != '\0' || length < 1 ||
      length > 32 || ::inet_pton(AF_INET, text.substr(0, slash).c_str(), address.address.data()) != 1) {
    return fail_as(ErrorCode::kInvalid, "'{}' is no IPv4 address with a prefix length like 10.1.0.10/24", text);
  }
  const uint8_t first = address.address[0];
  if (first == 0 || first == 127 || first >= 224) {
    return fail_as(ErrorCode::kInvalid, "{} is no address that a server can take over", text);
  }
  address.prefix_length = static_cast<uint8_t>(length);
  return address;
}

}  // namespace baton
