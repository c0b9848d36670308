// The sums of failover_time.h.
#include "src/model/failover_time.h"

#include <fmt/format.h>

#include <algorithm>

namespace baton {
namespace {

constexpr size_t kRememberedStarts = 9;

/// Where nothing has been measured yet. Of a service with a `ready` command nothing can be known.
milliseconds assumed_start(const ResourceConfiguration& resource) {
  switch (resource.kind) {
    case ResourceKind::kMirror: return 30ms;
    case ResourceKind::kFilesystem: return 60ms;
    case ResourceKind::kAddress: return 40ms;
    case ResourceKind::kService: return resource.service.ready.empty() && resource.service.prepare.empty() ? 20ms : 1000ms;
    case ResourceKind::kScript: return 1000ms;
  }
  return 0ms;
}

FailoverPart detection_part(const Configuration& configuration) {
  const TimingProfile& timing = configuration.timing;
  FailoverPart part{.name = "detection"};
  part.expected = timing.token + timing.consensus;
  part.worst = configuration.longest_detection();
  part.text = fmt::format("token {} ms + consensus {} ms", timing.token.count(), timing.consensus.count());
  return part;
}

/// The last grant to the lost server was made at its last beat, at most one `beat` before it fell silent.
FailoverPart lease_part(const TimingProfile& timing, const FailoverPart& detection) {
  const milliseconds with_drift = timing.lease + timing.lease / 100;
  FailoverPart part{.name = "lease"};
  part.expected = std::max(0ms, with_drift - timing.beat / 2 - detection.expected);
  part.worst = std::max(0ms, with_drift - detection.worst);
  part.text = fmt::format("what remains of {} ms + 1% after detection", timing.lease.count());
  return part;
}

FailoverPart decision_part(const FailoverAssumptions& assumptions) {
  FailoverPart part{.name = "decision"};
  part.expected = assumptions.decision_expected;
  part.worst = assumptions.decision_worst;
  part.text = "new epoch and assignment on a majority's disks";
  return part;
}

FailoverPart start_part(const ResourceConfiguration& resource, const FailoverAssumptions& assumptions) {
  FailoverPart part{.name = resource.name, .kind = to_string(resource.kind)};
  const auto usual = assumptions.usual_starts.find(resource.name);
  part.measured = usual != assumptions.usual_starts.end();
  part.worst = resource.start_timeout;
  part.expected = std::min(part.measured ? usual->second : assumed_start(resource), part.worst);
  part.text = part.measured ? "median of past starts" : "assumed: never started yet";
  return part;
}

/// The longest way through the resources, which stand in start order: each starts when the last of those it stands on is up.
/// Returns its length and says who is on it.
milliseconds longest_path(const GroupConfiguration& group, const std::vector<FailoverPart>& parts,
                          milliseconds FailoverPart::*time, std::vector<bool>& on_path) {
  std::map<std::string, size_t> place;
  std::vector<milliseconds> end(parts.size(), 0ms);
  std::vector<size_t> waits_for(parts.size(), parts.size());
  size_t last = parts.size();
  for (size_t number = 0; number < parts.size(); ++number) {
    milliseconds begin = 0ms;
    for (const auto& name : group.resources[number].after) {
      const auto found = place.find(name);
      if (found == place.end() || (waits_for[number] < parts.size() && end[found->second] <= begin)) continue;
      begin = end[found->second];
      waits_for[number] = found->second;
    }
    end[number] = begin + parts[number].*time;
    place[parts[number].name] = number;
    if (last == parts.size() || end[number] > end[last]) last = number;
  }
  on_path.assign(parts.size(), false);
  if (parts.empty()) return 0ms;
  for (size_t at = last; at < parts.size(); at = waits_for[at]) on_path[at] = true;
  return end[last];
}

}  // namespace

FailoverTime failover_time(const Configuration& configuration, const GroupConfiguration& group,
                           const FailoverAssumptions& assumptions) {
  FailoverTime time;
  const FailoverPart detection = detection_part(configuration);
  time.parts = {detection, lease_part(configuration.timing, detection), decision_part(assumptions)};
  for (const auto& part : time.parts) {
    time.expected += part.expected;
    time.worst += part.worst;
  }
  std::vector<FailoverPart> starts;
  for (const auto& resource : group.resources) starts.push_back(start_part(resource, assumptions));
  std::vector<bool> expected, worst;
  time.expected += longest_path(group, starts, &FailoverPart::expected, expected);
  time.worst += longest_path(group, starts, &FailoverPart::worst, worst);
  for (size_t number = 0; number < starts.size(); ++number) {
    starts[number].in_expected = expected[number];
    starts[number].in_worst = worst[number];
    time.parts.push_back(std::move(starts[number]));
  }
  return time;
}

void UsualStarts::add(const std::string& group, const std::string& resource, milliseconds took) {
  auto& latest = latest_[group][resource];
  latest.push_back(took);
  if (latest.size() > kRememberedStarts) latest.erase(latest.begin());
}

std::map<std::string, milliseconds> UsualStarts::of(const std::string& group) const {
  std::map<std::string, milliseconds> medians;
  const auto found = latest_.find(group);
  if (found == latest_.end()) return medians;
  for (const auto& [resource, latest] : found->second) {
    auto sorted = latest;
    std::sort(sorted.begin(), sorted.end());
    medians[resource] = sorted[sorted.size() / 2];
  }
  return medians;
}

}  // namespace baton
