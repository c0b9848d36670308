// See trailing_peer.h.
#include "src/core/mirror/trailing_peer.h"

#include <algorithm>

#include "src/base/planted.h"
#include "src/core/mirror/copy_core.h"

namespace baton::mirror {

namespace {
constexpr Duration kPause = 5s;  // from the end of being named to the next time: each change is a commit
}

void TrailingPeer::begin() {
  name_version_ = 0;
  was_named_ = named();
  name_again_ = flush_again_ = core_.now();
}

bool TrailingPeer::wanted() const {
  return core_.settings.protocol == MirrorProtocol::kA && core_.settings.max_lag > Duration::zero() &&
         !core_.committed.broken;
}

/// SAFETY: A5 from proposing it until a newer record is known, whether we have heard of it or not.
bool TrailingPeer::named() const {
  return name_version_ != 0 || core_.committed.trailing.contains(core_.settings.peer);
}

Duration TrailingPeer::lag() const {
  const Instant since = core_.writes.lag().since();
  return since == kNever ? Duration::zero() : core_.now() - since;
}

bool TrailingPeer::may_name() const {
  return wanted() && lag() <= core_.settings.max_lag * 3 / 8 && core_.now() >= name_again_;
}

TrailingPeer::Wish TrailingPeer::wish(Incarnation peer, bool copy_waits) const {
  const auto said = core_.committed.trailing.find(core_.settings.peer);
  const bool there = peer != Incarnation{};
  const bool another = said != core_.committed.trailing.end() && there && said->second != peer;
  if (named() && (!wanted() || another || copy_waits || lag() >= core_.settings.max_lag / 2)) return Wish::kRelease;
  const bool says_so = said != core_.committed.trailing.end();
  return there && !says_so && may_name() ? Wish::kName : Wish::kNone;
}

void TrailingPeer::state_changed() {
  if (name_version_ != 0 && core_.committed.version > name_version_) name_version_ = 0;
  if (was_named_ && !named()) name_again_ = core_.now() + kPause;
  was_named_ = named();
}

bool TrailingPeer::too_far_behind() const {
  // SAFETY: A5 everything that the peer's disk lacks was answered within `max_lag` of the oldest of it.
  return named() && lag() >= core_.settings.max_lag && !planted(Plant::kLagIgnored);
}

void TrailingPeer::advance() {
  if (!wanted() || !core_.primary.peer_has_everything() || lag() < core_.settings.max_lag / 4) return;
  if (core_.now() < flush_again_) return;
  flush_again_ = core_.now() + core_.settings.max_lag / 8;
  core_.writes.flushes().request();
}

Instant TrailingPeer::next_tick() const {
  Instant tick = kNever;
  const auto want = [&](Instant at) {
    if (at > core_.now()) want_tick(tick, at);
  };
  const Instant since = core_.writes.lag().since();
  if (since != kNever && named()) want(since + core_.settings.max_lag / 2);
  if (since != kNever && wanted() && core_.primary.peer_has_everything()) {
    want(std::max(since + core_.settings.max_lag / 4, flush_again_));
  }
  if (wanted() && !named()) want(name_again_);
  return tick;
}

}  // namespace baton::mirror
