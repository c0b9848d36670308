// DutyRunner: what the guard does on this server when the lease has ended, with or without batond: floating addresses
// are dropped at once, and again while there is no lease; after the bounded freeze the services' control groups are
// killed. One thread: the loop's. docs/protocol.md, "Leases".
#pragma once

#include <functional>
#include <string>

#include "src/base/time.h"
#include "src/guard/guard_codec.h"

namespace baton::guard {

class DutyRunner {
 public:
  /// `say`: for the guard's log.
  explicit DutyRunner(std::function<void(const std::string&)> say) : say_(std::move(say)) {}

  void set_duties(const Duties& duties) { duties_ = duties; }
  /// To be called whenever the lease page has changed, and at next(). `gated_for`: so long the gate alone keeps the
  /// addresses shut, for a lease that is only asked for anew (F5); 0: there is no gate.
  void look(Instant now, Instant lease_until, Duration gated_for);
  Instant next() const { return next_; }
  /// The watchdog is fed while there is a lease, or while nothing that needs one is left here.
  bool may_feed() const { return lapsed_since_ == kNever || clean_; }
  bool clean() const { return clean_; }

 private:
  bool drop_addresses();
  void kill_groups();
  bool groups_empty() const;

  std::function<void(const std::string&)> say_;
  Duties duties_;
  Instant lapsed_since_ = kNever;
  bool killed_ = false;
  bool clean_ = false;  // as last seen without a lease: no address, no process
  Instant next_ = kNever;
};

}  // namespace baton::guard
