// See primary_side.h.
#include "src/core/mirror/primary_side.h"

#include <algorithm>

#include "src/base/assert.h"
#include "src/base/planted.h"
#include "src/core/mirror/copy_core.h"
#include "src/core/mirror/generations.h"

namespace baton::mirror {

namespace {
constexpr Duration kLinkPause = 10s;
constexpr Duration kRefusedPause = 3s;
}

void PrimarySide::enter(bool fresh) {
  BATON_ASSERT(standing_ == Standing::kNone);
  generation_shared_ = !fresh;
  generation_saved_ = 0;
  shrink_version_ = readmit_version_ = 0;
  everything_sent_ = end_sent_ = false;
  detach_answered_ = refused_ = false;
  problem_.clear();
  copy_kind_ = CopyKind::kNone;
  copy_reason_.clear();
  trailing_.begin();
  core_.writes.lag().settled();
  grace_until_ = core_.now() + (core_.committed.broken ? Duration::zero() : core_.settings.connect_grace);
  follow_wish();
  stand(set_is_me() ? Standing::kAlone : Standing::kWaiting);
  if (core_.link.up()) link_up();
}

void PrimarySide::leave() {
  if (standing_ == Standing::kNone) return;
  standing_ = Standing::kNone;
  handshake_ = Handshake::kNone;
  peer_.reset();
  full_copy_of_.reset();
  grace_until_ = link_again_ = kNever;
  waiting_for_set_ = refused_ = false;
  problem_.clear();
  if (link_wanted_) core_.operations.emit(WantLink{false});
  link_wanted_ = false;
}

bool PrimarySide::linked() const {
  return standing_ != Standing::kNone && standing_ != Standing::kWaiting && standing_ != Standing::kAlone;
}

bool PrimarySide::answers_when_local() const {
  return core_.settings.protocol == MirrorProtocol::kA &&
         (standing_ == Standing::kTrailing || standing_ == Standing::kCopying);
}

bool PrimarySide::answers_when_received() const {
  return core_.settings.protocol == MirrorProtocol::kB &&
         (standing_ == Standing::kConnected || standing_ == Standing::kReadmitting);
}

void PrimarySide::stand(Standing standing) {
  standing_ = standing;
  next_proposal_ = core_.now();
  core_.again = true;
}

// ---- The in-sync set ----

bool PrimarySide::set_is_me() const {
  const auto& set = core_.committed.in_sync;
  const auto me = set.find(core_.settings.self);
  return set.size() == 1 && me != set.end() && me->second == core_.journal.superblock().incarnation;
}

bool PrimarySide::set_is_both() const {
  const auto& set = core_.committed.in_sync;
  const auto me = set.find(core_.settings.self);
  const auto it = set.find(core_.settings.peer);
  return set.size() == 2 && me != set.end() && me->second == core_.journal.superblock().incarnation &&
         it != set.end() && peer_ && it->second == peer_->incarnation;
}

bool PrimarySide::set_is_peer() const {
  const auto& set = core_.committed.in_sync;
  const auto it = set.find(core_.settings.peer);
  return set.size() == 1 && it != set.end() && peer_ && it->second == peer_->incarnation;
}

bool PrimarySide::may_acknowledge(RequestKind kind, bool on_both) {
  // SAFETY: S2, S3 while the set may name a copy that does not get the writes, nothing is acknowledged.
  if (!may_begin()) return false;
  if (kind == RequestKind::kFlush) return true;
  if (trailing_.too_far_behind()) return false;
  const bool peer_lacks_it =
      standing_ == Standing::kAlone || (standing_ == Standing::kCopying && !on_both && !end_sent_);
  if (!peer_lacks_it) return true;
  // SAFETY: G1 what the peer lacks is acknowledged only under a generation that it does not have, on our disk
  // first.
  if (generation_shared_ && !planted(Plant::kGenerationNotBumped)) {
    take_new_generation(core_.journal.superblock(), core_.random());
    generation_saved_ = core_.journal.save();
    generation_shared_ = false;
    core_.again = true;
  }
  return core_.journal.saved(generation_saved_);
}

void PrimarySide::state_changed() {
  if (standing_ == Standing::kNone) return;
  const uint64_t version = core_.committed.version;
  if (readmit_version_ != 0 && version > readmit_version_) readmit_version_ = 0;
  if (shrink_version_ != 0 && version > shrink_version_) shrink_version_ = 0;
  trailing_.state_changed();
  next_proposal_ = core_.now();
  if (detached()) return state_changed_detached();
  follow_wish();
  const auto me = core_.committed.in_sync.find(core_.settings.self);
  if (me == core_.committed.in_sync.end() || me->second != core_.journal.superblock().incarnation) {
    // SAFETY: P4 a set without this copy was not made by this primary.
    core_.step_down("the in-sync set no longer names this copy");
    return;
  }
  switch (standing_) {
    case Standing::kReadmitting:
      if (readmit_version_ == 0 && set_is_both()) {
        core_.note("the other copy is in sync again");
        problem_.clear();
        stand(Standing::kConnected);
      }
      break;
    case Standing::kConnected:
      if (set_is_both()) break;
      if (core_.settings.protocol == MirrorProtocol::kA && set_is_me()) {
        stand(Standing::kTrailing);
      } else {
        core_.drop_link("the in-sync set no longer names the other copy: it is readmitted anew");
      }
      break;
    case Standing::kTrailing:
    case Standing::kAlone:
    case Standing::kCopying:
      if (!set_is_me()) {
        core_.drop_link("the in-sync set names the other copy unexpectedly");
        freeze("the in-sync set names the other copy, which lacks writes");
      }
      break;
    default:
      break;
  }
  core_.again = true;
}

void PrimarySide::state_changed_detached() {
  if (set_is_peer()) {
    if (standing_ == Standing::kDetached) return;
    core_.note("the service goes on from the other copy");
    stand(Standing::kDetached);
  } else if (standing_ == Standing::kDetached || core_.committed.in_sync.size() != 2) {
    // SAFETY: D1 whoever the set names now may lack what this primary had written at the peer.
    core_.step_down("the in-sync set does not name the other copy alone, while this copy's disk has failed");
  }
}

/// Whether there is to be a connection: not while an operator has broken the mirror, nor in a pause.
void PrimarySide::follow_wish() {
  const bool wanted = standing_ != Standing::kNone || core_.role == MirrorRole::kPrimary;
  const bool want = wanted && !core_.committed.broken && link_again_ == kNever;
  if (want != link_wanted_) core_.operations.emit(WantLink{want});
  link_wanted_ = want;
  if (core_.committed.broken && core_.link.up()) core_.drop_link("an operator has broken the mirror");
}

void PrimarySide::freeze(const std::string& reason) {
  waiting_reason_ = reason;
  grace_until_ = core_.now();
  stand(Standing::kWaiting);
}

/// Proposals are repeated: one may be lost on its way, or refused because the set has changed.
void PrimarySide::propose() {
  // A1: under protocol A the peer leaves the set although it is there.
  const bool trail = standing_ == Standing::kConnected && core_.settings.protocol == MirrorProtocol::kA &&
                     !core_.roles.demoting();
  const bool shrink = trail || (standing_ == Standing::kWaiting && core_.now() >= grace_until_);
  const bool readmit = standing_ == Standing::kReadmitting && !core_.committed.broken;
  const bool hand_on = standing_ == Standing::kDetaching && detach_answered_;
  const bool trails = standing_ == Standing::kTrailing && !core_.roles.demoting();
  const TrailingPeer::Wish wish = trailing_.wish(trails ? peer_->incarnation : Incarnation{}, begin_.has_value());
  waiting_for_set_ = shrink || readmit || hand_on || wish != TrailingPeer::Wish::kNone;
  if (!waiting_for_set_ || core_.now() < next_proposal_) return;
  next_proposal_ = core_.now() + kRetry;
  const uint64_t version = core_.committed.version;
  ProposeInSync proposal{
      version, core_.permit(), {{core_.settings.self, core_.journal.superblock().incarnation}}, {}};
  if (readmit) {
    // SAFETY: S3 from now on the set may name the peer, whether we have heard of it or not.
    readmit_version_ = version;
    proposal.in_sync[core_.settings.peer] = peer_->incarnation;
    proposal.reason = "the other copy is up to date again";
  } else if (hand_on) {
    // SAFETY: D1 this copy lacks what is acknowledged from now on.
    proposal.in_sync = {{core_.settings.peer, peer_->incarnation}};
    proposal.reason = "this server's disk has failed: the other copy alone has the data";
  } else {
    // SAFETY: S3 the same version as an undecided readmission's: only one of the two can be applied.
    shrink_version_ = version;
    stay_alone(proposal, trail, wish);
  }
  core_.operations.emit(std::move(proposal));
}

/// The set is (or stays) this copy alone; beside it the peer may be named (A5).
void PrimarySide::stay_alone(ProposeInSync& proposal, bool trail, TrailingPeer::Wish wish) {
  const bool name = wish == TrailingPeer::Wish::kName || (trail && trailing_.may_name());
  if (name) {
    proposal.trailing[core_.settings.peer] = peer_->incarnation;
    trailing_.proposed(proposal.expected_version);
  }
  if (name) {
    proposal.reason = "protocol A: the other copy trails behind by no more than `max_lag`";
  } else if (trail) {
    proposal.reason = "protocol A: the other copy trails behind";
  } else if (wish == TrailingPeer::Wish::kRelease) {
    proposal.reason = "protocol A: the other copy is too far behind to take over by itself";
  } else {
    proposal.reason = waiting_reason_.empty() ? "the other copy is not there" : waiting_reason_;
  }
}

// ---- The link ----

void PrimarySide::link_up() {
  if (link_again_ != kNever) return core_.drop_link("paused: " + problem_);
  handshake_ = Handshake::kHelloSent;
  const Superblock& superblock = core_.journal.superblock();
  ask(Hello{core_.settings.protocol, superblock.permit, superblock.size_blocks, superblock.generation,
            superblock.ancestors, superblock.base});
}

/// A step that the peer must answer within the peer time-out, like any request: its metadata may hang.
void PrimarySide::ask(Message message) {
  question_ = core_.link.ask_step();
  core_.link.send(std::move(message));
}

void PrimarySide::link_lost(const std::string& reason) {
  if (detached()) {
    return core_.step_down(
        "this copy's disk has failed, and the connection to the other copy is lost: there is no data here (" + reason +
        ")");
  }
  handshake_ = Handshake::kNone;
  peer_.reset();
  begin_.reset();
  everything_sent_ = end_sent_ = false;
  core_.copy.stop("the mirror connect was lost: " + reason);
  const Standing before = standing_;
  switch (before) {
    case Standing::kCopying:  // the set never named the peer: on alone
    case Standing::kTrailing:
      stand(Standing::kAlone);
      break;
    case Standing::kReadmitting:
      // SAFETY: S3 the readmission's outcome is unknown: frozen until a newer set says that this copy is alone.
      if (planted(Plant::kReadmissionAcknowledgedAlone)) {
        stand(Standing::kAlone);
        break;
      }
      [[fallthrough]];
    case Standing::kConnected:
      if (planted(Plant::kAloneBeforeCommitted)) {
        stand(Standing::kAlone);
        break;
      }
      // SAFETY: S2 nothing is acknowledged until "in sync = me" is committed.
      freeze(reason);
      break;
    default:
      break;
  }
  core_.writes.link_lost();
}

void PrimarySide::peer_lost() { grace_until_ = std::min(grace_until_, core_.now()); }

void PrimarySide::pause_link(const std::string& problem) {
  if (standing_ == Standing::kNone) return;
  problem_ = problem;
  link_again_ = core_.now() + kLinkPause;
  if (link_wanted_) core_.operations.emit(WantLink{false});
  link_wanted_ = false;
  core_.alert(problem);
  core_.drop_link(problem);
}

void PrimarySide::tick() {
  if (standing_ != Standing::kNone && core_.link.up() && core_.link.overdue()) {
    return pause_link(
        "the other copy has not answered a request for the whole of `peer_timeout`: it is dropped. Look at that "
        "server's disk and load");
  }
  if (core_.now() < link_again_ || standing_ == Standing::kNone) return;
  link_again_ = kNever;
  follow_wish();
}

// ---- The handshake and the copy ----

void PrimarySide::hello_reply(const HelloReply& reply) {
  if (handshake_ != Handshake::kHelloSent) return;
  core_.link.answered(question_);
  if (reply.permit != core_.permit() || reply.size_blocks < core_.journal.superblock().size_blocks) {
    return refuse_peer("the other copy has another size or permit; check that both servers use the same configuration");
  }
  refused_ = false;
  peer_ = reply;
  handshake_ = Handshake::kAnswered;
  // SAFETY: G1 whoever has our generation would take what we write alone for part of it.
  if (reply.generation == core_.journal.superblock().generation) generation_shared_ = true;
  core_.again = true;
}

void PrimarySide::hello_refused(const HelloRefused& refused) {
  // SAFETY: P3 there is a newer primary, or was: never complete another request.
  if (refused.newer_permit > core_.permit()) {
    core_.step_down("the other copy knows of a newer permit: another server has taken the group over");
    return;
  }
  refuse_peer("the other server says of its copy: " + refused.reason);
}

/// What stands in the way does not go away by itself within moments: a person sees it, and it is looked at anew later.
void PrimarySide::refuse_peer(const std::string& problem) {
  if (problem != problem_) core_.note(problem);
  problem_ = problem;
  refused_ = true;
  grace_until_ = std::min(grace_until_, core_.now());
  link_again_ = core_.now() + kRefusedPause;
  follow_wish();
  core_.drop_link(problem);
}

bool PrimarySide::peer_is_equal() const {
  const Journal& journal = core_.journal;
  return peer_->consistent && peer_->generation == journal.superblock().generation && peer_->suspects.empty() &&
         !peer_->all_suspect && journal.dirty().blocks().empty() && journal.activity().suspects() == 0;
}

void PrimarySide::consider_peer() {
  if (handshake_ != Handshake::kAnswered) return;
  if (standing_ == Standing::kAlone) return begin_copy();
  if (standing_ != Standing::kWaiting) return;
  if (!set_is_both() || !peer_is_equal()) {
    grace_until_ = std::min(grace_until_, core_.now());
    return;
  }
  if (shrink_version_ != 0 || readmit_version_ != 0) return;  // first the outcome
  handshake_ = Handshake::kRunning;
  problem_.clear();
  core_.writes.lag().settled();
  stand(Standing::kConnected);
}

BlockSet PrimarySide::suspects() const {
  const uint64_t size = core_.journal.superblock().size_blocks;
  BlockSet set;
  if (peer_->all_suspect) {
    set.add({0, size});
    return set;
  }
  const auto add = [&](uint64_t extent) {
    const uint64_t first = extent * kExtentBlocks;
    if (extent < (size + kExtentBlocks - 1) / kExtentBlocks)
      set.add({first, std::min(kExtentBlocks, size - first)});
  };
  for (const uint64_t extent : core_.journal.activity().suspect_list()) add(extent);
  for (const uint64_t extent : peer_->suspects) add(extent);
  return set;
}

void PrimarySide::begin_copy() {
  Journal& journal = core_.journal;
  const Superblock& superblock = journal.superblock();
  const ResyncDecision decision = decide_resync(superblock.generation, superblock.ancestors, superblock.base,
                                                peer_->generation, peer_->ancestors);
  if (decision.resync == Resync::kRefusedOlder || decision.resync == Resync::kRefusedDiverged) {
    return refuse_peer("the copies are not connected: " + decision.reason);
  }
  copy_kind_ = decision.resync == Resync::kFull ? CopyKind::kFull : CopyKind::kFast;
  copy_reason_ = decision.reason;
  if (copy_kind_ == CopyKind::kFull) {
    // An interrupted full copy to the same target goes on: what was sent and flushed is there.
    const bool goes_on = full_copy_of_ && *full_copy_of_ == peer_->generation && !peer_->consistent;
    if (!goes_on) journal.dirty().mark_all();
    full_copy_of_ = peer_->generation;
  }
  const bool zeroed = copy_kind_ == CopyKind::kFast && peer_->generation == kZeroGeneration;
  if (!zeroed && journal.dirty().blocks().empty() && suspects().empty()) {
    handshake_ = Handshake::kRunning;
    stand(Standing::kCopying);
    core_.copy.start({});
    return;
  }
  handshake_ = Handshake::kCopyBegin;
  CopyBegin begin{copy_kind_, {}};
  if (zeroed) {
    // SAFETY: G2 from now on the bitmap counts for this one disk of zeroes, not for a new one that may take its place.
    begin.generation = {0, core_.random() | 2};
    auto& ancestors = journal.superblock().ancestors;
    const auto zeroes = std::find_if(ancestors.begin(), ancestors.end(), [](const auto& each) { return each.counter == 0; });
    ancestors.insert(zeroes, begin.generation);
    // On disk before anything is sent: sent blocks leave the bitmap.
    journal.superblock().base = begin.generation;
    begin_saved_ = planted(Plant::kZeroGenerationNotPersisted) ? 0 : journal.save();
  }
  begin_ = begin;
  core_.again = true;
}

void PrimarySide::send_begin() {
  if (!begin_ || handshake_ != Handshake::kCopyBegin || !core_.journal.saved(begin_saved_)) return;
  // SAFETY: A5 who may take over is not made inconsistent, least of all by a primary that has lost its right unawares.
  if (trailing_.named()) return;
  ask(*begin_);
  begin_.reset();
}

void PrimarySide::copy_begun() {
  if (handshake_ != Handshake::kCopyBegin || standing_ != Standing::kAlone) return;
  core_.link.answered(question_);
  handshake_ = Handshake::kRunning;
  stand(Standing::kCopying);
  core_.copy.start(suspects());
  core_.note(copy_kind_ == CopyKind::kFull ? "full copy begun: " + copy_reason_
                                           : "fast copy begun: " + copy_reason_);
}

void PrimarySide::copy_finished() {
  everything_sent_ = true;
  core_.again = true;
}

void PrimarySide::end_copy() {
  if (standing_ != Standing::kCopying || !everything_sent_ || end_sent_) return;
  // The target must never have a generation that this copy could forget.
  if (!core_.journal.saved(generation_saved_)) return;
  end_sent_ = true;
  generation_shared_ = true;
  const Superblock& superblock = core_.journal.superblock();
  ask(CopyEnd{superblock.generation, superblock.ancestors});
}

void PrimarySide::copy_ended(const CopyEnded& ended) {
  if (standing_ != Standing::kCopying || !end_sent_) return;
  core_.link.answered(question_);
  if (ended.incarnation != peer_->incarnation) return core_.drop_link("the other copy was restarted meanwhile");
  Journal& journal = core_.journal;
  full_copy_of_.reset();
  core_.writes.lag().settled();
  journal.superblock().base = journal.superblock().generation;
  journal.save();
  // What the run has settled: C5, C6.
  journal.dirty().unmark_all();
  journal.dirty().want_all();
  journal.activity().clear_suspects();
  if (core_.settings.protocol == MirrorProtocol::kA) {
    core_.note("the other copy is up to date and trails behind (protocol A)");
    return stand(Standing::kTrailing);
  }
  stand(Standing::kReadmitting);
}

void PrimarySide::readmit_trailing() {
  if (standing_ == Standing::kTrailing) stand(Standing::kReadmitting);
}

// ---- This copy's disk has failed ----

bool PrimarySide::detach() {
  if (standing_ != Standing::kConnected || core_.settings.protocol == MirrorProtocol::kA) return false;
  core_.copy.stop("this copy's disk failed");
  standing_ = Standing::kDetaching;
  detach_answered_ = false;
  // SAFETY: D1 what this copy holds is not to be trusted again: out of the set by its incarnation, too (S4).
  Superblock& superblock = core_.journal.superblock();
  superblock.detached = true;
  superblock.consistent = false;
  ++superblock.incarnation.value;
  core_.journal.save();
  ask(Detach{});
  core_.writes.detach();
  core_.again = true;
  return true;
}

void PrimarySide::peer_detached(const Detached& detached) {
  if (standing_ != Standing::kDetaching) return;
  core_.link.answered(question_);
  Superblock& superblock = core_.journal.superblock();
  superblock.generation = superblock.base = detached.generation;
  superblock.ancestors = detached.ancestors;
  core_.journal.save();
  detach_answered_ = true;
  next_proposal_ = core_.now();
  core_.again = true;
}

void PrimarySide::advance() {
  if (standing_ == Standing::kNone) return;
  if (standing_ == Standing::kWaiting && readmit_version_ == 0 && set_is_me()) {
    waiting_reason_.clear();
    core_.note("this copy goes on alone");
    stand(Standing::kAlone);
  }
  consider_peer();
  send_begin();
  end_copy();
  trailing_.advance();
  propose();
}

Instant PrimarySide::next_tick() const {
  Instant tick = link_again_;
  if (standing_ == Standing::kWaiting) want_tick(tick, std::max(grace_until_, next_proposal_));
  if (waiting_for_set_) want_tick(tick, next_proposal_);
  if (standing_ != Standing::kNone) want_tick(tick, trailing_.next_tick());
  return tick;
}

}  // namespace baton::mirror
