// The mirror daemons' stand-ins of a server: promotion, permits, in-sync sets, and writes as numbers (sim/mirror_truth.h).
// Everything that a stand-in knows of the committed record it was told by its batond. docs/protocol.md, "Permits", "In-sync
// set".
#include <algorithm>

#include "sim/mirror_truth.h"
#include "sim/real_mirror.h"
#include "sim/server.h"

namespace baton::sim {

namespace {
constexpr Duration kWatchInterval = 60ms;
constexpr Duration kCopyTime = 400ms;
}  // namespace

/// batond hands the committed records on; they arrive a little later, in order.
void Server::tell_mirrors() {
  for (auto& [key, mirror] : mirrors_) {
    const auto state = node_->state().mirrors.find(key);
    if (state == node_->state().mirrors.end()) continue;
    if (state->second.version <= std::max(mirror.told, mirror.known.version)) continue;
    mirror.told = state->second.version;
    tell_later(key, state->second, random_.between(50us, 3ms));
  }
}

void Server::tell_later(const std::string& key, const MirrorState& told, Duration delay) {
  world_.after(delay, [this, key, told, boot = boot_] {
    if (boot_ != boot) return;
    if (machine_paused_) return tell_later(key, told, 20ms);
    mirror_told(key, told);
  });
}

void Server::mirror_told(const std::string& key, const MirrorState& told) {
  MirrorStandIn& here = mirrors_.at(key);
  if (told.version <= here.known.version) return;
  here.known = told;
  if (RealMirror* real = observer_.real_mirror(key)) return real->told(id_, told);
  // S3: the readmission, or what overtook it, is decided.
  if (told.version > here.candidate_version) here.candidate = Incarnation{};
  fence(key, told.permit);
}

/// P2, P3: a copy that learns of a newer permit serves no more under its own.
void Server::fence(const std::string& key, Permit permit) {
  MirrorStandIn& here = mirrors_.at(key);
  const bool blank = here.newest == Permit{};
  here.newest = std::max(here.newest, permit);
  if (blank && permit != Permit{}) report_mirror(key);  // it is not any more
  if (!here.up || here.permit >= here.newest) return;
  here.up = false;
  ownership_changed_ = true;
  world_.say(id_, "mirror {}: fenced by permit {}", key, here.newest);
  const size_t dot = key.find('.');
  feed(node::ResourceFailed{key.substr(0, dot), key.substr(dot + 1), "the export was aborted: newer permit"});
  report_mirror(key);
}

bool Server::step_mirror(const node::RunStep& step, MirrorStandIn& mirror) {
  const std::string key = mirror_key(step.group, step.resource);
  switch (step.action) {
    case group::StepAction::kAdopt:
      return mirror.up;
    case group::StepAction::kStart: {
      if (mirror.up) return mirror.permit == step.permit;
      // SAFETY: P1-P3, S4. As RoleChange::refusal has it.
      if (mirror.known.permit != step.permit || mirror.known.holder != id_ || step.permit < mirror.newest ||
          step.permit <= mirror.permit)
        return false;
      const auto me = mirror.known.in_sync.find(id_);
      if (me == mirror.known.in_sync.end() || me->second != mirror.incarnation) return false;
      mirror.permit = mirror.newest = step.permit;
      mirror.up = true;
      mirror.candidate = Incarnation{};
      mirror.peer_back_since = kNever;
      if (!observer_.truth().overtaken(key, mirror.permit)) observer_.truth().promoted(key, id_, mirror.permit, mirror.written);
      return true;
    }
    case group::StepAction::kStop:
      mirror.flushed = mirror.written;
      mirror.up = false;
      return true;
    case group::StepAction::kKill:
      mirror.up = false;
      return true;
    case group::StepAction::kSuspend:
    case group::StepAction::kResume:
    case group::StepAction::kRunOnce:         // of scripts only
    case group::StepAction::kRestartProgram:
      return true;
  }
  return false;
}

void Server::mirror_aborted(const std::string& key, const std::string& reason) {
  world_.say(id_, "mirror {} aborts: {}", key, reason);
  const size_t dot = key.find('.');
  feed(node::ResourceFailed{key.substr(0, dot), key.substr(dot + 1), reason});
}

void Server::step_real_mirror(const node::RunStep& step, RealMirror& real, uint64_t start) {
  const auto done = [this, step, start, boot = boot_](bool ok) {
    if (boot_ == boot) step_ended(step, start, ok);
  };
  switch (step.action) {
    case group::StepAction::kStart: return real.start(id_, step.permit, done);
    case group::StepAction::kStop: return real.stop(id_, done);
    case group::StepAction::kKill: return real.kill(id_, done);
    case group::StepAction::kAdopt: return done(mirrors_.at(mirror_key(step.group, step.resource)).up);
    default: return done(true);
  }
}

void Server::report_mirror(const std::string& key) {
  if (const RealMirror* real = observer_.real_mirror(key)) {
    const MirrorReport report = real->report(id_);
    if (report.incarnation != Incarnation{}) mirror_reports(key, report);
    return;
  }
  const MirrorStandIn& mirror = mirrors_.at(key);
  MirrorReport report;
  report.role = mirror.up ? MirrorRole::kPrimary : MirrorRole::kSecondary;
  report.exported = mirror.up;
  report.incarnation = mirror.incarnation;
  report.permit = mirror.newest;
  // Blank only if it was never used: after a restore that is asked for (R10).
  report.generation.counter = mirror.written > 0 || mirror.permit != Permit{} || mirror.newest != Permit{} ? 1 : 0;
  feed(node::MirrorReported{key, report});
}

void Server::mirror_tick(uint64_t boot) {
  if (mirrors_.empty()) return;
  world_.after(random_.between(kWatchInterval, 2 * kWatchInterval), [this, boot] {
    if (boot_ != boot) return;
    if (!machine_paused_) {
      for (auto& [key, mirror] : mirrors_) {
        if (!mirror.up || observer_.real_mirror(key) != nullptr) continue;
        watch_mirror(key, mirror);
        if (mirror.up) write_mirror(key, mirror);
      }
    }
    mirror_tick(boot);
  });
}

/// The other copy, if it is reached and serves this primary (P2).
MirrorStandIn* Server::mirror_partner(const std::string& key, MirrorStandIn& mirror) {
  Server* peer = observer_.mirror_peer(*this, key);
  if (peer == nullptr) return nullptr;
  MirrorStandIn& theirs = peer->mirrors_.at(key);
  if (theirs.newest > mirror.permit) {
    fence(key, theirs.newest);
    return nullptr;
  }
  if (theirs.newest < mirror.permit) peer->fence(key, mirror.permit);
  if (!theirs.up) theirs.permit = mirror.permit;  // P1: persisted before it answers
  return theirs.up ? nullptr : &theirs;
}

/// A client writes all the time, and flushes now and then. Answered when every copy of the set has it (S1); while a
/// readmission is undecided, the candidate, too (S3).
void Server::write_mirror(const std::string& key, MirrorStandIn& mirror) {
  if (!lease_page_valid() || mirror.known.permit != mirror.permit || mirror.known.holder != id_) return;
  std::map<ServerId, Incarnation> needed = mirror.known.in_sync;
  if (needed.erase(id_) == 0) return;
  const bool candidate = mirror.candidate != Incarnation{};
  MirrorStandIn* partner = mirror_partner(key, mirror);
  if (!mirror.up) return;
  if (!needed.empty() && (partner == nullptr || needed.begin()->second != partner->incarnation)) return;
  if (candidate && (partner == nullptr || mirror.candidate != partner->incarnation)) return;
  const bool flush = random_.chance(0.3);
  mirror.written = observer_.truth().acknowledge(key, id_, mirror.permit, flush);
  if (flush) mirror.flushed = mirror.written;
  if (partner == nullptr || (needed.empty() && !candidate)) return;
  partner->written = mirror.written;
  if (flush) partner->flushed = partner->written;
}

/// A primary's view of its peer: out of the set when it is not reached, in again when it holds everything.
void Server::watch_mirror(const std::string& key, MirrorStandIn& mirror) {
  const MirrorState& known = mirror.known;
  if (known.holder != id_ || known.permit != mirror.permit) return;
  MirrorStandIn* peer = known.broken ? nullptr : mirror_partner(key, mirror);
  if (!mirror.up) return;
  SetInSync change{key, known.version, known.permit, {{id_, mirror.incarnation}}, "peer lost", {}};
  const auto member = std::find_if(known.in_sync.begin(), known.in_sync.end(),
                                   [&](const auto& each) { return each.first != id_; });
  const bool asked = mirror.candidate != Incarnation{};
  if (peer == nullptr || (asked && peer->incarnation != mirror.candidate)) {
    mirror.peer_back_since = kNever;
    // S3: also against a readmission whose outcome is not known: the version decides which of the two holds.
    if (member != known.in_sync.end() || asked) propose(change);
    return;
  }
  if (member != known.in_sync.end()) {
    if (member->second != peer->incarnation) propose(change);
    return;
  }
  if (mirror.peer_back_since == kNever) mirror.peer_back_since = world_.now();
  if (world_.now() < mirror.peer_back_since + kCopyTime) return;
  const Server* other = observer_.mirror_peer(*this, key);
  // The target has everything and has flushed; from here on nothing is answered that it lacks.
  mirror.flushed = mirror.written;
  peer->written = peer->flushed = mirror.written;
  mirror.candidate = peer->incarnation;
  mirror.candidate_version = known.version;
  change.in_sync[other->id_] = peer->incarnation;
  change.reason = "copied";
  propose(change);
}

void Server::propose(const SetInSync& change) { feed(node::MirrorProposed{change, wall_ms()}); }

/// Power is gone: what no flush covers is there or not.
void Server::mirror_loses_power(MirrorStandIn& mirror) {
  mirror.up = false;
  mirror.known = MirrorState{};
  mirror.told = 0;
  mirror.candidate = Incarnation{};
  mirror.candidate_version = 0;
  mirror.peer_back_since = kNever;
  if (mirror.written > mirror.flushed) {
    mirror.written = mirror.flushed + random_.below(mirror.written - mirror.flushed + 1);
    mirror.flushed = mirror.written;
  }
}

}  // namespace baton::sim
