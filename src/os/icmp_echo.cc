// See icmp_echo.h.
#include "src/os/icmp_echo.h"

#include <arpa/inet.h>
#include <netinet/icmp6.h>
#include <netinet/ip_icmp.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <optional>
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

struct Address {
  sockaddr_storage any{};
  const sockaddr* plain() const { return reinterpret_cast<const sockaddr*>(&any); }
  socklen_t length() const { return any.ss_family == AF_INET ? sizeof(sockaddr_in) : sizeof(sockaddr_in6); }
  const void* bytes() const {
    if (any.ss_family == AF_INET) return &reinterpret_cast<const sockaddr_in&>(any).sin_addr;
    return &reinterpret_cast<const sockaddr_in6&>(any).sin6_addr;
  }
};

std::string text_of(const Address& address) {
  std::array<char, INET6_ADDRSTRLEN> text{};
  ::inet_ntop(address.any.ss_family, address.bytes(), text.data(), text.size());
  return text.data();
}

std::optional<Address> parse(const std::string& text) {
  for (const int family : {AF_INET, AF_INET6}) {
    Address address;
    address.any.ss_family = static_cast<sa_family_t>(family);
    if (::inet_pton(family, text.c_str(), const_cast<void*>(address.bytes())) == 1) return address;
  }
  return std::nullopt;
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

bool is_own_address(const std::string& text) {
  const auto address = parse(text);
  if (!address) return false;
  const OwnedFd probe(::socket(address->any.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  Address from;
  socklen_t length = sizeof from.any;
  // Connecting sends nothing: it is decided only which way, and by which address, packets would leave.
  if (!probe || ::connect(probe.get(), address->plain(), address->length()) != 0) return false;
  if (::getsockname(probe.get(), reinterpret_cast<sockaddr*>(&from.any), &length) != 0) return false;
  return text_of(from) == text_of(*address);
}

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
  const auto to = parse(address);
  if (!to) return fail("{} is no address", address);
  const int family = to->any.ss_family;
  if (auto opened = open(family); !opened) return opened;
  const auto packet = encode(family, mark_, number);
  if (::sendto(of(family).socket.get(), packet.data(), packet.size(), MSG_DONTWAIT, to->plain(), to->length()) < 0) return fail("{}", errno_text());
  sent_.emplace_back(number, address);
  if (sent_.size() > kMostOpen) sent_.pop_front();
  return {};
}

void IcmpEcho::read(int family) {
  std::array<uint8_t, 2048> bytes{};
  for (int count = 0; count < kMostReads; ++count) {
    Address from;
    socklen_t length = sizeof from.any;
    const ssize_t got =
        ::recvfrom(of(family).socket.get(), bytes.data(), bytes.size(), MSG_DONTWAIT, reinterpret_cast<sockaddr*>(&from.any), &length);
    if (got < 0) return;
    // Before an IPv4 message stands the header of its packet.
    const size_t skipped = family == AF_INET ? static_cast<size_t>(bytes[0] & 15) * 4 : 0;
    if (static_cast<size_t>(got) < skipped + kPacket) continue;
    const uint8_t* message = bytes.data() + skipped;
    if (message[0] != (family == AF_INET ? ICMP_ECHOREPLY : ICMP6_ECHO_REPLY)) continue;
    uint64_t mark = 0, number = 0;
    std::memcpy(&mark, message + kHeader, sizeof mark);
    std::memcpy(&number, message + kHeader + sizeof mark, sizeof number);
    const auto echo = std::find(sent_.begin(), sent_.end(), std::pair(number, text_of(from)));
    if (mark != mark_ || echo == sent_.end()) continue;
    const auto answered = *echo;
    sent_.erase(echo);
    on_answer_(answered.first, answered.second);
  }
}

}  // namespace baton
