// batond and its guard: what comes from it, and what it is to do when the lease ends. One thread: the loop's.
#include <spdlog/spdlog.h>

#include <algorithm>

#include "src/daemon/daemon.h"
#include "src/os/control_group.h"

namespace baton {

void Daemon::start_guard() {
  GuardClientSettings settings;
  settings.program = paths_.program_directory + "/baton-guard";
  settings.run_directory = paths_.run_directory;
  settings.guard = {self_, present_.voters(), founding_.timing.lease, founding_.timing.beat};
  guard_ = std::make_unique<GuardClient>(
      loop_, settings,
      GuardClient::Callbacks{[this](const guard::ReportMessage& message) {
                               if (guard_problem_ != message.problem && !message.problem.empty())
                                 write_note({.kind = "problem", .text = "baton-guard: " + message.problem});
                               guard_problem_ = message.problem;
                               feed(node::GuardReported{message.report});
                             },
                             [this](const std::string& how) {
                               write_note({.kind = "problem",
                                           .text = fmt::format("baton-guard {}: another one is started", how)});
                               feed(node::GuardGone{});
                             }});
  tell_duties();
  guard_->start();
}

/// What may be up on this server by its configuration: the guard drops and ends it without asking anybody.
void Daemon::tell_duties() {
  // SAFETY: until the log has been applied the configuration is the founding one; the guard keeps what it was told before.
  if (guard_ == nullptr || node_->state().configuration_version == 0) return;
  guard::Duties duties;
  const Configuration& configuration = node_->configuration();
  for (const auto& group : configuration.groups) {
    if (std::find(group.servers.begin(), group.servers.end(), self_) == group.servers.end()) continue;
    for (const auto& resource : group.resources) {
      if (resource.kind == ResourceKind::kAddress) duties.addresses.push_back(resource.address.address);
      if (!runs_programs(resource.kind)) continue;
      const auto path = service_group_path(mirror_key(group.name, resource.name));
      if (path) {
        duties.control_groups.push_back(*path);
      } else {
        spdlog::warn("{}", path.error().message);
      }
    }
  }
  if (const auto* server = configuration.server(self_)) duties.watchdog = server->watchdog;
  guard_->set_duties(duties);
}

}  // namespace baton
