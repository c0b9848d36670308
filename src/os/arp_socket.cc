// See arp_socket.h.
#include "src/os/arp_socket.h"

#include <arpa/inet.h>
#include <linux/filter.h>
#include <linux/if_arp.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <sys/socket.h>

#include <array>

namespace baton {

namespace {

constexpr MacAddress kBroadcast{{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}};

void put_big_endian(Bytes& out, uint16_t number) {
  out.push_back(static_cast<uint8_t>(number >> 8));
  out.push_back(static_cast<uint8_t>(number));
}

void put_party(Bytes& out, const MacAddress& mac, const InterfaceAddress& address) {
  out.insert(out.end(), mac.bytes.begin(), mac.bytes.end());
  out.insert(out.end(), address.address.begin(), address.address.begin() + 4);
}

uint16_t big_endian(std::span<const uint8_t> bytes) { return static_cast<uint16_t>(bytes[0] << 8 | bytes[1]); }

void take_party(std::span<const uint8_t> bytes, MacAddress& mac, InterfaceAddress& address) {
  std::copy_n(bytes.begin(), 6, mac.bytes.begin());
  std::copy_n(bytes.begin() + 6, 4, address.address.begin());
}

constexpr uint32_t kSenderAt = 14, kTargetAt = 24;  // the addresses in the packet

/// The kernel keeps for this socket only what a filter lets through: with many addresses in one network each
/// socket would else be woken by what concerns the others.
Status set_filter(int socket, std::span<sock_filter> filter) {
  const sock_fprog program = {static_cast<uint16_t>(filter.size()), filter.data()};
  if (::setsockopt(socket, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program) == 0) return {};
  return fail("cannot set the filter of an ARP socket: {}", errno_text());
}

Status keep_nothing(int socket) {
  std::array<sock_filter, 1> filter = {{{BPF_RET | BPF_K, 0, 0, 0}}};
  return set_filter(socket, filter);
}

Status keep_those_about(int socket, const InterfaceAddress& address) {
  uint32_t wanted = 0;
  for (size_t i = 0; i < 4; ++i) wanted = wanted << 8 | address.address[i];
  std::array<sock_filter, 6> filter = {{{BPF_LD | BPF_W | BPF_ABS, 0, 0, kSenderAt},
                                        {BPF_JMP | BPF_JEQ | BPF_K, 2, 0, wanted},
                                        {BPF_LD | BPF_W | BPF_ABS, 0, 0, kTargetAt},
                                        {BPF_JMP | BPF_JEQ | BPF_K, 0, 1, wanted},
                                        {BPF_RET | BPF_K, 0, 0, UINT32_MAX},
                                        {BPF_RET | BPF_K, 0, 0, 0}}};
  return set_filter(socket, filter);
}

}  // namespace

Bytes encode_arp(const ArpPacket& packet) {
  Bytes out;
  put_big_endian(out, ARPHRD_ETHER);
  put_big_endian(out, ETH_P_IP);
  out.push_back(6);
  out.push_back(4);
  put_big_endian(out, packet.operation);
  put_party(out, packet.sender_mac, packet.sender);
  put_party(out, packet.target_mac, packet.target);
  return out;
}

Result<ArpPacket> decode_arp(std::span<const uint8_t> bytes) {
  if (bytes.size() < 28 || big_endian(bytes) != ARPHRD_ETHER || big_endian(bytes.subspan(2)) != ETH_P_IP ||
      bytes[4] != 6 || bytes[5] != 4) {
    return fail("not an ARP packet for IPv4 over Ethernet");
  }
  ArpPacket packet;
  packet.operation = big_endian(bytes.subspan(6));
  take_party(bytes.subspan(8), packet.sender_mac, packet.sender);
  take_party(bytes.subspan(18), packet.target_mac, packet.target);
  return packet;
}

Result<ArpSocket> ArpSocket::open(EventLoop& loop, const NetworkInterface& interface) {
  ArpSocket arp;
  arp.loop_ = &loop;
  arp.interface_ = interface;
  // Protocol 0: one that receives already is bound only after an RCU grace period, 20 ms.
  arp.socket_ = OwnedFd(::socket(AF_PACKET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (arp.socket_) {
    if (auto deaf = keep_nothing(arp.socket_.get()); !deaf) return pass(deaf);
  }
  sockaddr_ll place{};
  place.sll_family = AF_PACKET;
  place.sll_protocol = htons(ETH_P_ARP);
  place.sll_ifindex = interface.index;
  if (!arp.socket_ || ::bind(arp.socket_.get(), reinterpret_cast<sockaddr*>(&place), sizeof place) != 0) {
    return fail("cannot send ARP on interface {}: {}", interface.name, errno_text());
  }
  return arp;
}

Status ArpSocket::send(const ArpPacket& packet) {
  sockaddr_ll place{};
  place.sll_family = AF_PACKET;
  place.sll_protocol = htons(ETH_P_ARP);
  place.sll_ifindex = interface_.index;
  place.sll_halen = 6;
  std::copy(kBroadcast.bytes.begin(), kBroadcast.bytes.end(), place.sll_addr);
  const Bytes bytes = encode_arp(packet);
  const auto try_it = [&] {
    return ::sendto(socket_.get(), bytes.data(), bytes.size(), 0, reinterpret_cast<sockaddr*>(&place),
                    sizeof place) >= 0;
  };
  // The first try may only bring what happened to the socket before: the interface was down for a while.
  if (try_it() || try_it()) return {};
  return fail("cannot send ARP on interface {}: {}", interface_.name, errno_text());
}

Status ArpSocket::probe(const InterfaceAddress& address) { return ask(address, InterfaceAddress{}); }

Status ArpSocket::ask(const InterfaceAddress& address, const InterfaceAddress& from) {
  ArpPacket packet;
  packet.sender_mac = interface_.mac;
  packet.sender = from;
  packet.target = address;
  return send(packet);
}

Status ArpSocket::announce(const InterfaceAddress& address) {
  ArpPacket packet;
  packet.sender_mac = interface_.mac;
  packet.sender = packet.target = address;
  auto sent = send(packet);
  packet.operation = ArpPacket::kReply;
  packet.target_mac = kBroadcast;
  return sent ? send(packet) : sent;
}

Status ArpSocket::listen(const InterfaceAddress& about, std::function<void(const ArpPacket&)> on_packet) {
  if (auto hears = keep_those_about(socket_.get(), about); !hears) return hears;
  watch_ = loop_->watch_readable(socket_.get(), [fd = socket_.get(), on_packet = std::move(on_packet)] {
    for (int count = 0; count < 64; ++count) {
      uint8_t buffer[256];
      sockaddr_ll from{};
      socklen_t length = sizeof from;
      ssize_t bytes =
          ::recvfrom(fd, buffer, sizeof buffer, MSG_DONTWAIT, reinterpret_cast<sockaddr*>(&from), &length);
      if (bytes < 0) return;
      if (from.sll_pkttype == PACKET_OUTGOING) continue;
      auto packet = decode_arp({buffer, static_cast<size_t>(bytes)});
      if (packet) {
        on_packet(*packet);
        return;  // the callback may have ended the listening; the rest is still readable
      }
    }
  });
  return {};
}

void ArpSocket::ignore() {
  watch_.cancel();
  static_cast<void>(keep_nothing(socket_.get()).has_value());
  uint8_t rest[1];
  while (::recv(socket_.get(), rest, sizeof rest, MSG_DONTWAIT | MSG_TRUNC) >= 0) continue;
}

}  // namespace baton
