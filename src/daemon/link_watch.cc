// See link_watch.h.
#include "src/daemon/link_watch.h"

#include <algorithm>

namespace baton {
namespace {

constexpr Duration kLossWindow = 30s;
constexpr Duration kFlapWindow = 300s;
constexpr uint64_t kFewestPings = 5;
/// The answer to the newest ping is on its way.
constexpr uint64_t kOnTheirWay = 1;

std::optional<uint32_t> loss(const LinkCounters& before, const LinkCounters& now) {
  const uint64_t sent = now.pings - before.pings;
  if (sent < kFewestPings) return std::nullopt;
  const uint64_t answered = now.pongs - before.pongs;
  const uint64_t lost = sent > answered + kOnTheirWay ? sent - answered : 0;
  return static_cast<uint32_t>(std::min<uint64_t>(1000, lost * 1000 / sent));
}

/// Corosync was started anew in between.
bool began_anew(const LinkCounters& before, const LinkCounters& now) {
  return now.pings < before.pings || now.pongs < before.pongs || now.downs < before.downs;
}

}  // namespace

void LinkWatch::take(Instant now, const std::vector<LinkStatus>& links) {
  std::map<std::pair<ServerId, uint32_t>, History> kept;
  reports_.clear();
  for (const auto& link : links) {
    auto& history = kept[{link.peer, link.link}] = std::move(histories_[{link.peer, link.link}]);
    reports_.push_back(judge(now, link, history));
  }
  histories_ = std::move(kept);
}

LinkReport LinkWatch::judge(Instant now, const LinkStatus& link, History& history) const {
  auto& readings = history.readings;
  if (!readings.empty() && began_anew(readings.back().counters, link.counters)) readings.clear();
  if (!readings.empty()) {
    // A link that has been down for a while and goes down no more is cut; one that went down now counts once.
    const uint32_t risen = link.counters.downs - readings.back().counters.downs;
    for (uint32_t down = 0; down < std::min<uint32_t>(risen, 100); ++down) history.downs.push_back(now);
  }
  readings.push_back({now, link.counters});
  while (readings.size() > 1 && readings[1].when + kLossWindow <= now) readings.pop_front();
  while (!history.downs.empty() && history.downs.front() + kFlapWindow < now) history.downs.pop_front();
  LinkReport report{.peer = link.peer, .link = link.link, .connected = link.connected};
  report.loss_per_mille = loss(readings.front().counters, link.counters);
  report.round_trip_us = link.counters.latency_us;
  report.round_trip_worst_us = link.counters.latency_worst_us;
  report.downs = link.counters.downs;
  report.downs_recent = static_cast<uint32_t>(history.downs.size());
  report.send_errors = link.counters.send_errors;
  return report;
}

}  // namespace baton
