// See icmp_socket.h.
#include "src/survey/icmp_socket.h"

#include <netinet/icmp6.h>
#include <netinet/ip_icmp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>

namespace baton::survey {
namespace {

uint16_t checksum(const uint8_t* data, size_t size) {
  uint32_t sum = 0;
  for (size_t at = 0; at + 1 < size; at += 2) sum += static_cast<uint32_t>(data[at]) << 8 | data[at + 1];
  if (size % 2 != 0) sum += static_cast<uint32_t>(data[size - 1]) << 8;
  while (sum >> 16 != 0) sum = (sum & 0xffff) + (sum >> 16);
  return static_cast<uint16_t>(~sum);
}

uint16_t next_id() {
  static std::atomic<uint16_t> last{static_cast<uint16_t>(getpid() * 64)};
  return ++last;
}

}  // namespace

IcmpSocket::IcmpSocket(const std::string& to) : fd_(-1), id_(next_id()), peer_(to) {
  const int protocol = ipv4() ? static_cast<int>(IPPROTO_ICMP) : static_cast<int>(IPPROTO_ICMPV6);
  fd_ = socket(peer_.family(), SOCK_RAW | SOCK_CLOEXEC, protocol);
  if (fd_ < 0) return;
  const int never_divide = ipv4() ? IP_PMTUDISC_PROBE : IPV6_PMTUDISC_PROBE;
  setsockopt(fd_, ipv4() ? IPPROTO_IP : IPPROTO_IPV6, ipv4() ? IP_MTU_DISCOVER : IPV6_MTU_DISCOVER, &never_divide, sizeof never_divide);
}

IcmpSocket::IcmpSocket(const std::string& from, const std::string& to) : IcmpSocket(to) {
  const SocketAddress place(from);
  if (fd_ < 0 || bind(fd_, place.plain(), place.length()) == 0) return;
  close(fd_);
  fd_ = -1;
}

IcmpSocket::~IcmpSocket() {
  if (fd_ >= 0) close(fd_);
}

bool IcmpSocket::echo(size_t size, milliseconds limit) {
  return ask(ipv4() ? ICMP_ECHO : ICMP6_ECHO_REQUEST, ipv4() ? ICMP_ECHOREPLY : ICMP6_ECHO_REPLY, size, limit).has_value();
}

std::optional<std::vector<uint8_t>> IcmpSocket::ask(uint8_t type, uint8_t wanted, size_t size, milliseconds limit) {
  std::vector<uint8_t> packet(std::max<size_t>(size, 20), 0);
  ++number_;
  packet[0] = type;
  packet[4] = static_cast<uint8_t>(id_ >> 8);
  packet[5] = static_cast<uint8_t>(id_);
  packet[6] = static_cast<uint8_t>(number_ >> 8);
  packet[7] = static_cast<uint8_t>(number_);
  // The kernel fills in ICMPv6's: it belongs to the addresses, too.
  const uint16_t sum = ipv4() ? checksum(packet.data(), packet.size()) : 0;
  packet[2] = static_cast<uint8_t>(sum >> 8);
  packet[3] = static_cast<uint8_t>(sum);
  if (sendto(fd_, packet.data(), packet.size(), 0, peer_.plain(), peer_.length()) < 0) return std::nullopt;
  return wait_for(wanted, limit);
}

std::optional<std::vector<uint8_t>> IcmpSocket::wait_for(uint8_t wanted, milliseconds limit) {
  const auto until = std::chrono::steady_clock::now() + limit;
  std::vector<uint8_t> bytes(65536);
  while (true) {
    const auto left = std::chrono::ceil<milliseconds>(until - std::chrono::steady_clock::now());
    pollfd ready{fd_, POLLIN, 0};
    if (left.count() <= 0 || poll(&ready, 1, static_cast<int>(left.count())) <= 0) return std::nullopt;
    SocketAddress from = peer_;
    socklen_t length = sizeof from.any;
    const ssize_t got = recvfrom(fd_, bytes.data(), bytes.size(), MSG_DONTWAIT, reinterpret_cast<sockaddr*>(&from.any), &length);
    // Before an IPv4 message stands the header of its packet.
    const size_t header = got > 0 && ipv4() ? static_cast<size_t>(bytes[0] & 15) * 4 : 0;
    if (got < 0 || static_cast<size_t>(got) < header + 8 || !from.same_host(peer_)) continue;
    const uint8_t* message = bytes.data() + header;
    if (message[0] != wanted || (message[4] << 8 | message[5]) != id_ || (message[6] << 8 | message[7]) != number_) continue;
    return std::vector<uint8_t>(bytes.begin() + static_cast<std::ptrdiff_t>(header), bytes.begin() + got);
  }
}

}  // namespace baton::survey
