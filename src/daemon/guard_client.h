// GuardClient: batond's side of baton-guard: finds the one that runs, or starts one (detached: it outlives batond), and
// replaces at once one that ends or hangs, within the lease. One thread: the loop's. docs/protocol.md, "Leases".
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "src/guard/guard_codec.h"
#include "src/os/event_loop.h"

namespace baton {

struct GuardClientSettings {
  std::string program;
  std::string run_directory;  // guard.sock and guard.log are there; on tmpfs, so that the guard waits for no disk
  guard::Settings guard;
};

class GuardClient {
 public:
  struct Callbacks {
    std::function<void(const guard::ReportMessage&)> on_report;
    /// It has ended, or was ended because it hung; another one is on its way.
    std::function<void(const std::string& why)> on_gone;
  };
  GuardClient(EventLoop& loop, GuardClientSettings settings, Callbacks callbacks);
  ~GuardClient();
  GuardClient(const GuardClient&) = delete;
  GuardClient& operator=(const GuardClient&) = delete;

  void start();
  /// SAFETY: F1, F2. Positions in another cluster's log mean nothing in this one's: the page goes, and the guard that has
  /// it. To be called when a cluster is founded, before that is marked as done.
  static void forget_earlier_cluster(const std::string& run_directory);
  /// Lost when there is no guard: the next one's first report is the time to tell again.
  void tell(const guard::Tell& tell);
  /// Told to each guard.
  void set_duties(const guard::Duties& duties);
  /// Baton ends on this server: the guard is asked to end, too, and no other is started. `done` is told why it did not,
  /// within `limit`; empty: it has ended. REQUIRES: no lease any more, so that it leaves no watchdog behind.
  void end(Duration limit, std::function<void(const std::string& why_not)> done);
  /// Why there is none, for people; empty: connected.
  std::string waiting_for() const;

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace baton
