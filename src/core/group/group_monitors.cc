// The monitors of a group that runs here: they rest while what they find could not count. Pure. See group_run.h, monitor_run.h.
#include <algorithm>

#include "src/base/planted.h"
#include "src/core/group/group_run.h"

namespace baton::group {

/// Not while it starts or stops, in maintenance, or while the storage stands still because the lease has lapsed; nor before the
/// addresses by which it may be asked are taken again.
bool GroupRun::is_watched(const std::string& resource) const {
  if (goal_ != Goal::kRun || !supervised_ || suspended_ || state(resource) != ResourceState::kUp) return false;
  if (planted(Plant::kMonitorsRest)) return false;
  const bool addressed = std::all_of(configuration_.resources.begin(), configuration_.resources.end(), [&](const auto& other) {
    return other.kind != ResourceKind::kAddress || state(other.name) == ResourceState::kUp;
  });
  if (!addressed) return false;
  return std::none_of(tokens_.begin(), tokens_.end(), [](const auto& step) { return step.second.action == StepAction::kResume; });
}

void GroupRun::set_monitors(const std::vector<MonitorConfiguration>& monitors) {
  std::vector<MonitorRun> kept;
  for (const auto& monitor : monitors) {
    if (!views_.contains(monitor.of)) continue;  // of a service that comes with the group's next start
    const auto same = std::find_if(monitors_.begin(), monitors_.end(), [&](const auto& run) { return run.configuration() == monitor; });
    kept.push_back(same != monitors_.end() ? std::exchange(*same, MonitorRun(monitor)) : MonitorRun(monitor));
  }
  for (auto& gone : monitors_) {
    gone.rest();
    take_dropped(gone);
  }
  monitors_ = std::move(kept);
}

void GroupRun::take_dropped(MonitorRun& monitor) {
  for (const uint64_t token : monitor.take_dropped()) dropped_checks_.push_back(token);
}

void GroupRun::watch_monitors(Instant now) {
  for (auto& monitor : monitors_) {
    if (is_watched(monitor.configuration().of)) {
      monitor.watch(now);
    } else {
      monitor.rest();
    }
    monitor.tick(now);
    take_dropped(monitor);
    if (monitor.begin_if_due(now, *next_token_)) checks_.push_back({(*next_token_)++, monitor.configuration(), monitor.position()});
  }
}

bool GroupRun::check_done(Instant now, uint64_t token, Verdict verdict, const std::string& detail, const std::string& position) {
  const auto monitor = std::find_if(monitors_.begin(), monitors_.end(), [&](const auto& run) { return run.has(token); });
  if (monitor == monitors_.end()) return false;
  if (!is_watched(monitor->configuration().of) || !monitor->done(now, verdict, detail, position)) return true;
  resource_failed(now, monitor->configuration().of, monitor->why_failed(), true);
  return true;
}

Instant GroupRun::next_check() const {
  Instant next = kNever;
  for (const auto& monitor : monitors_) next = std::min(next, monitor.next_tick());
  return next;
}

std::vector<MonitorNews> GroupRun::take_news() {
  std::vector<MonitorNews> news = std::exchange(program_news_, {});
  for (auto& monitor : monitors_)
    if (auto one = monitor.take_news(); !one.text.empty()) news.push_back(std::move(one));
  return news;
}

std::vector<CheckRequest> GroupRun::take_checks() { return std::exchange(checks_, {}); }
std::vector<uint64_t> GroupRun::take_dropped_checks() { return std::exchange(dropped_checks_, {}); }

}  // namespace baton::group
