// Carries out the steps that the node asks for on this server's resources, and reports what fails later by itself.
// One thread: the loop's; whatever can hang runs in helper processes and mirror daemons.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>

#include "src/daemon/leftover_helpers.h"
#include "src/core/node/node_types.h"
#include "src/daemon/mirror_client.h"
#include "src/daemon/script_runner.h"
#include "src/model/configuration.h"
#include "src/os/event_loop.h"
#include "src/os/floating_address.h"
#include "src/os/supervised_service.h"

namespace baton {

class ResourceRunner {
 public:
  using Done = std::function<void(bool ok, const std::string& detail)>;
  using Failed = std::function<void(const std::string& group, const std::string& resource, const std::string& reason)>;
  /// The mirror daemon of a mirror_key(), or nullptr.
  using FindMirror = std::function<MirrorClient*(const std::string& key)>;
  /// MAC addresses of a server, as last heard from it.
  using FindMacs = std::function<std::vector<MacAddress>(ServerId server)>;

  ResourceRunner(EventLoop& loop, RunnerPaths paths, FindMirror find_mirror, FindMacs find_macs, Failed on_failed,
                 ScriptRunner::Feed feed);
  ~ResourceRunner();

  /// Begins a step on a resource as configured; `done` is called once, from the loop, unless a later step on the same
  /// resource overtakes it (a kill does).
  void run(const node::RunStep& step, const GroupConfiguration& group, const ResourceConfiguration& resource, Done done);

  /// This server's name, as scripts are told.
  void set_server_name(const std::string& name) { server_name_ = name; }
  ScriptRunner& scripts() { return scripts_; }

  /// The mirror's device is gone; its resource counts as failed if it was up.
  void mirror_export_lost(const std::string& group, const std::string& resource, const std::string& reason);

  /// The control group for what is run for a group. REQUIRES: a step of it has begun.
  std::string helper_place(const std::string& group) const { return leftovers_.place(group); }

  /// Announces every address held here again (the network or the membership has healed).
  void announce_addresses();
  /// The group may soon start here: asks already now whether anybody else has its addresses.
  void look_for_addresses(const std::string& group);

 private:
  struct Step {  // what an adapter needs, copied: configurations may change meanwhile
    node::RunStep step;
    GroupConfiguration group;
    ResourceConfiguration resource;
    Done done;
    std::string key() const { return step.group + "." + step.resource + (step.program.empty() ? "" : "/" + step.program); }
    Duration left() const;
  };
  using StepPointer = std::shared_ptr<Step>;

  void begin(const StepPointer& step);
  void run_mirror(const StepPointer& step);
  void run_filesystem(const StepPointer& step);
  void start_filesystem(const StepPointer& step);
  void mount_device(const StepPointer& step, const std::string& device,
                    std::function<void(const std::string& error)> otherwise);
  void kill_filesystem(const StepPointer& step);
  void run_address(const StepPointer& step);
  void start_address(const StepPointer& step);
  void run_service(const StepPointer& step);
  void run_script(const StepPointer& step);
  std::vector<std::string> environment_of(const StepPointer& step) const;
  void kill_service(const StepPointer& step);
  void start_service(const StepPointer& step);
  void launch_service(const StepPointer& step, SupervisedService& service);
  SupervisedService& service_of(const StepPointer& step);
  Result<FloatingAddress*> address_of(const StepPointer& step);
  std::string device_of(const Step& step) const;
  void watch_addresses();
  void finish(const StepPointer& step, bool ok, const std::string& detail);

  struct HeldAddress {
    std::unique_ptr<FloatingAddress> address;
    std::string group;
    std::string resource;
    std::string text;
    bool held = false;
  };

  EventLoop& loop_;
  RunnerPaths paths_;
  FindMirror find_mirror_;
  FindMacs find_macs_;
  Failed on_failed_;
  std::map<std::string, HeldAddress> addresses_;
  std::map<std::string, std::unique_ptr<SupervisedService>> services_;
  LeftoverHelpers leftovers_;
  ScriptRunner scripts_;
  std::string server_name_;
  std::map<std::string, uint64_t> present_step_;  // newest token of each resource: older ends do not count
  std::set<std::string> up_mirrors_;
  std::set<std::string> mounting_;                             // filesystems whose mount is under way
  std::map<std::string, std::function<void()>> after_mount_;   // kills that wait for its end
  std::unique_ptr<NetworkMonitor> monitor_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace baton
