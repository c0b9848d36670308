// Permits, answered writes and promotions, checked. Deterministic, one thread.
#include "sim/mirror_truth.h"

#include <algorithm>

#include "sim/world.h"

namespace baton::sim {

void MirrorTruth::committed(const database::Entry& entry, const ClusterState& before, const ClusterState& after) {
  if (const auto* assign = std::get_if<AssignGroup>(&entry.command)) return note_assignment(*assign, before, after);
  for (const auto& [key, mirror] : after.mirrors) {
    const auto old = before.mirrors.find(key);
    const Permit known = old == before.mirrors.end() ? Permit{} : old->second.permit;
    if (std::holds_alternative<RestoreDatabase>(entry.command) && mirror.permit > mirrors_[key].newest_used) continue;
    if (mirror.permit != known)
      throw Violation("permits", fmt::format("entry {} ({}) changes the permit of mirror {}", entry.index,
                                             describe(entry.command), key));
  }
}

void MirrorTruth::note_assignment(const AssignGroup& assign, const ClusterState& before, const ClusterState& after) {
  for (const auto& [key, version] : assign.mirror_versions) {
    const MirrorState& old = before.mirrors.at(key);
    const MirrorState& now = after.mirrors.at(key);
    const bool unused = assign.unused.contains(key) && mirrors_[key].acknowledged == 0;
    if (old.unknown && !unused)
      throw Violation("stale start", fmt::format("mirror {} was given to server {}, and nobody knows what its copy has", key, assign.server));
    if (now.permit.value != std::max(old.permit.value, after.permits_above) + 1 || now.holder != assign.server)
      throw Violation("permits", fmt::format("mirror {} was given to server {} with permit {} after {}", key, assign.server,
                                             now.permit, old.permit));
    const auto member = old.in_sync.find(assign.server);
    const auto reported = assign.reported.at(key).find(assign.server);
    const bool crashed = member != old.in_sync.end() && reported != assign.reported.at(key).end() &&
                         member->second != reported->second;
    // S5, by the record alone: every member of the set has said that it restarted.
    const bool all_crashed = std::all_of(old.in_sync.begin(), old.in_sync.end(), [&](const auto& each) {
      const auto report = assign.reported.at(key).find(each.first);
      return report != assign.reported.at(key).end() && report->second != each.second;
    });
    if (!old.in_sync.empty() && old.forced != assign.server && member == old.in_sync.end())
      throw Violation("stale start", fmt::format("mirror {} was given to server {}, which is not in its set", key,
                                                 assign.server));
    mirrors_[key].grants[now.permit] = assign.server;
    mirrors_[key].set_crashed = mirrors_[key].set_crashed || (crashed && all_crashed);
  }
}

void MirrorTruth::everybody_lost_power() {
  for (auto& [key, mirror] : mirrors_) mirror.set_crashed = true;
}

void MirrorTruth::accept_loss(const std::string& key, uint64_t written, uint64_t flushed) {
  Mirror& mirror = mirrors_[key];
  mirror.acknowledged = std::min(mirror.acknowledged, written);
  mirror.flushed = std::min(mirror.flushed, flushed);
}

uint64_t MirrorTruth::acknowledge(const std::string& key, ServerId server, Permit permit, bool flush) {
  Mirror& mirror = mirrors_[key];
  const auto grant = mirror.grants.find(permit);
  if (grant == mirror.grants.end() || grant->second != server)
    throw Violation("permits", fmt::format("server {} answers a write of mirror {} under permit {}, which it was never given",
                                           server, key, permit));
  // SAFETY: I1. Who has answered under a newer permit has taken over: nobody goes on under an older one.
  if (permit < mirror.newest_used)
    throw Violation("one owner", fmt::format("server {} answers a write of mirror {} under permit {} after one under {}",
                                             server, key, permit, mirror.newest_used));
  mirror.newest_used = permit;
  mirror.acknowledged = next_write_++;
  if (flush) mirror.flushed = mirror.acknowledged;
  return mirror.acknowledged;
}

bool MirrorTruth::overtaken(const std::string& key, Permit permit) const {
  const auto mirror = mirrors_.find(key);
  return mirror != mirrors_.end() && !mirror->second.grants.empty() && mirror->second.grants.rbegin()->first > permit;
}

bool MirrorTruth::promoted(const std::string& key, ServerId server, Permit permit, uint64_t holds) {
  Mirror& mirror = mirrors_[key];
  const auto grant = mirror.grants.find(permit);
  if (grant == mirror.grants.end() || grant->second != server)
    throw Violation("permits", fmt::format("server {} exports mirror {} under permit {}, which it was never given", server, key,
                                           permit));
  ++promotions_;
  if (holds < mirror.flushed)
    throw Violation("stale start", fmt::format("server {} exports mirror {} with writes up to {}, but {} were flushed", server,
                                               key, holds, mirror.flushed));
  const bool set_crashed = std::exchange(mirror.set_crashed, false);
  if (holds >= mirror.acknowledged) return set_crashed;
  if (!set_crashed)
    throw Violation("stale start", fmt::format("server {} exports mirror {} with writes up to {}, but {} were answered, and "
                                               "its set did not crash as a whole", server, key, holds, mirror.acknowledged));
  ++set_crashes_;
  mirror.acknowledged = holds;  // a power loss of everybody may take what no flush covered
  return true;
}

}  // namespace baton::sim
