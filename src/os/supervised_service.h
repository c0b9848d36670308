// SupervisedService: batond's side of one service under its shim: start, adopt after a restart of batond, stop,
// kill, and notice of its end. The service and its shim live on when this object (or batond) dies. One thread:
// the loop's.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "src/base/result.h"
#include "src/os/event_loop.h"
#include "src/os/shim_protocol.h"

namespace baton {

/// A command that exits 0 once the service does its work; asked every 50 ms.
struct ReadyCheck {
  std::vector<std::string> argv;  // empty: ready as soon as started
  std::string user;               // empty: as Baton runs
  std::vector<std::string> environment;
  Duration deadline = 60s;
};

struct ServiceEnd {
  bool shim_lost = false;  // the shim itself died; the service was killed, its status is unknown
  ShimReport report;
  std::string text;  // for people: how it ended, with the last lines of its log
};

class SupervisedService {
 public:
  enum class State { kNone, kStarting, kRunning, kStopping, kEnded };
  /// `on_end`: the service ended although nobody asked. Processes of it may be left: call kill() before
  /// start().
  SupervisedService(EventLoop& loop, std::string shim_program, ShimPaths paths,
                    std::function<void(const ServiceEnd&)> on_end);
  ~SupervisedService();
  SupervisedService(const SupervisedService&) = delete;
  SupervisedService& operator=(const SupervisedService&) = delete;

  using Callback = std::function<void(Status)>;

  /// Starts the service under a new shim; `callback` when it is ready. Errors: it ended before that, with how
  /// and its last log lines; kTimeout when it is not ready in time (it runs on: stop or kill it); kConflict
  /// when a shim of this name is there already (adopt it). Its control group is made here.
  void start(ServiceSpec spec, ReadyCheck ready, Callback callback);

  /// After a restart of batond: finds the shim of this name, if any. `callback` gets kRunning (watched from now
  /// on), kEnded (ended while nobody watched; see last_report()), or kNone: no shim. Without a shim, what is
  /// left in the control group is killed first.
  void adopt(const std::string& name, const std::string& control_group,
             std::function<void(Result<State>)> callback);

  /// Stop signal, then after the specification's time-out SIGKILL to all; `callback` when nothing of it is
  /// left. Fine if nothing runs. Errors: kTimeout naming processes that cannot be killed.
  void stop(Callback callback);
  /// SIGKILL to all at once; otherwise as stop().
  void kill(Callback callback);

  State state() const;
  /// What the shim said last; empty before it said anything.
  std::optional<ShimReport> last_report() const;

 private:
  struct Link;
  std::shared_ptr<Link> link_;
};

}  // namespace baton
