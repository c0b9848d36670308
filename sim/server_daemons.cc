// Stand-ins for what batond steers on a server: steps of groups that take time, and mirror daemons as far as
// promotion, permits and in-sync sets are concerned (no data: that is sim/mirror_*). docs/protocol.md,
// "Permits", "In-sync set".
#include <algorithm>

#include "sim/server.h"

namespace baton::sim {

namespace {
constexpr Duration kWatchInterval = 60ms;
constexpr Duration kCopyTime = 400ms;
}  // namespace

bool Server::is_up(const std::string& resource) const {
  const auto mirror = mirrors_.find(resource);
  if (mirror != mirrors_.end()) return mirror->second.up;
  const auto other = resources_.find(resource);
  return other != resources_.end() && other->second;
}

bool Server::anything_up(const std::string& group) const {
  for (const auto& resource : settings_.configuration.group(group)->resources)
    if (is_up(mirror_key(group, resource.name))) return true;
  return false;
}

void Server::run_step(const node::RunStep& step) {
  world_.say(fmt::format("server {}", id_), "{} {}.{}", group::to_string(step.action), step.group,
             step.resource);
  Duration takes = random_.between(2ms, 40ms);
  if (random_.chance(0.05)) takes = random_.between(40ms, 900ms);
  // A kill makes an end of what is under way with the resource: nothing of that has an effect later.
  const std::string key = mirror_key(step.group, step.resource);
  if (step.action == group::StepAction::kKill) ++kills_[key];
  newest_step_[key] = step.token;
  world_.after(takes, [this, step, boot = boot_, start = start_, kills = kills_[key]] {
    if (boot_ == boot) finish_step(step, start, kills);
  });
}

/// An address is taken and dropped by batond itself (src/os/floating_address): its step ends with batond, and with the
/// next one, which overtakes it.
bool Server::given_up(const node::RunStep& step, uint64_t start) const {
  const std::string key = mirror_key(step.group, step.resource);
  return !mirrors_.contains(key) && (start_ != start || newest_step_.at(key) != step.token);
}

/// What a step asks of a mirror daemon goes on when batond has ended meanwhile; only nobody hears of it.
void Server::finish_step(const node::RunStep& step, uint64_t start, uint64_t kills) {
  if (machine_paused_) {
    world_.after(50ms, [this, step, boot = boot_, start, kills] {
      if (boot_ == boot) finish_step(step, start, kills);
    });
    return;
  }
  if (given_up(step, start)) return;
  const std::string key = mirror_key(step.group, step.resource);
  bool ok = true;
  if (kills_[key] != kills) {
    ok = false;
  } else if (mirrors_.contains(key)) {
    ok = step_mirror(step, mirrors_.at(key));
    report_mirror(key);
  } else if (step.action == group::StepAction::kAdopt) {
    ok = resources_[key];
  } else {
    resources_[key] = step.action == group::StepAction::kStart || step.action == group::StepAction::kResume;
  }
  world_.mark('x', id_, static_cast<int>(step.action), ok);
  observer_.stepped(*this);
  if (start_ == start && node_ != nullptr) feed(node::StepDone{step.token, ok, ok ? "" : "refused"});
}

bool Server::step_mirror(const node::RunStep& step, MirrorStandIn& mirror) {
  switch (step.action) {
    case group::StepAction::kAdopt:
      return mirror.up;
    case group::StepAction::kStart:
      // SAFETY: P2, P3. A daemon that knows of a newer permit does not open.
      if (step.permit < mirror.newest) return false;
      mirror.permit = mirror.newest = step.permit;
      mirror.up = true;
      return true;
    case group::StepAction::kStop:
    case group::StepAction::kKill:
      mirror.up = false;
      return true;
    case group::StepAction::kSuspend:
    case group::StepAction::kResume:
      return true;
  }
  return false;
}

/// batond hands the committed records on; they arrive a little later.
void Server::tell_mirrors() {
  for (const auto& [key, mirror] : mirrors_) {
    const auto state = node_->state().mirrors.find(key);
    if (state == node_->state().mirrors.end() || state->second.permit <= mirror.newest) continue;
    world_.after(random_.between(50us, 3ms), [this, key = key, told = state->second, boot = boot_] {
      if (boot_ != boot || machine_paused_) return;
      MirrorStandIn& here = mirrors_.at(key);
      here.newest = std::max(here.newest, told.permit);
      if (!here.up || here.permit >= here.newest) return;
      here.up = false;  // P3
      world_.say(fmt::format("server {}", id_), "mirror {}: fenced by permit {}", key, here.newest);
      const size_t dot = key.find('.');
      feed(node::ResourceFailed{key.substr(0, dot), key.substr(dot + 1),
                                "the export was aborted: newer permit"});
      report_mirror(key);
    });
  }
}

void Server::report_mirror(const std::string& key) {
  const MirrorStandIn& mirror = mirrors_.at(key);
  MirrorReport report;
  report.role = mirror.up ? MirrorRole::kPrimary : MirrorRole::kSecondary;
  report.exported = mirror.up;
  report.incarnation = mirror.incarnation;
  report.permit = mirror.newest;
  feed(node::MirrorReported{key, report});
}

void Server::mirror_tick(uint64_t boot) {
  if (mirrors_.empty()) return;
  world_.after(random_.between(kWatchInterval, 2 * kWatchInterval), [this, boot] {
    if (boot_ != boot) return;
    if (node_ != nullptr && !machine_paused_)
      for (auto& [key, mirror] : mirrors_) watch_mirror(key, mirror);
    mirror_tick(boot);
  });
}

/// A primary's view of its peer: out of the set when it is not reached, in again when it holds everything.
void Server::watch_mirror(const std::string& key, MirrorStandIn& mirror) {
  const auto found = node_->state().mirrors.find(key);
  if (!mirror.up || found == node_->state().mirrors.end()) return;
  const MirrorState& state = found->second;
  if (state.holder != id_ || state.permit != mirror.permit) return;
  const Server* peer = observer_.mirror_peer(*this, key);
  SetInSync change{key, state.version, state.permit, {{id_, mirror.incarnation}}, "peer lost"};
  const auto member = std::find_if(state.in_sync.begin(), state.in_sync.end(),
                                   [&](const auto& each) { return each.first != id_; });
  if (peer == nullptr) {
    mirror.peer_back_since = kNever;
    if (member != state.in_sync.end()) feed(node::MirrorProposed{change});
    return;
  }
  const Incarnation incarnation = peer->mirrors_.at(key).incarnation;
  if (member != state.in_sync.end()) {
    if (member->second != incarnation) feed(node::MirrorProposed{change});
    return;
  }
  if (mirror.peer_back_since == kNever) mirror.peer_back_since = world_.now();
  if (world_.now() < mirror.peer_back_since + kCopyTime) return;
  change.in_sync[peer->id_] = incarnation;
  change.reason = "copied";
  feed(node::MirrorProposed{change});
}

}  // namespace baton::sim
