// FloatingAddress: an IPv4 address that moves between servers: probed, taken, announced repeatedly, given up.
// The right to hold it (the lease) is the owner's business. One thread: the loop's.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "src/base/result.h"
#include "src/os/event_loop.h"
#include "src/os/netlink_interfaces.h"

namespace baton {

class FloatingAddress {
 public:
  FloatingAddress(EventLoop& loop, std::string interface, InterfaceAddress address);
  /// Stops announcing; the address stays as it is.
  ~FloatingAddress();
  FloatingAddress(const FloatingAddress&) = delete;
  FloatingAddress& operator=(const FloatingAddress&) = delete;

  using Callback = std::function<void(Status)>;

  /// Probes twice, 15 ms apart, adds the address and announces it (now twice, then after 100 ms, 500 ms, 1 s, 2
  /// s). `callback` comes once, from the loop, after about 30 ms; at once after a look_ahead() of the last two
  /// seconds, and if the address is there already (a restarted batond): then it is only announced. Errors: kConflict when a foreign MAC answers (unless it is
  /// in `former_owners`, whose lease has ended) or when another interface of this server has the address;
  /// kNotFound without the interface; kUnavailable when that is switched off.
  void acquire(std::vector<MacAddress> former_owners, Callback callback);

  /// Sends the probes of an acquire() that may come soon: while the former owner's lease runs out, for example.
  void look_ahead();

  /// Removes the address and stops announcing; fine if it is not there. An acquire() under way ends with an
  /// error.
  Status release();

  /// The whole series of announcements anew, for example when the network has healed. Without effect while not
  /// held.
  void announce_again();

  /// What the kernel says now; read it at each change that a NetworkMonitor reports.
  struct Presence {
    bool address = false;  // the interface has it
    bool carrier = false;  // the interface is up and its cable is in
  };
  Result<Presence> presence() const;
  /// Whether it is among these, where it was last taken: one list_addresses() for many.
  bool is_among(const std::vector<AssignedAddress>& assigned) const;

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace baton
