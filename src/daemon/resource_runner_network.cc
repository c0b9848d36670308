// Steps on floating addresses, services and scripts. One thread: the loop's.
#include <csignal>
#include <cstring>

#include "src/daemon/resource_runner.h"
#include "src/os/control_group.h"
#include "src/os/helper_process.h"

namespace baton {

using group::StepAction;

namespace {

int signal_number(const std::string& name) {
  for (int number = 1; number < NSIG; ++number) {
    const char* known = ::sigabbrev_np(number);
    if (known != nullptr && name == known) return number;
  }
  return SIGTERM;  // the configuration accepts known names only
}

}  // namespace

// ---- Address ----

Result<FloatingAddress*> ResourceRunner::address_of(const StepPointer& step) {
  auto& held = addresses_[step->key()];
  const auto& wanted = step->resource.address;
  const std::string text = fmt::format("{}/{}", wanted.address, wanted.prefix_length);
  if (held.address != nullptr && held.text == text) return held.address.get();
  const auto address = parse_interface_address(text);
  if (!address) return pass(address);
  const auto interface = find_interface_for(*address);
  if (!interface) return pass(interface);
  held.address = std::make_unique<FloatingAddress>(loop_, interface->name, *address);
  held.group = step->step.group;
  held.resource = step->step.resource;
  held.text = text;
  return held.address.get();
}

void ResourceRunner::run_address(const StepPointer& step) {
  const auto address = address_of(step);
  if (!address) {
    const bool nothing_to_do = step->step.action == StepAction::kKill || step->step.action == StepAction::kStop;
    return finish(step, nothing_to_do, address.error().message);
  }
  auto& held = addresses_[step->key()];
  switch (step->step.action) {
    case StepAction::kAdopt: {
      const auto presence = (*address)->presence();
      held.held = presence && presence->address;
      if (held.held) (*address)->acquire({}, [](const Status&) {});
      return finish(step, held.held, held.text);
    }
    case StepAction::kStart:
    case StepAction::kResume: return start_address(step);
    case StepAction::kStop:
    case StepAction::kKill:
    case StepAction::kSuspend: {
      held.held = false;
      const auto released = (*address)->release();
      return finish(step, released.has_value(), released ? "" : released.error().message);
    }
    default: return finish(step, true, "");
  }
}

void ResourceRunner::start_address(const StepPointer& step) {
  auto& held = addresses_[step->key()];
  std::vector<MacAddress> former;
  if (step->step.previous_owner != ServerId{}) former = find_macs_(step->step.previous_owner);
  held.address->acquire(std::move(former), [this, step](const Status& status) {
    auto& taken = addresses_[step->key()];
    if (present_step_[step->key()] == step->step.token) taken.held = status.has_value();
    finish(step, status.has_value(), status ? taken.text : status.error().message);
  });
}

void ResourceRunner::watch_addresses() {
  auto monitor = NetworkMonitor::open(loop_, [this] {
    // One look for all: with many addresses, each change is news to all of them.
    const auto assigned = list_addresses();
    if (!assigned) return;
    for (auto& [key, held] : addresses_) {
      if (!held.held || held.address->is_among(*assigned)) continue;
      held.held = false;
      on_failed_(held.group, held.resource, held.text + " was removed from its interface by somebody else");
    }
  });
  if (monitor) monitor_ = std::make_unique<NetworkMonitor>(std::move(*monitor));
}

void ResourceRunner::announce_addresses() {
  for (auto& [key, held] : addresses_)
    if (held.held) held.address->announce_again();
}

void ResourceRunner::look_for_addresses(const std::string& group) {
  for (auto& [key, held] : addresses_)
    if (held.group == group && !held.held && held.address != nullptr) held.address->look_ahead();
}

// ---- Service and script ----

std::vector<std::string> ResourceRunner::environment_of(const StepPointer& step) const {
  return event_environment(step->step, server_name_, step->resource.service.environment);
}

void ResourceRunner::run_script(const StepPointer& step) {
  const ScriptRunner::Step wanted{step->step, step->resource, server_name_, step->left()};
  scripts_.run(wanted, [this, step](bool ok, const std::string& detail) { finish(step, ok, detail); });
}

SupervisedService& ResourceRunner::service_of(const StepPointer& step) {
  auto& service = services_[step->key()];
  if (service == nullptr) {
    ShimPaths paths;
    paths.runtime_directory = paths_.run_directory;
    service = std::make_unique<SupervisedService>(
        loop_, paths_.shim_program, paths,
        [this, group = step->step.group, resource = step->step.resource](const ServiceEnd& end) {
          on_failed_(group, resource, end.text);
        });
  }
  return *service;
}

void ResourceRunner::run_service(const StepPointer& step) {
  auto& service = service_of(step);
  const auto ended = [this, step](const Status& status) {
    finish(step, status.has_value(), status ? "" : status.error().message);
  };
  switch (step->step.action) {
    case StepAction::kAdopt: {
      const auto path = service_group_path(step->key());
      if (!path) return finish(step, false, path.error().message);
      return service.adopt(step->key(), *path, [this, step](const Result<SupervisedService::State>& state) {
        const bool up = state && *state == SupervisedService::State::kRunning;
        finish(step, up, up ? "adopted" : state ? "not running" : state.error().message);
      });
    }
    case StepAction::kStart: return start_service(step);
    case StepAction::kStop: return service.stop(ended);
    case StepAction::kKill: return kill_service(step);
    default: return finish(step, true, "");
  }
}

void ResourceRunner::kill_service(const StepPointer& step) {
  const auto path = service_group_path(step->key());
  if (!path) return finish(step, false, path.error().message);
  // Not by the shim's leave: it may hang itself.
  (void)kill_control_group(*path).has_value();
  service_of(step).kill([this, step, path = *path](const Status& status) {
    if (status) return finish(step, true, "");
    clear_control_group(loop_, path, seconds(2), [this, step](const Status& cleared) {
      finish(step, cleared.has_value(), cleared ? "" : cleared.error().message);
    });
  });
}

void ResourceRunner::start_service(const StepPointer& step) {
  // Whatever is left of an earlier life goes first.
  service_of(step).kill([this, step](const Status& status) {
    if (!status) return finish(step, false, status.error().message);
    if (present_step_[step->key()] != step->step.token) return;
    const auto& service = step->resource.service;
    if (service.prepare.empty()) return launch_service(step, service_of(step));
    HelperRequest request{.purpose = fmt::format("preparing service {}", step->step.resource), .argv = service.prepare,
                          .deadline = step->left(), .user = "",  // root: it may have to hand directories to the service's user
                          .environment = environment_of(step)};
    run_helper(loop_, request, [this, step](const Result<HelperOutput>& output) {
      if (!output) return finish(step, false, output.error().message);
      if (present_step_[step->key()] == step->step.token) launch_service(step, service_of(step));
    });
  });
}

void ResourceRunner::launch_service(const StepPointer& step, SupervisedService& service) {
  const auto path = service_group_path(step->key());
  if (!path) return finish(step, false, path.error().message);
  const auto& wanted = step->resource.service;
  ServiceSpec spec;
  spec.name = step->key();
  spec.argv = wanted.command;
  spec.environment = environment_of(step);
  spec.user = wanted.user;
  spec.working_directory = wanted.directory;
  spec.control_group = *path;
  spec.log_file = paths_.log_directory + "/service-" + step->key() + ".log";
  spec.stop_signal = signal_number(wanted.stop_signal);
  spec.stop_timeout = step->resource.stop_timeout;
  ReadyCheck ready{.argv = wanted.ready, .user = wanted.user, .environment = spec.environment, .deadline = step->left()};
  service.start(spec, ready, [this, step](const Status& status) {
    finish(step, status.has_value(), status ? "" : status.error().message);
  });
}

}  // namespace baton
