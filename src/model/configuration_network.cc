// Parses and prints IPv4 addresses and networks.
#include "src/model/configuration_network.h"

#include <fmt/format.h>

#include <charconv>

namespace baton {

std::optional<uint32_t> parse_ipv4(const std::string& text) {
  uint32_t address = 0;
  const char* at = text.data();
  const char* end = at + text.size();
  for (int octet = 0; octet < 4; ++octet) {
    if (octet > 0) {
      if (at == end || *at != '.') return std::nullopt;
      ++at;
    }
    uint32_t number = 0;
    auto [rest, error] = std::from_chars(at, end, number);
    bool leading_zero = rest - at > 1 && *at == '0';  // some programs read it as octal
    if (error != std::errc() || number > 255 || leading_zero) return std::nullopt;
    address = address << 8 | number;
    at = rest;
  }
  if (at != end) return std::nullopt;
  return address;
}

std::optional<Ipv4Network> parse_network(const std::string& text) {
  size_t slash = text.find('/');
  if (slash == std::string::npos) return std::nullopt;
  auto address = parse_ipv4(text.substr(0, slash));
  uint32_t length = 0;
  const char* end = text.data() + text.size();
  auto [rest, error] = std::from_chars(text.data() + slash + 1, end, length);
  if (!address || error != std::errc() || rest != end || length > 32) return std::nullopt;
  return Ipv4Network{*address, static_cast<uint8_t>(length)};
}

std::string format_ipv4(uint32_t address) {
  return fmt::format("{}.{}.{}.{}", address >> 24, address >> 16 & 255, address >> 8 & 255, address & 255);
}

bool is_host_address(uint32_t address) {
  uint32_t first = address >> 24;
  return first != 0 && first != 127 && first < 224;
}

}  // namespace baton
