// Echoes by ICMP and ICMPv6, and their answers: raw sockets that never block. Needs root. One thread: the loop's.
#pragma once

#include <deque>
#include <functional>
#include <string>
#include <utility>

#include "src/base/result.h"
#include "src/os/event_loop.h"
#include "src/os/owned_fd.h"

namespace baton {

/// Would echoes to this address never leave the machine? The kernel answers them itself then, whatever is cut. False where it cannot
/// be told (no address, no route).
bool is_own_address(const std::string& address);

class IcmpEcho {
 public:
  /// `on_answer` is called from the loop, once per echo at most: the number and the address that it was sent with.
  IcmpEcho(EventLoop& loop, std::function<void(uint64_t number, const std::string& address)> on_answer);

  /// One echo to an IPv4 or IPv6 address. Error: nothing was sent, and why ("No route to host").
  Status send(const std::string& address, uint64_t number);

 private:
  struct Family {
    OwnedFd socket;
    EventLoop::Handle watch;
  };
  Status open(int family);
  void read(int family);
  Family& of(int family);

  EventLoop& loop_;
  std::function<void(uint64_t, const std::string&)> on_answer_;
  uint64_t mark_;  // in each echo: every raw socket of the machine gets every answer
  Family ipv4_, ipv6_;
  std::deque<std::pair<uint64_t, std::string>> sent_;  // the newest ones
};

}  // namespace baton
