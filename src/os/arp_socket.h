// ARP for one interface: probes and announcements out, claims of others in (RFC 826, RFC 5227's packet forms).
// Non-blocking. One thread: the loop's.
#pragma once

#include <functional>

#include "src/base/bytes.h"
#include "src/base/result.h"
#include "src/os/event_loop.h"
#include "src/os/netlink_interfaces.h"
#include "src/os/owned_fd.h"

namespace baton {

struct ArpPacket {
  enum Operation : uint16_t { kRequest = 1, kReply = 2 };
  uint16_t operation = kRequest;
  MacAddress sender_mac, target_mac;
  InterfaceAddress sender, target;  // prefix lengths do not count
};

/// The 28 bytes of an ARP packet for IPv4 over Ethernet.
Bytes encode_arp(const ArpPacket& packet);
/// Error: not such a packet.
Result<ArpPacket> decode_arp(std::span<const uint8_t> bytes);

/// Closing one takes the kernel up to 20 ms, so keep it: while nobody listens it costs nothing.
class ArpSocket {
 public:
  /// REQUIRES: interface.speaks_arp.
  static Result<ArpSocket> open(EventLoop& loop, const NetworkInterface& interface);

  const NetworkInterface& interface() const { return interface_; }

  /// "Who has `address`?" from nobody: does not change anybody's tables.
  Status probe(const InterfaceAddress& address);
  /// The same from an address of this interface: nobody takes that for somebody who is about to take `address`.
  Status ask(const InterfaceAddress& address, const InterfaceAddress& from);
  /// "`address` is here": as request and as reply, since some equipment heeds only one of them.
  Status announce(const InterfaceAddress& address);
  /// Calls `on_packet` for each ARP packet of others that `about` sends or is asked for in, until ignore(),
  /// which it may call itself.
  Status listen(const InterfaceAddress& about, std::function<void(const ArpPacket&)> on_packet);
  void ignore();

 private:
  Status send(const ArpPacket& packet);

  EventLoop* loop_ = nullptr;
  NetworkInterface interface_;
  OwnedFd socket_;
  EventLoop::Handle watch_;
};

}  // namespace baton
