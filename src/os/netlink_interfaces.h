// Interfaces and their addresses through rtnetlink: read, add, delete, and notice changes. The kernel answers
// at once (it may wait for its own network lock, milliseconds). One thread: the loop's.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "src/base/result.h"
#include "src/os/event_loop.h"
#include "src/os/network_address.h"

namespace baton {

struct NetworkInterface {
  int index = 0;
  std::string name;
  bool up = false;       // switched on by the administrator
  bool carrier = false;  // the cable is in
  bool speaks_arp = false;
  MacAddress mac;
};

struct AssignedAddress {
  int interface_index = 0;
  InterfaceAddress address;
};

Result<std::vector<NetworkInterface>> list_interfaces();
/// kNotFound when there is none of this name.
Result<NetworkInterface> find_interface(const std::string& name);
Result<std::vector<AssignedAddress>> list_addresses();

/// Adds the address without the kernel's duplicate detection; fine if it is there.
Status add_address(int interface_index, const InterfaceAddress& address);
/// Fine if it is not there.
Status delete_address(int interface_index, const InterfaceAddress& address);

/// The interface that has an address in the same network (an address equal to `address` itself does not count).
/// kNotFound otherwise, with what to do.
Result<NetworkInterface> find_interface_for(const InterfaceAddress& address);

/// Calls `on_change` (soon, several changes as one) when an interface or an address of this namespace changed,
/// or when notices were lost: read anew what you care about.
class NetworkMonitor {
 public:
  static Result<NetworkMonitor> open(EventLoop& loop, std::function<void()> on_change);

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace baton
