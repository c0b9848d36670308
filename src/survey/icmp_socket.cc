// See icmp_socket.h.
#include "src/survey/icmp_socket.h"

#include <arpa/inet.h>
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

IcmpSocket::IcmpSocket(const std::string& from, const std::string& to)
    : fd_(socket(AF_INET, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_ICMP)), id_(next_id()) {
  if (fd_ < 0) return;
  sockaddr_in place{};
  place.sin_family = AF_INET;
  inet_pton(AF_INET, from.c_str(), &place.sin_addr);
  const int never_divide = IP_PMTUDISC_PROBE;
  setsockopt(fd_, IPPROTO_IP, IP_MTU_DISCOVER, &never_divide, sizeof never_divide);
  peer_.sin_family = AF_INET;
  inet_pton(AF_INET, to.c_str(), &peer_.sin_addr);
  if (bind(fd_, reinterpret_cast<sockaddr*>(&place), sizeof place) == 0) return;
  close(fd_);
  fd_ = -1;
}

IcmpSocket::~IcmpSocket() {
  if (fd_ >= 0) close(fd_);
}

std::optional<std::vector<uint8_t>> IcmpSocket::ask(uint8_t type, uint8_t wanted, size_t size, milliseconds limit) {
  std::vector<uint8_t> packet(std::max<size_t>(size, 20), 0);
  ++number_;
  packet[0] = type;
  packet[4] = static_cast<uint8_t>(id_ >> 8);
  packet[5] = static_cast<uint8_t>(id_);
  packet[6] = static_cast<uint8_t>(number_ >> 8);
  packet[7] = static_cast<uint8_t>(number_);
  const uint16_t sum = checksum(packet.data(), packet.size());
  packet[2] = static_cast<uint8_t>(sum >> 8);
  packet[3] = static_cast<uint8_t>(sum);
  if (sendto(fd_, packet.data(), packet.size(), 0, reinterpret_cast<sockaddr*>(&peer_), sizeof peer_) < 0)
    return std::nullopt;
  return wait_for(wanted, limit);
}

std::optional<std::vector<uint8_t>> IcmpSocket::wait_for(uint8_t wanted, milliseconds limit) {
  const auto until = std::chrono::steady_clock::now() + limit;
  std::vector<uint8_t> bytes(65536);
  while (true) {
    const auto left = std::chrono::ceil<milliseconds>(until - std::chrono::steady_clock::now());
    pollfd ready{fd_, POLLIN, 0};
    if (left.count() <= 0 || poll(&ready, 1, static_cast<int>(left.count())) <= 0) return std::nullopt;
    sockaddr_in from{};
    socklen_t length = sizeof from;
    const ssize_t got =
        recvfrom(fd_, bytes.data(), bytes.size(), MSG_DONTWAIT, reinterpret_cast<sockaddr*>(&from), &length);
    const size_t header = got > 0 ? static_cast<size_t>(bytes[0] & 15) * 4 : 0;
    if (got < 0 || static_cast<size_t>(got) < header + 8 || from.sin_addr.s_addr != peer_.sin_addr.s_addr) continue;
    const uint8_t* message = bytes.data() + header;
    if (message[0] != wanted || (message[4] << 8 | message[5]) != id_ || (message[6] << 8 | message[7]) != number_) continue;
    return std::vector<uint8_t>(bytes.begin() + static_cast<std::ptrdiff_t>(header), bytes.begin() + got);
  }
}

}  // namespace baton::survey
