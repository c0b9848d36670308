// See netlink_interfaces.h. Each question opens a socket of its own, so answers can never be mixed up.
#include "src/os/netlink_interfaces.h"

#include <libmnl/libmnl.h>
#include <linux/if.h>
#include <linux/if_addr.h>
#include <linux/if_arp.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>
#include <sys/time.h>

#include <cstring>

#include "src/os/owned_fd.h"

namespace baton {

namespace {

constexpr size_t kBufferBytes = 32 * 1024;
constexpr int kAnswerLimitSeconds = 2;  // never seen; better than a loop that stands still

using Socket = std::unique_ptr<mnl_socket, int (*)(mnl_socket*)>;

Socket open_socket(int flags, unsigned groups) {
  Socket socket(mnl_socket_open2(NETLINK_ROUTE, SOCK_CLOEXEC | flags), &mnl_socket_close);
  if (socket && mnl_socket_bind(socket.get(), groups, MNL_SOCKET_AUTOPID) < 0) socket.reset();
  return socket;
}

/// Sends one request and hands each answer to `on_answer`. Errors carry errno in their text; `error_number`
/// too.
Status ask(nlmsghdr* request, const std::function<void(const nlmsghdr*)>& on_answer, int& error_number) {
  Socket socket = open_socket(0, 0);
  error_number = errno;
  if (!socket) return fail("cannot open a netlink socket: {}", errno_text());
  timeval limit{kAnswerLimitSeconds, 0};
  ::setsockopt(mnl_socket_get_fd(socket.get()), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  request->nlmsg_seq = 1;
  if (mnl_socket_sendto(socket.get(), request, request->nlmsg_len) < 0) {
    return fail("cannot send to netlink: {}", errno_text());
  }
  auto forward = [](const nlmsghdr* header, void* data) {
    (*static_cast<const std::function<void(const nlmsghdr*)>*>(data))(header);
    return MNL_CB_OK;
  };
  std::vector<char> buffer(kBufferBytes);
  for (;;) {
    ssize_t bytes = mnl_socket_recvfrom(socket.get(), buffer.data(), buffer.size());
    int outcome = bytes <= 0 ? -1
                             : mnl_cb_run(buffer.data(), static_cast<size_t>(bytes), 1,
                                          mnl_socket_get_portid(socket.get()), forward,
                                          const_cast<std::function<void(const nlmsghdr*)>*>(&on_answer));
    error_number = errno;
    if (outcome < 0) return fail("netlink: {}", errno_text(error_number));
    if (outcome == MNL_CB_STOP) return {};
  }
}

template <class Body>
Body* begin_request(std::vector<char>& buffer, uint16_t type, uint16_t flags) {
  buffer.assign(kBufferBytes, 0);
  nlmsghdr* header = mnl_nlmsg_put_header(buffer.data());
  header->nlmsg_type = type;
  header->nlmsg_flags = static_cast<uint16_t>(NLM_F_REQUEST | flags);
  return static_cast<Body*>(mnl_nlmsg_put_extra_header(header, sizeof(Body)));
}

nlmsghdr* header_of(std::vector<char>& buffer) { return reinterpret_cast<nlmsghdr*>(buffer.data()); }

/// libmnl's own loop macro is C only.
template <class Visit>
void for_each_attribute(const nlmsghdr* header, size_t offset, Visit visit) {
  auto* attribute = static_cast<const nlattr*>(mnl_nlmsg_get_payload_offset(header, offset));
  const auto* end = static_cast<const char*>(mnl_nlmsg_get_payload_tail(header));
  while (mnl_attr_ok(attribute, static_cast<int>(end - reinterpret_cast<const char*>(attribute)))) {
    visit(attribute);
    attribute = mnl_attr_next(attribute);
  }
}

NetworkInterface parse_interface(const nlmsghdr* header) {
  const auto* body = static_cast<const ifinfomsg*>(mnl_nlmsg_get_payload(header));
  NetworkInterface interface;
  interface.index = body->ifi_index;
  interface.up = (body->ifi_flags & IFF_UP) != 0;
  interface.carrier = (body->ifi_flags & IFF_LOWER_UP) != 0;
  interface.speaks_arp = body->ifi_type == ARPHRD_ETHER && (body->ifi_flags & IFF_NOARP) == 0;
  for_each_attribute(header, sizeof *body, [&](const nlattr* attribute) {
    if (mnl_attr_get_type(attribute) == IFLA_IFNAME) interface.name = mnl_attr_get_str(attribute);
    if (mnl_attr_get_type(attribute) == IFLA_ADDRESS &&
        mnl_attr_get_payload_len(attribute) == interface.mac.bytes.size()) {
      std::memcpy(interface.mac.bytes.data(), mnl_attr_get_payload(attribute), interface.mac.bytes.size());
    }
  });
  return interface;
}

AssignedAddress parse_address(const nlmsghdr* header) {
  const auto* body = static_cast<const ifaddrmsg*>(mnl_nlmsg_get_payload(header));
  AssignedAddress assigned;
  assigned.interface_index = static_cast<int>(body->ifa_index);
  assigned.address.family = body->ifa_family;
  assigned.address.prefix_length = body->ifa_prefixlen;
  for_each_attribute(header, sizeof *body, [&](const nlattr* attribute) {
    const int type = mnl_attr_get_type(attribute);
    const int wanted = body->ifa_family == AF_INET ? IFA_LOCAL : IFA_ADDRESS;
    if (type == wanted && mnl_attr_get_payload_len(attribute) == assigned.address.address_bytes()) {
      std::memcpy(assigned.address.address.data(), mnl_attr_get_payload(attribute),
                  assigned.address.address_bytes());
    }
  });
  return assigned;
}

Status change_address(uint16_t type, uint16_t flags, int interface_index, const InterfaceAddress& address,
                      int harmless_error) {
  std::vector<char> buffer;
  auto* body = begin_request<ifaddrmsg>(buffer, type, static_cast<uint16_t>(NLM_F_ACK | flags));
  body->ifa_family = static_cast<uint8_t>(address.family);
  body->ifa_prefixlen = address.prefix_length;
  body->ifa_index = static_cast<uint32_t>(interface_index);
  body->ifa_flags = IFA_F_NODAD;
  mnl_attr_put(header_of(buffer), IFA_LOCAL, address.address_bytes(), address.address.data());
  mnl_attr_put(header_of(buffer), IFA_ADDRESS, address.address_bytes(), address.address.data());
  int error_number = 0;
  auto done = ask(
      header_of(buffer), [](const nlmsghdr*) {}, error_number);
  if (!done && error_number == harmless_error) return {};
  return done;
}

}  // namespace

Result<std::vector<NetworkInterface>> list_interfaces() {
  std::vector<char> buffer;
  begin_request<ifinfomsg>(buffer, RTM_GETLINK, NLM_F_DUMP)->ifi_family = AF_UNSPEC;
  std::vector<NetworkInterface> interfaces;
  int error_number = 0;
  auto done = ask(
      header_of(buffer), [&](const nlmsghdr* header) { interfaces.push_back(parse_interface(header)); },
      error_number);
  if (!done) return pass(done);
  return interfaces;
}

Result<NetworkInterface> find_interface(const std::string& name) {
  auto interfaces = list_interfaces();
  if (!interfaces) return pass(interfaces);
  for (auto& interface : *interfaces) {
    if (interface.name == name) return std::move(interface);
  }
  return fail_as(ErrorCode::kNotFound, "this server has no network interface {}", name);
}

Result<std::vector<AssignedAddress>> list_addresses() {
  std::vector<char> buffer;
  begin_request<ifaddrmsg>(buffer, RTM_GETADDR, NLM_F_DUMP)->ifa_family = AF_UNSPEC;
  std::vector<AssignedAddress> addresses;
  int error_number = 0;
  auto done = ask(
      header_of(buffer), [&](const nlmsghdr* header) { addresses.push_back(parse_address(header)); },
      error_number);
  if (!done) return pass(done);
  return addresses;
}

Status add_address(int interface_index, const InterfaceAddress& address) {
  return change_address(RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, interface_index, address, EEXIST);
}

Status delete_address(int interface_index, const InterfaceAddress& address) {
  return change_address(RTM_DELADDR, 0, interface_index, address, EADDRNOTAVAIL);
}

Result<NetworkInterface> find_interface_for(const InterfaceAddress& address) {
  auto interfaces = list_interfaces();
  if (!interfaces) return pass(interfaces);
  auto addresses = list_addresses();
  if (!addresses) return pass(addresses);
  for (const auto& assigned : *addresses) {
    if (assigned.address.same_address(address) || !assigned.address.network_holds(address)) continue;
    for (auto& interface : *interfaces) {
      if (interface.index == assigned.interface_index) return std::move(interface);
    }
  }
  return fail_as(
      ErrorCode::kNotFound,
      "no interface of this server is in the network of {}: give one an address of that network, or name "
      "the interface in the configuration",
      address.text());
}

struct NetworkMonitor::State {
  State(Socket the_socket, std::function<void()> the_callback)
      : socket(std::move(the_socket)), on_change(std::move(the_callback)) {}

  /// Drains; what was said does not matter, since the listener reads anew. ENOBUFS (notices lost) counts as a
  /// notice.
  void readable() {
    char buffer[kBufferBytes];
    while (::recv(mnl_socket_get_fd(socket.get()), buffer, sizeof buffer, MSG_DONTWAIT) > 0 ||
           errno == ENOBUFS) {
      errno = 0;
    }
    auto callback = on_change;
    callback();
  }

  Socket socket;
  std::function<void()> on_change;
  EventLoop::Handle watch;
};

Result<NetworkMonitor> NetworkMonitor::open(EventLoop& loop, std::function<void()> on_change) {
  Socket socket = open_socket(SOCK_NONBLOCK, RTMGRP_LINK | RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR);
  if (!socket) return fail("cannot watch the network interfaces: {}", errno_text());
  NetworkMonitor monitor;
  monitor.state_ = std::make_shared<State>(std::move(socket), std::move(on_change));
  State* state = monitor.state_.get();  // outlives its own watch
  state->watch = loop.watch_readable(mnl_socket_get_fd(state->socket.get()), [state] { state->readable(); });
  return monitor;
}

}  // namespace baton
