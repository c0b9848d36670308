// The orderly end of Baton on this server: its groups are down already; mirror daemons, corosync, the guard, batond, then the
// machine if that was asked for. Each step has its time. One thread: the loop's. docs/operations.md, "Shutting down".
#include <spdlog/spdlog.h>

#include <fstream>

#include "src/daemon/daemon.h"

namespace baton {

namespace {
constexpr Duration kMirrorsEnd = 5s;
constexpr Duration kEngineEnds = 5s;
constexpr Duration kLeaseEnds = 5s;
constexpr Duration kGuardLooks = 300ms;  // after the lease's end: that nothing is left
constexpr Duration kGuardEnds = 3s;
constexpr Duration kLookAgain = 50ms;
constexpr Duration kPowerCommandLimit = 60s;
}  // namespace

void Daemon::end_server(const node::EndServer& end) {
  if (ending_) return;
  ending_ = end;
  spdlog::info("Baton ends on this server: {}", end.reason);
  // Whoever restarts batond by himself (the practice cluster does) leaves it alone until the next boot.
  std::ofstream(paths_.run_directory + "/stopped") << end.reason << "\n";
  if (!end.leftovers.empty()) spdlog::warn("something of {} could not be ended", end.leftovers);
  for (auto& [key, client] : mirrors_) client->stop();
  end_mirrors(EventLoop::now() + kMirrorsEnd);
}

void Daemon::end_mirrors(Instant limit) {
  std::string left;
  for (const auto& [key, client] : mirrors_)
    if (!client->stopped()) left += (left.empty() ? "" : ", ") + key;
  if (!left.empty() && EventLoop::now() < limit) {
    end_timer_ = loop_.after(kLookAgain, [this, limit] { end_mirrors(limit); });
    return;
  }
  if (!left.empty()) spdlog::warn("mirrors {} have not ended in order", left);
  end_engine();
}

void Daemon::end_engine() {
  engine_->stop(kEngineEnds, [this](const Status& stopped) {
    if (!stopped) spdlog::warn("corosync did not end in order: {}", stopped.error().message);
    end_guard(EventLoop::now() + kLeaseEnds);
  });
}

/// SAFETY: without corosync it renews nothing. When its lease is over and it has seen that nothing is left here, it
/// switches the watchdog off as it ends; before that it would leave the device running, and the machine would be reset.
void Daemon::end_guard(Instant limit) {
  const Instant now = EventLoop::now();
  if (now < lease_page_->deadline() + kGuardLooks && now < limit) {
    end_timer_ = loop_.after(kLookAgain, [this, limit] { end_guard(limit); });
    return;
  }
  guard_->end(kGuardEnds, [this](const std::string& why_not) {
    if (!why_not.empty()) spdlog::warn("baton-guard did not end in order: {}", why_not);
    run_power_command();
  });
}

void Daemon::run_power_command() {
  const auto& configuration = node_->configuration();
  ChildOptions options;
  if (ending_->afterwards == Afterwards::kReboot) options.argv = configuration.reboot_command;
  if (ending_->afterwards == Afterwards::kPowerOff) options.argv = configuration.power_off_command;
  if (options.argv.empty()) return loop_.stop();
  spdlog::info("{}: {}", to_string(ending_->afterwards), options.argv.front());
  options.deadline = kPowerCommandLimit;
  auto child = ChildProcess::spawn(loop_, options, [this](const ChildEnd& end) {
    if (!end.exited || end.status != 0)
      spdlog::error("{} {}: Baton has ended, the machine goes on", to_string(ending_->afterwards), describe(end));
    loop_.stop();
  });
  if (!child) {
    spdlog::error("{}: {}: Baton has ended, the machine goes on", to_string(ending_->afterwards), child.error().message);
    return loop_.stop();
  }
  power_command_ = std::move(*child);
}

}  // namespace baton
