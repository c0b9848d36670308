// MirrorConnect, the half that keeps one session over its paths. Each side chooses for itself on which path it sends, and
// takes what comes on any: messages are numbered, so whatever comes twice is passed over, and nothing can be overtaken,
// because a side that changes its path sends everything again that is not acknowledged.
#include <algorithm>

#include "src/base/assert.h"
#include "src/base/beat.h"
#include "src/base/overloaded.h"
#include "src/mirror/mirror_connect.h"

namespace baton::mirror {
namespace {

constexpr Duration kRetry = 200ms;
constexpr Duration kBeatAlone = 1s;       // where there is one path only, nothing hangs on it
constexpr Duration kSameMoment = 20ms;    // the ends of all connections of a process that has ended
constexpr Duration kBeginning = 1s;       // until then the preferred path is taken at once

}  // namespace

std::string MirrorConnect::path_name(size_t index) const {
  const Path& path = paths_[index];
  return fmt::format("path {} ({})", index + 1,
                     !path.peer_address.empty() ? path.peer_address : path.joined ? path.joined->address() : "?");
}

bool MirrorConnect::part_of_session(const LinkConnection& connection) const {
  return session_ && paths_[connection.path].joined.get() == &connection;
}

// ---- Joining ----

void MirrorConnect::answer_join(LinkConnection& connection, JoinResult result, const std::string& reason) {
  const bool accepted = result == JoinResult::kAccepted;
  connection.send(Joined{result, accepted ? session_->memory() : 0, reason}, accepted ? session_->received() : 0);
  connection.flush();
  if (accepted) return;
  auto kept = connection.shared_from_this();
  kept->close();
  forget(*kept);
}

/// When both sides begin a session at the same time that of the lower id stays.
bool MirrorConnect::gives_way() const {
  if (!session_ || !session_->initiator() || settings_.self > settings_.peer) return true;
  return std::none_of(paths_.begin(), paths_.end(), [](const Path& path) { return path.joined || path.outgoing; });
}

void MirrorConnect::on_join(LinkConnection& connection, uint64_t acknowledged, const Join& join) {
  if (!session_ || session_->id() != join.session) {
    if (!join.fresh) return answer_join(connection, JoinResult::kUnknown, "this side knows no such session");
    if (!gives_way()) return answer_join(connection, JoinResult::kRefused, "this side has begun a session itself");
    if (session_) end_session("the peer has begun anew", false, kRetry);
    session_ = std::make_unique<LinkSession>(pool_, join.session, false, settings_.compress);
  }
  if (session_->initiator()) return reject(connection, "it repeats what was said to it");
  connection.path = join.path;
  answer_join(connection, JoinResult::kAccepted, "");
  add_path(connection, acknowledged);
}

void MirrorConnect::on_joined(LinkConnection& connection, uint64_t acknowledged, const Joined& joined) {
  if (joined.result == JoinResult::kAccepted && session_->same_memory(joined.memory)) {
    return add_path(connection, acknowledged);
  }
  auto kept = connection.shared_from_this();
  kept->close();
  forget(*kept);
  if (joined.result == JoinResult::kRefused) {
    if (connection_ == 0 && !active_) session_.reset();
    return attempt_failed(connection.path, 0, "it was refused: " + joined.reason);
  }
  end_session("the peer does not know the session any more: it was started anew", false, Duration::zero());
}

void MirrorConnect::add_path(LinkConnection& connection, uint64_t acknowledged) {
  auto kept = connection.shared_from_this();
  forget(connection);
  const size_t index = connection.path;
  Path& path = paths_[index];
  if (path.joined) path.joined->abort();  // the peer would not come again if it still had that one
  path.joined = kept;
  path.since = Ring::now();
  path.round_trip = {};
  path.problem.clear();
  noted_.erase("connect " + path.peer_address);
  noted_.erase("intruder " + connection.address());
  if (!session_->acknowledged(acknowledged)) {
    return end_session("the peer acknowledges what it was never sent", true, kRetry);
  }
  if (std::exchange(path.lost, false)) add_news(fmt::format("mirror connect: {} is back", path_name(index)));
  if (connection_ == 0) {
    connection_ = ++last_id_;
    began_ = path.since;
    last_tick_ = listening_since_ = path.since;
    tick_at(next_beat(Ring::now(), beat_interval()));
    emit_(LinkUp{connection_});
  }
  if (!two_paths_ && paths_[0].joined && paths_[1].joined) {
    two_paths_ = true;
    tick_at(Ring::now());
  }
  choose_after_joining(index);
  renew_paths();
}

void MirrorConnect::choose_after_joining(size_t index) {
  const bool still_beginning = !moved_ && Ring::now() - began_ < kBeginning;
  if (!active_ || active_ == index || (index == 0 && still_beginning)) activate(index);
}

/// From now on this path carries what we send, beginning with everything that may not have arrived.
void MirrorConnect::activate(size_t index) {
  active_ = index;
  LinkConnection& connection = *paths_[index].joined;
  session_->for_each_unacknowledged(
      [&](const LinkSession::Frame& frame) { connection.send(frame.head, frame.buffer, frame.data_bytes); });
  connection.flush();
}

// ---- Records of a path that is part of the session ----

void MirrorConnect::on_record(LinkConnection& connection, const LinkRecord& record) {
  const auto unexpected = [&] { end_session("the peer joins a path twice", true, kRetry); };
  std::visit(Overloaded{[&](const Beat& beat) { on_beat(connection, beat); },
                        [&](const Acknowledge&) {},
                        [&](const Goodbye& goodbye) {
                          end_session(goodbye.reason.empty() ? "the peer closed it" : "the peer closed it: " + goodbye.reason,
                                      false, Duration::zero());
                        },
                        [&](const Join&) { unexpected(); }, [&](const Joined&) { unexpected(); }},
             record);
}

void MirrorConnect::on_beat(LinkConnection& connection, const Beat& beat) {
  const Instant now = Ring::now();
  connection.peer_beat_ns = beat.sent_ns;
  connection.peer_beat_came = now;
  if (beat.echo_ns == 0) return;
  const Duration round_trip(to_ns(now) - static_cast<int64_t>(beat.echo_ns) - static_cast<int64_t>(beat.held_ns));
  if (round_trip < Duration::zero() || round_trip > seconds(60)) return;
  Duration& mean = paths_[connection.path].round_trip;
  mean = mean == Duration::zero() ? round_trip : (7 * mean + round_trip) / 8;
}

// ---- Losing paths ----

void MirrorConnect::path_lost(size_t index, const LinkEnd& end) {
  Path& path = paths_[index];
  // The peer has its successor already, and this side is about to.
  const bool succeeded = path.outgoing != nullptr && outdated(path);
  path.joined.reset();
  path.since = Ring::now();
  path.ended_by_peer = end.by_peer;
  path.lost = !succeeded;
  path.problem = end.reason;
  const bool was_active = active_ == index;
  if (was_active) active_.reset();
  const auto other = freshest_path();
  if (succeeded) {
    if (!other) alone_since_ = path.since;
    if (other && was_active) activate(*other);
  } else if (!other) {
    if (session_is_over()) return end_session(end.reason, false, Duration::zero());
    alone_since_ = path.since;
    add_news(fmt::format("mirror connect: {} is lost, and no other is up: {}", path_name(index), end.reason));
  } else if (was_active) {
    moved_ = true;
    add_news(fmt::format("mirror connect: {} takes over from {}: {}", path_name(*other), path_name(index), end.reason));
    activate(*other);
  } else {
    add_news(fmt::format("mirror connect: {} is lost: {}", path_name(index), end.reason));
  }
  // The other path may have failed in its turn, and with it the session.
  if (session_ && session_->initiator()) dial_after(index, Duration::zero());
}

/// What is worth saying unless the whole session turns out to have ended in the same moment.
void MirrorConnect::add_news(std::string text) {
  news_since_ = Ring::now();
  news_.push_back(std::move(text));
}

/// With no path left: whether there is nobody to go on with. A process that ends, ends all its connections in one moment.
bool MirrorConnect::session_is_over() const {
  if (configured_ < 2) return true;
  const Instant now = Ring::now();
  bool moment = true;
  bool others_long_gone = true;
  for (size_t i = 0; i < kMaxPaths; ++i) {
    const Path& path = paths_[i];
    const Duration ago = now - path.since;
    const bool just_now = ago < kSameMoment;
    moment = moment && path.lost && path.ended_by_peer && just_now;
    if (!just_now) others_long_gone = others_long_gone && (!path.lost || ago > settings_.link_timeout);
  }
  const bool last_by_peer =
      std::any_of(paths_.begin(), paths_.end(), [&](const Path& path) { return path.ended_by_peer && now - path.since < kSameMoment; });
  return moment || (others_long_gone && last_by_peer);
}

std::optional<size_t> MirrorConnect::freshest_path() const {
  std::optional<size_t> best;
  for (size_t i = 0; i < kMaxPaths; ++i) {
    if (!paths_[i].joined) continue;
    if (!best || paths_[i].joined->heard() > paths_[*best].joined->heard()) best = i;
  }
  return best;
}

void MirrorConnect::end_session(const std::string& reason, bool say_goodbye, Duration pause) {
  auto session = std::move(session_);
  const ConnectionId ended = std::exchange(connection_, 0);
  for (size_t i = 0; i < kMaxPaths; ++i) {
    Path& path = paths_[i];
    // On the path that carries the messages, after the last of them.
    if (say_goodbye && active_ == i) path.joined->send(Goodbye{reason}, session->received());
    if (path.joined) path.joined->close();
    if (auto outgoing = path.outgoing) {
      outgoing->close();
      forget(*outgoing);
    }
    path.joined.reset();
    path.lost = path.ended_by_peer = false;
    path.problem = reason;
    if (i < configured_) dial_after(i, pause);
  }
  active_.reset();
  moved_ = two_paths_ = false;
  news_.clear();
  if (ended != 0) emit_(LinkDown{ended, reason});
}

// ---- Time ----

/// Where there may be two paths a silent one misses two beats; also the tick's length.
Duration MirrorConnect::beat_interval() const {
  return configured_ > 1 || two_paths_ ? settings_.path_timeout * 2 / 5 : kBeatAlone;
}

/// How lately one was heard that is well.
Duration MirrorConnect::well_within() const { return settings_.path_timeout * 2 / 3; }

void MirrorConnect::tick_at(Instant when) {
  ring_.cancel_timer(tick_timer_);
  tick_timer_ = ring_.at(when, [this, alive = std::weak_ptr(alive_)] {
    if (!alive.expired()) tick();
  });
}

void MirrorConnect::tick() {
  if (!session_) return;
  const Instant now = Ring::now();
  if (now - last_tick_ > 2 * beat_interval()) listening_since_ = now;
  last_tick_ = now;
  if (now - news_since_ > kSameMoment) {
    for (const std::string& text : std::exchange(news_, {})) note_(text);
  }
  send_beats(now);
  drop_silent_paths(now);
  return_to_preferred(now);
  if (!session_) return;
  if (!active_ && now - alone_since_ > settings_.link_timeout) {
    return end_session(fmt::format("no path to server {} for {} ms", settings_.peer, to_ms(now - alone_since_)), false, kRetry);
  }
  tick_at(next_beat(Ring::now(), beat_interval()));
}

void MirrorConnect::send_beats(Instant now) {
  for (Path& path : paths_) {
    if (!path.joined) continue;
    LinkConnection& connection = *path.joined;
    const auto held = connection.peer_beat_ns == 0 ? Duration::zero() : now - connection.peer_beat_came;
    connection.send(Beat{static_cast<uint64_t>(to_ns(now)), connection.peer_beat_ns, static_cast<uint64_t>(held.count())},
                    session_->received());
    connection.flush();
    session_->acknowledgement_sent();
  }
}

Duration MirrorConnect::silence(const Path& path, Instant now) const {
  return now - std::max(path.joined->heard(), listening_since_);
}

/// When nothing is heard anywhere the peer is the likelier cause: nothing would be better for a change.
void MirrorConnect::drop_silent_paths(Instant now) {
  const bool one_is_well = std::any_of(paths_.begin(), paths_.end(), [&](const Path& path) {
    return path.joined && silence(path, now) < well_within();
  });
  if (!one_is_well) return;
  for (size_t i = 0; i < kMaxPaths && session_; ++i) {
    if (!paths_[i].joined || silence(paths_[i], now) < settings_.path_timeout) continue;
    const std::string reason = fmt::format("nothing was heard for {} ms", to_ms(silence(paths_[i], now)));
    const auto silent = paths_[i].joined;
    silent->abort();
    path_lost(i, {reason});
  }
}

void MirrorConnect::return_to_preferred(Instant now) {
  if (!active_ || *active_ == 0 || !paths_[0].joined || now - paths_[0].since < settings_.return_after) return;
  if (silence(paths_[0], now) > well_within()) return;
  note_(fmt::format("mirror connect: {} carries the data again", path_name(0)));
  activate(0);
}

}  // namespace baton::mirror
