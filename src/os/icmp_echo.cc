// See icmp_echo.h.
#include "src/os/icmp_echo.h"

#include <arpa/inet.h>
#include <netinet/icmp6.h>
#include <netinet/ip_icmp.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <random>
#include <span>

namespace baton {

namespace {

constexpr size_t kHeader = 8;
constexpr size_t kPacket = kHeader + 2 * sizeof(uint64_t);
constexpr size_t kMostOpen = 256;     // echoes whose answers may come yet
constexpr int kMostReads = 64;        // at once: the loop has other things to do
constexpr int kFilterOption = 1;      // ICMP_FILTER, of the level SOL_RAW (<linux/icmp.h> cannot be had beside <netinet/ip_icmp.h>)

uint16_t checksum(std::span<const uint8_t> bytes) {
  uint32_t sum = 0;
  for (size_t at = 0; at + 1 < bytes.size(); at += 2) sum += static_cast<uint32_t>(bytes[at]) << 8 | bytes[at + 1];
  while (sum >> 16 != 0) sum = (sum & 0xffff) + (sum >> 16);
  return static_cast<uint16_t>(~sum);
}

/// The kernel fills in ICMPv6's sum: it belongs to the addresses, too.
std::array<uint8_t, kPacket> encode(int family, uint64_t mark, uint64_t number) {
  std::array<uint8_t, kPacket> packet{};
  packet[0] = static_cast<uint8_t>(family == AF_INET ? ICMP_ECHO : ICMP6_ECHO_REQUEST);
  std::memcpy(packet.data() + 4, &mark, 2);
  std::memcpy(packet.data() + 6, &number, 2);
  std::memcpy(packet.data() + kHeader, &mark, sizeof mark);
  std::memcpy(packet.data() + kHeader + sizeof mark, &number, sizeof number);
  if (family != AF_INET) return packet;
  const uint16_t sum = checksum(packet);
  packet[2] = static_cast<uint8_t>(sum >> 8);
  packet[3] = static_cast<uint8_t>(sum);
  return packet;
}

/// Only answers wake this socket.
void keep_answers(int family, int socket) {
  if (family == AF_INET) {
    const uint32_t all_but_answers = ~(uint32_t{1} << ICMP_ECHOREPLY);
    ::setsockopt(socket, SOL_RAW, kFilterOption, &all_but_answers, sizeof all_but_answers);
    return;
  }
  icmp6_filter filter;
  ICMP6_FILTER_SETBLOCKALL(&filter);
  ICMP6_FILTER_SETPASS(ICMP6_ECHO_REPLY, &filter);
  ::setsockopt(socket, IPPROTO_ICMPV6, ICMP6_FILTER, &filter, sizeof filter);
}

}  // namespace

IcmpEcho::IcmpEcho(EventLoop& loop, std::function<void(uint64_t, const std::string&)> on_answer)
    : loop_(loop), on_answer_(std::move(on_answer)) {
  std::random_device random;
  mark_ = static_cast<uint64_t>(random()) << 32 | random();
}

IcmpEcho::Family& IcmpEcho::of(int family) { return family == AF_INET ? ipv4_ : ipv6_; }

Status IcmpEcho::open(int family) {
  Family& used = of(family);
  if (used.socket) return {};
  OwnedFd socket(::socket(family, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, family == AF_INET ? static_cast<int>(IPPROTO_ICMP) : IPPROTO_ICMPV6));
  if (!socket) return fail("no raw ICMP socket: {}", errno_text());
  keep_answers(family, socket.get());
  used.socket = std::move(socket);
  used.watch = loop_.watch_readable(used.socket.get(), [this, family] { read(family); });
  return {};
}

Status IcmpEcho::send(const std::string& address, uint64_t number) {
  sockaddr_in to4{};
  sockaddr_in6 to6{};
  to4.sin_family = AF_INET;
  to6.sin6_family = AF_INET6;
  const bool ipv4 = ::inet_pton(AF_INET, address.c_str(), &to4.sin_addr) == 1;
  if (!ipv4 && ::inet_pton(AF_INET6, address.c_str(), &to6.sin6_addr) != 1) return fail("{} is no address", address);
  const int family = ipv4 ? AF_INET : AF_INET6;
  if (auto opened = open(family); !opened) return opened;
  const auto packet = encode(family, mark_, number);
  const auto* to = ipv4 ? reinterpret_cast<const sockaddr*>(&to4) : reinterpret_cast<const sockaddr*>(&to6);
  const socklen_t length = ipv4 ? sizeof to4 : sizeof to6;
  if (::sendto(of(family).socket.get(), packet.data(), packet.size(), MSG_DONTWAIT, to, length) < 0) return fail("{}", errno_text());
  sent_.emplace_back(number, address);
  if (sent_.size() > kMostOpen) sent_.pop_front();
  return {};
}

void IcmpEcho::read(int family) {
  std::array<uint8_t, 2048> bytes{};
  for (int count = 0; count < kMostReads; ++count) {
    sockaddr_storage from{};
    socklen_t length = sizeof from;
    const ssize_t got = ::recvfrom(of(family).socket.get(), bytes.data(), bytes.size(), MSG_DONTWAIT, reinterpret_cast<sockaddr*>(&from), &length);
    if (got < 0) return;
    // Before an IPv4 message stands the header of its packet.
    const size_t skipped = family == AF_INET ? static_cast<size_t>(bytes[0] & 15) * 4 : 0;
    if (static_cast<size_t>(got) < skipped + kPacket) continue;
    const uint8_t* message = bytes.data() + skipped;
    if (message[0] != (family == AF_INET ? ICMP_ECHOREPLY : ICMP6_ECHO_REPLY)) continue;
    uint64_t mark = 0, number = 0;
    std::memcpy(&mark, message + kHeader, sizeof mark);
    std::memcpy(&number, message + kHeader + sizeof mark, sizeof number);
    std::array<char, INET6_ADDRSTRLEN> text{};
    if (family == AF_INET) ::inet_ntop(family, &reinterpret_cast<sockaddr_in&>(from).sin_addr, text.data(), text.size());
    else ::inet_ntop(family, &reinterpret_cast<sockaddr_in6&>(from).sin6_addr, text.data(), text.size());
    const auto echo = std::find(sent_.begin(), sent_.end(), std::pair(number, std::string(text.data())));
    if (mark != mark_ || echo == sent_.end()) continue;
    const auto answered = *echo;
    sent_.erase(echo);
    on_answer_(answered.first, answered.second);
  }
}

}  // namespace baton
