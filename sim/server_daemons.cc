// Stand-ins for what batond steers on a server: steps of groups that take time, fail or hang, and resources that fail.
// Mirror daemons' stand-ins are in sim/server_mirrors.cc. Deterministic, one thread.
#include <algorithm>

#include "sim/real_mirror.h"
#include "sim/server.h"

namespace baton::sim {

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

void Server::run_check(const node::RunCheck& check) {
  checks_.insert(check.token);
  world_.after(random_.between(1ms, 50ms), while_batond([this, check] { answer_check(check); }));
}

/// While there are faults one in fifty finds something, or could not be made: bad ones in a row are rare, and come.
void Server::answer_check(const node::RunCheck& check) {
  if (checks_.erase(check.token) == 0) return;  // ended by the node
  const auto sick = sick_.find(check.group);
  node::CheckDone done{check.token, group::Verdict::kGood, "scripted"};
  if (sick != sick_.end() && sick->second == Sickness::kDoesNoWork) done.verdict = group::Verdict::kBad;
  else if (sick != sick_.end() && sick->second == Sickness::kNotChecked) done.verdict = group::Verdict::kUnknown;
  else if (crashing_ && random_.chance(0.02)) done.verdict = random_.chance(0.3) ? group::Verdict::kUnknown : group::Verdict::kBad;
  uint32_t& bad = bad_checks_[mirror_key(check.group, check.monitor.name)];
  bad = done.verdict == group::Verdict::kBad ? bad + 1 : 0;
  feed(done);
}

/// Only bad checks in a row are a failure; one that could not be made is none.
void Server::watch_monitors(const node::Note& note) {
  const group::GroupRun* run = node_->run(note.group);
  if (run == nullptr) return;
  for (const auto& monitor : run->monitors()) {
    const auto& configured = monitor.configuration();
    if (!note.text.starts_with(fmt::format("{} failed: monitor {}:", configured.of, configured.name))) continue;
    ++found_failed_;
    world_.count("monitor found a failure");
    const uint32_t bad = bad_checks_[mirror_key(note.group, configured.name)];
    if (bad >= configured.failures) continue;
    throw Violation("monitor", fmt::format("server {}: {} of {} counts as failed after {} bad checks in a row, {} are needed", id_,
                                           configured.of, note.group, bad, configured.failures));
  }
}

void Server::run_step(const node::RunStep& step) {
  world_.say(id_, "{} {}.{}", group::to_string(step.action), step.group,
             step.resource);
  Duration takes = random_.between(2ms, 40ms);
  if (random_.chance(0.05)) takes = random_.between(40ms, 900ms);
  // A kill makes an end of what is under way with the resource: nothing of that has an effect later.
  const std::string key = mirror_key(step.group, step.resource);
  if (step.action == group::StepAction::kKill) ++kills_[key];
  newest_step_[key] = step.token;
  if (mirrors_.contains(key) && node_->state().mirrors.contains(key)) mirror_told(key, node_->state().mirrors.at(key));
  world_.after(takes, [this, step, boot = boot_, start = start_, kills = kills_[key]] {
    if (boot_ == boot) finish_step(step, start, kills);
  });
}

/// An address is taken and dropped by batond itself (src/os/floating_address), a filesystem by its helper (B1): such a step
/// ends with batond, and with the next one, which overtakes it. Mirror daemons and shims live on; but a shim does one thing after
/// the other: what a former batond asked it to end does not end what the present one has started since.
bool Server::given_up(const node::RunStep& step, uint64_t start) const {
  const auto* resource = settings_.configuration.group(step.group)->find(step.resource);
  const bool overtaken = newest_step_.at(mirror_key(step.group, step.resource)) != step.token;
  const bool ends_it = step.action == group::StepAction::kStop || step.action == group::StepAction::kKill;
  switch (resource->kind) {
    case ResourceKind::kMirror: return false;
    case ResourceKind::kService: return ends_it && start_ != start && overtaken;
    default: return start_ != start || overtaken;
  }
}

bool Server::hangs(const node::RunStep& step) const {
  const auto found = sick_.find(step.group);
  if (found == sick_.end()) return false;
  switch (found->second) {
    case Sickness::kStartHangs: return step.action == group::StepAction::kStart;
    case Sickness::kStopHangs: return step.action == group::StepAction::kStop;
    case Sickness::kEverythingHangs: return true;
    default: return false;
  }
}

void Server::fail_resource(const std::string& group, const std::string& resource) {
  const std::string key = mirror_key(group, resource);
  if (machine_paused_ || !is_up(key)) return;
  world_.mark('f', id_);
  world_.say(id_, "{} fails", key);
  ownership_changed_ = true;
  const auto mirror = mirrors_.find(key);
  if (RealMirror* real = mirror == mirrors_.end() ? nullptr : observer_.real_mirror(key)) {
    mirror->second.known = MirrorState{};
    mirror->second.told = 0;
    real->daemon_dies(id_);
    if (node_ != nullptr) tell_mirrors();
  } else if (mirror != mirrors_.end()) {  // its daemon ends, and is back with another incarnation
    ++mirror->second.incarnation.value;
    mirror->second.newest = mirror->second.permit;
    mirror->second.up = false;
    mirror->second.known = MirrorState{};
    mirror->second.told = 0;
    mirror->second.candidate = Incarnation{};
    report_mirror(key);
    if (node_ != nullptr) tell_mirrors();
  } else {
    resources_[key] = false;
  }
  feed(node::ResourceFailed{group, resource, "it ended"});
}

/// What a step asks of a mirror daemon goes on when batond has ended meanwhile; only nobody hears of it.
void Server::finish_step(const node::RunStep& step, uint64_t start, uint64_t kills) {
  if (machine_paused_ || hangs(step)) {
    world_.after(50ms, [this, step, boot = boot_, start, kills] {
      if (boot_ == boot) finish_step(step, start, kills);
    });
    return;
  }
  if (given_up(step, start)) return;
  const std::string key = mirror_key(step.group, step.resource);
  bool ok = true;
  const auto sick = sick_.find(step.group);
  const bool fails = step.action == group::StepAction::kStart && sick != sick_.end() && sick->second == Sickness::kStartFails;
  if (kills_[key] != kills || (fails && random_.chance(0.5))) {
    ok = false;
  } else if (RealMirror* real = mirrors_.contains(key) ? observer_.real_mirror(key) : nullptr) {
    return step_real_mirror(step, *real, start);
  } else if (mirrors_.contains(key)) {
    ok = step_mirror(step, mirrors_.at(key));
    report_mirror(key);
  } else if (step.action == group::StepAction::kAdopt) {
    ok = resources_[key];
  } else if (step.action != group::StepAction::kRunOnce && step.action != group::StepAction::kRestartProgram) {
    resources_[key] = step.action == group::StepAction::kStart || step.action == group::StepAction::kResume;
  }
  step_ended(step, start, ok && !fails);  // perhaps it is half up
}

void Server::step_ended(const node::RunStep& step, uint64_t start, bool ok) {
  ownership_changed_ = true;
  world_.mark('x', id_, static_cast<int>(step.action), ok);
  observer_.stepped(*this);
  if (start_ == start && node_ != nullptr) feed(node::StepDone{step.token, ok, ok ? "" : "refused"});
}

}  // namespace baton::sim
