// An IPv4 or IPv6 address as sockets take it. Plain values, any thread.
#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <cstdint>
#include <cstring>
#include <string>

namespace baton::survey {

struct SocketAddress {
  /// REQUIRES: `text` is an address, not a name.
  explicit SocketAddress(const std::string& text, uint16_t port = 0) {
    any.ss_family = text.find(':') == std::string::npos ? AF_INET : AF_INET6;
    inet_pton(any.ss_family, text.c_str(), const_cast<void*>(bytes()));
    // At the same place in both.
    reinterpret_cast<sockaddr_in&>(any).sin_port = htons(port);
  }
  int family() const { return any.ss_family; }
  const sockaddr* plain() const { return reinterpret_cast<const sockaddr*>(&any); }
  socklen_t length() const { return family() == AF_INET ? sizeof(sockaddr_in) : sizeof(sockaddr_in6); }
  const void* bytes() const {
    if (family() == AF_INET) return &reinterpret_cast<const sockaddr_in&>(any).sin_addr;
    return &reinterpret_cast<const sockaddr_in6&>(any).sin6_addr;
  }
  bool same_host(const SocketAddress& other) const {
    return family() == other.family() && std::memcmp(bytes(), other.bytes(), family() == AF_INET ? sizeof(in_addr) : sizeof(in6_addr)) == 0;
  }

  sockaddr_storage any{};
};

}  // namespace baton::survey
