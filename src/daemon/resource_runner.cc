// Steps on mirrors and filesystems, and the common part. One thread: the loop's.
#include "src/daemon/resource_runner.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <utility>

#include "src/os/control_group.h"
#include "src/os/filesystem_helper.h"
#include "src/os/helper_process.h"
#include "src/os/mount_table.h"

namespace baton {

using group::StepAction;

namespace {

/// A device that a mirror daemon may have exported.
bool is_mirror_device(const std::string& device) {
  return device.starts_with("/dev/loop") || device.starts_with("/dev/nbd") || device.starts_with("/dev/ublkb");
}

}  // namespace

Duration ResourceRunner::Step::left() const {
  return std::max<Duration>(step.deadline - EventLoop::now(), milliseconds(100));
}

ResourceRunner::ResourceRunner(EventLoop& loop, RunnerPaths paths, FindMirror find_mirror, FindMacs find_macs,
                               Failed on_failed, ScriptRunner::Feed feed)
    : loop_(loop), paths_(std::move(paths)), find_mirror_(std::move(find_mirror)), find_macs_(std::move(find_macs)),
      on_failed_(std::move(on_failed)), leftovers_(loop), scripts_(loop, paths_, std::move(feed)) {
  watch_addresses();
}

ResourceRunner::~ResourceRunner() { *alive_ = false; }

void ResourceRunner::run(const node::RunStep& wanted, const GroupConfiguration& group,
                         const ResourceConfiguration& resource, Done done) {
  auto step = std::make_shared<Step>(Step{wanted, group, resource, std::move(done)});
  present_step_[step->key()] = wanted.token;
  leftovers_.when_clear(wanted.group, [this, step] {
    if (present_step_[step->key()] == step->step.token) begin(step);
  });
}

void ResourceRunner::begin(const StepPointer& step) {
  const HelperPlace place(leftovers_.place(step->step.group));
  switch (step->resource.kind) {
    case ResourceKind::kMirror: return run_mirror(step);
    case ResourceKind::kFilesystem: return run_filesystem(step);
    case ResourceKind::kAddress: return run_address(step);
    case ResourceKind::kService: return run_service(step);
    case ResourceKind::kScript: return run_script(step);
  }
}

void ResourceRunner::finish(const StepPointer& step, bool ok, const std::string& detail) {
  // Always from the loop: the node is not entered again from inside its own actions.
  loop_.post([this, alive = alive_, step, ok, detail] {
    if (!*alive || present_step_[step->key()] != step->step.token) return;
    step->done(ok, detail);
  });
}

// ---- Mirror ----

void ResourceRunner::run_mirror(const StepPointer& step) {
  const std::string key = mirror_key(step->step.group, step->step.resource);
  MirrorClient* mirror = find_mirror_(key);
  if (mirror == nullptr) {
    const bool ends = step->step.action == StepAction::kStop || step->step.action == StepAction::kKill;
    return finish(step, ends, "no mirror daemon is configured");
  }
  const auto answer = [this, step, key](bool up) {
    return [this, step, key, up](const Result<std::string>& result) {
      // It may have been lost between its promotion and this answer.
      const MirrorClient* present = find_mirror_(key);
      if (result && up && (present == nullptr || present->device().empty()))
        return finish(step, false, "its export was lost at once");
      if (result && up) up_mirrors_.insert(key);
      finish(step, result.has_value(), result ? *result : result.error().message);
    };
  };
  switch (step->step.action) {
    case StepAction::kAdopt: return mirror->adopt(step->step.permit, answer(true));
    case StepAction::kStart: return mirror->promote(step->step.permit, answer(true));
    case StepAction::kStop:
      up_mirrors_.erase(key);
      return mirror->demote(answer(false));
    case StepAction::kKill:
      up_mirrors_.erase(key);
      return mirror->abort("the group is given up here", answer(false));
    default: return finish(step, true, "");
  }
}

void ResourceRunner::mirror_export_lost(const std::string& group, const std::string& resource,
                                        const std::string& reason) {
  if (up_mirrors_.erase(mirror_key(group, resource)) > 0) on_failed_(group, resource, reason);
}

// ---- Filesystem ----

std::string ResourceRunner::device_of(const Step& step) const {
  MirrorClient* mirror = find_mirror_(mirror_key(step.step.group, step.resource.filesystem.mirror));
  return mirror == nullptr ? "" : mirror->device();
}

void ResourceRunner::run_filesystem(const StepPointer& step) {
  const std::string& mount_point = step->resource.filesystem.mount_point;
  switch (step->step.action) {
    case StepAction::kAdopt: {
      const auto device = mounted_device(mount_point);
      if (!device) return finish(step, false, device.error().message);
      const std::string mounted = device->value_or("");
      const std::string wanted = device_of(*step);
      // Something else there is not this group's: a start will refuse it by name.
      const bool up = wanted.empty() ? is_mirror_device(mounted) : wanted == mounted;
      return finish(step, up, up ? mounted : mounted.empty() ? "not mounted" : mounted + " is mounted there");
    }
    case StepAction::kStart: return start_filesystem(step);
    case StepAction::kStop:
      return unmount_filesystem(loop_, mount_point, step->left(), [this, step](const Status& status) {
        finish(step, status.has_value(), status ? "" : status.error().message);
      });
    case StepAction::kKill: return kill_filesystem(step);
    default: return finish(step, true, "");
  }
}

void ResourceRunner::start_filesystem(const StepPointer& step) {
  const std::string device = device_of(*step);
  if (device.empty())
    return finish(step, false, fmt::format("mirror {} has no device", step->resource.filesystem.mirror));
  mount_device(step, device, [this, step, device](const std::string& error) {
    // SAFETY: a store that was adopted holds what somebody wants to keep, however unreadable.
    const auto* mirror = step->group.find(step->resource.filesystem.mirror);
    if (mirror != nullptr && !mirror->mirror.adopt.empty()) return finish(step, false, error);
    // A device that cannot be mounted may be a new mirror that was never used: only then it is formatted.
    make_filesystem_if_blank(loop_, device, step->resource.filesystem.type, step->left(),
                             [this, step, device, error](const Result<bool>& made) {
                               if (!made || !*made) return finish(step, false, made ? error : made.error().message);
                               mount_device(step, device, [this, step](const std::string& again) {
                                 finish(step, false, again);
                               });
                             });
  });
}

void ResourceRunner::mount_device(const StepPointer& step, const std::string& device,
                                  std::function<void(const std::string& error)> otherwise) {
  const auto& wanted = step->resource.filesystem;
  MountRequest request{.device = device, .mount_point = wanted.mount_point, .type = wanted.type,
                       .options = wanted.options, .deadline = step->left(), .check_deadline = step->left()};
  mounting_.insert(step->key());
  mount_filesystem(loop_, request, [this, step, otherwise](const Result<MountReport>& report) {
    mounting_.erase(step->key());
    if (present_step_[step->key()] != step->step.token) {
      // A kill came meanwhile: it has waited for this end, so that nothing is mounted after it.
      auto waiting = after_mount_.extract(step->key());
      if (!waiting.empty()) waiting.mapped()();
      return;
    }
    if (!report) return otherwise(report.error().message);
    finish(step, true, report->repaired ? "repaired: " + report->repair_output : "");
  });
}

void ResourceRunner::kill_filesystem(const StepPointer& step) {
  if (mounting_.contains(step->key())) {
    after_mount_[step->key()] = [this, step] { kill_filesystem(step); };
    return;
  }
  const std::string mount_point = step->resource.filesystem.mount_point;
  const auto source = mounted_device(mount_point);
  // Somebody else's filesystem on the mount point is left alone.
  if (source && !is_mirror_device(source->value_or(""))) return finish(step, true, "");
  const auto detached = [this, step](const Status& status) {
    finish(step, status.has_value(), status ? "detached" : status.error().message);
  };
  unmount_filesystem(loop_, mount_point, seconds(2), [this, step, mount_point, detached](const Status& status) {
    if (status) return finish(step, true, "");
    detach_filesystem(loop_, mount_point, seconds(2), detached);
  });
}

}  // namespace baton
