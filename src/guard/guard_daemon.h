// baton-guard's wiring: events into the pure GuardCore, its actions out. No disk: page and lease page are on tmpfs, the
// log is what batond made of standard error. One thread: the loop's; libcpg has one of its own behind it.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "src/guard/address_gate.h"
#include "src/guard/duties.h"
#include "src/guard/guard_page.h"
#include "src/guard/watchdog.h"
#include "src/os/event_loop.h"
#include "src/os/group_messaging.h"
#include "src/os/lease_page.h"
#include "src/os/owned_fd.h"

namespace baton::guard {

struct Options {
  Settings settings;
  std::string run_directory = "/run/baton";
};

class GuardDaemon {
 public:
  GuardDaemon(EventLoop& loop, Options options);
  /// `problems`: what the kernel refused at the start, for batond.
  Status start(const std::vector<std::string>& problems);
  /// Asked to end: the watchdog is switched off if nothing here needs watching.
  void stop();

 private:
  Status listen();
  void accept();
  void receive();
  void take(std::span<const uint8_t> bytes);
  void feed(const Event& event);
  void carry_out(const Action& action);
  void keep(const Knowledge& knowledge);
  void send_report();
  void arm_timers();
  void on_view(const GroupView& view);
  void watch_clocks();
  void look_at_duties();
  void take_duties(const Duties& duties);
  void say(const std::string& text);
  std::string problems() const;

  EventLoop& loop_;
  Options options_;
  std::optional<GuardPage> page_;
  std::optional<LeaseWriter> lease_page_;
  std::optional<GuardCore> core_;
  Duties duties_;
  DutyRunner runner_;
  AddressGate gate_;
  Watchdog watchdog_;
  std::string watchdog_problem_;
  std::unique_ptr<GroupMessaging> messaging_;
  OwnedFd listener_;
  OwnedFd batond_;
  EventLoop::Handle accepting_;
  EventLoop::Handle receiving_;
  EventLoop::Handle tick_;
  EventLoop::Handle clock_tick_;
  EventLoop::Handle duty_tick_;
  Instant tick_at_ = kNever;
  ClocksAhead clocks_ahead_;  // at the last look
  std::string problem_;
};

}  // namespace baton::guard
