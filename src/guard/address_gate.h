// AddressGate: nftables tables of Baton's own in which the floating addresses let packets through only as long as the
// lease lasts: elements of a set that time out with it, so that the kernel drops the address even when all of user space
// is dead. Works on a thread of its own: no beat waits for it. docs/protocol.md, "Leases".
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "src/base/time.h"

namespace baton::guard {

class AddressGate {
 public:
  AddressGate();
  /// Leaves the tables: what is in them times out.
  ~AddressGate();
  AddressGate(const AddressGate&) = delete;
  AddressGate& operator=(const AddressGate&) = delete;

  /// The addresses to be gated, and until when the lease lasts. Returns at once; what is newest counts.
  void set(const std::vector<std::string>& addresses, Instant lease_until);
  /// Waits until what was set is in the kernel.
  void settle();
  /// Removes the tables.
  void remove();
  /// Why there is no gate on this server, for people; empty: there is one, or none is needed.
  std::string problem() const;
  /// These addresses are behind the gate: the kernel lets nothing through without a lease.
  bool stands(const std::vector<std::string>& addresses) const;

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace baton::guard
