// CorosyncEngine: owns Baton's private corosync process. It is started in a session of its own, survives
// batond, and is adopted by the next one. corosync(8) fixes two places: its pid lock /run/corosync.pid and its
// abstract IPC sockets, so one engine per network namespace and /run; a foreign corosync is named, never
// touched. One thread: the loop's.
#pragma once

#include <sys/types.h>

#include <functional>
#include <memory>
#include <string>

#include "src/base/bytes.h"
#include "src/base/result.h"
#include "src/os/corosync_config.h"
#include "src/os/event_loop.h"

namespace baton {

struct EnginePaths {
  std::string runtime_directory = "/run/baton/corosync";  // corosync.conf, authkey, pid
  std::string state_directory = "/var/lib/baton/corosync";
  std::string log_file = "/var/log/baton/corosync.log";
  std::string program = "corosync";
  std::string lock_file = "/run/corosync.pid";  // corosync's own, fixed when it was built

  std::string config_file() const { return runtime_directory + "/corosync.conf"; }
  std::string key_file() const { return runtime_directory + "/authkey"; }
  std::string pid_file() const { return runtime_directory + "/pid"; }
};

class CorosyncEngine {
 public:
  /// `on_end`: the running engine has ended, with how; the owner calls start() again. Never called by stop().
  CorosyncEngine(EventLoop& loop, EnginePaths paths, std::function<void(const std::string& how)> on_end);
  ~CorosyncEngine();
  CorosyncEngine(const CorosyncEngine&) = delete;
  CorosyncEngine& operator=(const CorosyncEngine&) = delete;

  enum class Start { kStarted, kAdopted, kAdoptedOtherConfiguration };
  /// Adopts the engine that runs already, or writes configuration and key (`key`: 128 to 4096 bytes) and starts
  /// one. Paths inside `config` are filled in here. kAdoptedOtherConfiguration: it runs with what was
  /// configured before; the owner decides on apply() or stop() and start(). Errors: bad configuration, a
  /// foreign corosync (with its process number and what to do), no corosync program, directories that cannot be
  /// written.
  Result<Start> start(EngineConfig config, const Bytes& key);

  /// Is this another configuration than the one that was written last?
  bool differs(EngineConfig config) const;
  /// By the one that was written last.
  std::map<ServerId, std::map<size_t, std::string>> addresses() const;
  /// Writes a changed configuration (servers or links added or removed) and has the running engine read it.
  void apply(EngineConfig config, std::function<void(Status)> callback);

  /// Replaces the file of the interconnects' key (128 to 4096 bytes). The running engine reads it at the next load or apply.
  Status write_key(const Bytes& key);
  /// Has the engines of all members read their own files, at once. What others could not read is not told.
  void load(std::function<void(Status)> callback);

  /// SIGTERM (an orderly leave), after `limit` SIGKILL; `callback` when it has ended. Fine if none runs.
  void stop(Duration limit, std::function<void(Status)> callback);
  /// SIGKILL at once, for an engine that hangs; on_end follows.
  void kill();

  bool running() const;
  pid_t pid() const;

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace baton
