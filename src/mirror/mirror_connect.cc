// Connections until they are part of a session. One that has not proved itself and joined within a second is closed, and
// only a few may try at once.
#include "src/mirror/mirror_connect.h"

#include <algorithm>

#include "src/base/assert.h"
#include "src/base/overloaded.h"
#include "src/mirror/link_messages.h"

namespace baton::mirror {
namespace {

constexpr Duration kRetry = 200ms;
constexpr Duration kRenewRetry = 1s;  // of a connection that there is already
constexpr Duration kHandshakeLimit = 1s;
constexpr Duration kNoteInterval = 10s;
constexpr Duration kLongestNoteInterval = 640s;
constexpr size_t kMaxHandshakes = 16;
constexpr size_t kMaxNoted = 200;

}  // namespace

MirrorConnect::MirrorConnect(Ring& ring, BufferPool& pool, Settings settings, Emit emit, Note note)
    : ring_(ring),
      pool_(pool),
      settings_(std::move(settings)),
      identity_{{settings_.key, settings_.other_keys}, settings_.mirror, settings_.self, settings_.peer, settings_.encrypt, settings_.files},
      emit_(std::move(emit)),
      note_(std::move(note)) {
  const auto& own = settings_.listen_addresses;
  const auto& peers = settings_.peer_addresses;
  configured_ = std::min(kMaxPaths, std::max(own.size(), peers.size()));
  for (size_t i = 0; i < configured_; ++i) {
    if (i < own.size()) paths_[i].own_address = own[i];
    if (i < peers.size()) paths_[i].peer_address = peers[i];
    paths_[i].dialer = std::make_unique<LinkDialer>(
        ring_, [this, i](OwnedFd socket) { dialed(i, std::move(socket)); },
        [this, i](const LinkDialer::Failure& failure) { attempt_failed(i, failure.error, failure.text); });
  }
}

MirrorConnect::~MirrorConnect() {
  alive_.reset();
  ring_.cancel_timer(tick_timer_);
  for (Path& path : paths_) {
    if (path.joined) path.joined->close();
    ring_.cancel_timer(path.redial);
  }
  for (auto& connection : handshakes_) connection->close();
}

void MirrorConnect::after(Duration delay, std::function<void()> callback) {
  ring_.after(delay, [alive = std::weak_ptr(alive_), callback = std::move(callback)] {
    if (!alive.expired()) callback();
  });
}

void MirrorConnect::note_at_times(const std::string& subject, const std::string& text) {
  const Instant now = Ring::now();
  if (noted_.size() > kMaxNoted) noted_.clear();
  auto [place, fresh] = noted_.try_emplace(subject, Noted{now, kNoteInterval});
  if (!fresh) {
    if (now - place->second.last < place->second.pause) return;
    place->second = {now, std::min(2 * place->second.pause, kLongestNoteInterval)};
  }
  note_(text);
}

// ---- Listening and dialing ----

void MirrorConnect::listen() {
  for (size_t i = 0; i < configured_; ++i) {
    if (paths_[i].own_address.empty()) continue;
    paths_[i].listener = std::make_unique<LinkListener>(
        ring_, paths_[i].own_address, settings_.port,
        [this, i](OwnedFd socket, const std::string& from) { adopt(std::move(socket), from, LinkSide::kAcceptor, i); },
        [this, i](const std::string& problem) {
          paths_[i].problem = problem;
          note_at_times("listen " + paths_[i].own_address, problem);
        });
  }
}

void MirrorConnect::want(bool wanted) {
  if (wanted == wanted_) return;
  wanted_ = wanted;
  for (size_t i = 0; i < configured_; ++i) {
    if (wanted) {
      dial(i);
      continue;
    }
    ring_.cancel_timer(paths_[i].redial);
    paths_[i].dialer->give_up();
    if (auto outgoing = paths_[i].outgoing) {
      outgoing->close();
      forget(*outgoing);
    }
  }
}

bool MirrorConnect::may_dial(const Path& path) const {
  return wanted_ && !path.peer_address.empty() && (!session_ || session_->initiator()) && (!path.joined || outdated(path)) &&
         !path.outgoing && !path.dialer->dialing();
}

void MirrorConnect::dial(size_t index) {
  Path& path = paths_[index];
  ring_.cancel_timer(path.redial);
  if (may_dial(path)) path.dialer->dial(path.own_address, path.peer_address, settings_.port);
}

void MirrorConnect::dial_after(size_t index, Duration delay) {
  if (!wanted_ || index >= configured_) return;
  ring_.cancel_timer(paths_[index].redial);
  paths_[index].redial = ring_.after(delay, [this, index, alive = std::weak_ptr(alive_)] {
    if (!alive.expired()) dial(index);
  });
}

void MirrorConnect::dialed(size_t index, OwnedFd socket) {
  adopt(std::move(socket), paths_[index].peer_address, LinkSide::kConnector, index);
}

void MirrorConnect::attempt_failed(size_t index, int error, const std::string& reason) {
  Path& path = paths_[index];
  if (path.joined && outdated(path)) dial_after(index, kRenewRetry);
  if (!path.joined) path.problem = reason;
  if (!wanted_ || path.joined) return;
  if (session_ && !session_->initiator()) return;  // the peer's turn
  note_at_times("connect " + path.peer_address,
                fmt::format("the mirror connect to server {} at {}:{} cannot be made: {}; trying again", settings_.peer,
                            path.peer_address, settings_.port, reason));
  dial_after(index, kRetry);
  // Its server answers, its mirror daemon is gone: there is nobody to go on with.
  const bool nobody_there = error == ECONNREFUSED && connection_ != 0 && !active_;
  if (nobody_there) end_session("the peer's mirror daemon has ended", false, kRetry);
}

// ---- Handshakes ----

void MirrorConnect::adopt(OwnedFd socket, const std::string& address, LinkSide side, size_t index) {
  if (handshakes_.size() >= kMaxHandshakes) {
    // The oldest of the strangers; our own attempts are few.
    auto oldest = std::find_if(handshakes_.begin(), handshakes_.end(), [&](const auto& known) { return !ours(*known); });
    BATON_ASSERT(oldest != handshakes_.end());
    (*oldest)->close();
    handshakes_.erase(oldest);
  }
  auto connection = std::make_shared<LinkConnection>(ring_, pool_, *this, std::move(socket), address, side, identity_);
  connection->path = index;
  handshakes_.push_back(connection);
  if (side == LinkSide::kConnector) paths_[index].outgoing = connection;
  after(kHandshakeLimit, [this, weak = std::weak_ptr(connection)] {
    auto late = weak.lock();
    if (!late || std::find(handshakes_.begin(), handshakes_.end(), late) == handshakes_.end()) return;
    reject(*late, "it did not prove itself in time");
  });
  connection->start();
}

bool MirrorConnect::ours(const LinkConnection& connection) const {
  return paths_[connection.path].outgoing.get() == &connection;
}

void MirrorConnect::forget(LinkConnection& connection) {
  if (ours(connection)) paths_[connection.path].outgoing.reset();
  std::erase_if(handshakes_, [&](const auto& known) { return known.get() == &connection; });
}

/// Ends a connection that is not part of the session as if it had ended by itself.
void MirrorConnect::reject(LinkConnection& connection, const std::string& reason) {
  auto kept = connection.shared_from_this();
  kept->close();
  link_ended(*kept, {reason, true});
}

void MirrorConnect::link_authenticated(LinkConnection& connection) {
  if (!ours(connection)) return;  // the peer says what it wants
  if (!wanted_ || (session_ && !session_->initiator())) {
    auto kept = connection.shared_from_this();
    kept->close();
    return forget(*kept);
  }
  if (!session_) {
    const auto random = LinkHandshake::random_number;
    session_ = std::make_unique<LinkSession>(pool_, SessionId{random(), random()}, true, settings_.compress);
  }
  connection.send(Join{session_->id(), static_cast<uint8_t>(connection.path), connection_ == 0}, session_->received());
  connection.flush();
}

void MirrorConnect::link_record(LinkConnection& connection, const FrameHeader& header, const LinkRecord& record) {
  auto kept = connection.shared_from_this();
  if (part_of_session(connection)) {
    if (session_->acknowledged(header.acknowledged)) return on_record(connection, record);
    return end_session("the peer acknowledges what it was never sent", true, kRetry);
  }
  const bool connecting = ours(connection);
  if (const auto* join = std::get_if<Join>(&record); join != nullptr && !connecting) {
    return on_join(connection, header.acknowledged, *join);
  }
  if (const auto* joined = std::get_if<Joined>(&record); joined != nullptr && connecting && session_) {
    return on_joined(connection, header.acknowledged, *joined);
  }
  reject(connection, "it does not say what a mirror daemon says first");
}

void MirrorConnect::link_message(LinkConnection& connection, const FrameHeader& header, Message message, BufferId buffer) {
  auto kept = connection.shared_from_this();
  const auto let_go = [&] {
    if (buffer != 0) pool_.release(buffer);
  };
  if (!part_of_session(connection)) {
    let_go();
    return reject(connection, "it sends messages before it has joined a session");
  }
  if (!session_->acknowledged(header.acknowledged)) {
    let_go();
    return end_session("the peer acknowledges what it was never sent", true, kRetry);
  }
  switch (session_->arrived(header)) {
    case LinkSession::Arrival::kNew:
      return emit_(MessageReceived{connection_, std::move(message), buffer});
    case LinkSession::Arrival::kRepeated:
      return let_go();
    case LinkSession::Arrival::kImpossible:
      let_go();
      return end_session(fmt::format("message {} (type {}) does not fit after message {}", header.sequence, header.type,
                                     session_->received()),
                         true, kRetry);
  }
}

void MirrorConnect::link_ended(LinkConnection& connection, const LinkEnd& end) {
  auto kept = connection.shared_from_this();
  if (part_of_session(connection)) return path_lost(connection.path, end);
  const bool connecting = ours(connection);
  const size_t index = connection.path;
  forget(connection);
  if (connecting) return attempt_failed(index, 0, end.reason);
  if (!end.intruder) return;
  if (!paths_[index].joined) paths_[index].problem = end.reason;
  note_at_times("intruder " + connection.address(),
                fmt::format("a mirror connect from {} was refused: {}", connection.address(), end.reason));
}

// ---- For the core ----

void MirrorConnect::send(ConnectionId connection, const Message& message, BufferId buffer) {
  if (connection == 0 || connection != connection_) return;
  const LinkSession::Frame& frame = session_->add(message, buffer);
  sent_bytes_ += data_bytes_of(message);
  if (active_) paths_[*active_].joined->send(frame.head, frame.buffer, frame.data_bytes);
  if (session_->overflown()) {
    end_session(fmt::format("the peer takes nothing any more: {} bytes wait for it", session_->unacknowledged_bytes()), false,
                kRetry);
  }
}

void MirrorConnect::close(ConnectionId connection, const std::string& reason) {
  // Not again at once: what made the core close it would most likely still be so.
  if (connection != 0 && connection == connection_) end_session(reason, true, kRetry);
}

void MirrorConnect::flush() {
  if (!session_) return;
  if (active_ && session_->acknowledgement_due()) {
    paths_[*active_].joined->send(Acknowledge{}, session_->received());
    session_->acknowledgement_sent();
  }
  for (Path& path : paths_) {
    if (path.joined) path.joined->flush();
  }
}

std::vector<MirrorPath> MirrorConnect::paths() const {
  std::vector<MirrorPath> all;
  for (size_t i = 0; i < configured_; ++i) {
    const Path& path = paths_[i];
    MirrorPath shown;
    shown.address = !path.peer_address.empty() ? path.peer_address : path.joined ? path.joined->address() : "";
    shown.up = path.joined != nullptr;
    shown.active = active_ == i;
    shown.encryption = settings_.encrypt ? "TLS 1.3" : "none";
    shown.round_trip_ms = std::chrono::duration<double, std::milli>(path.round_trip).count();
    shown.problem = shown.up ? "" : path.problem;
    all.push_back(std::move(shown));
  }
  return all;
}

}  // namespace baton::mirror
