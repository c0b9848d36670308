// A connection that has not proved itself within a second is closed, and only a few may try at once.
#include "src/mirror/mirror_connect.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <algorithm>
#include <cstring>

namespace baton::mirror {
namespace {

constexpr Duration kRetry = 200ms;
constexpr Duration kConnectLimit = 500ms;
constexpr Duration kHandshakeLimit = 1s;
constexpr Duration kNoteInterval = 10s;
constexpr size_t kMaxHandshakes = 16;
constexpr int kUserTimeoutMs = 2000;
constexpr int kListenPatience = 5;

Result<sockaddr_in> parse_address(const std::string& address, uint16_t port) {
  sockaddr_in parsed{};
  parsed.sin_family = AF_INET;
  parsed.sin_port = htons(port);
  if (inet_pton(AF_INET, address.c_str(), &parsed.sin_addr) != 1) {
    return fail_as(ErrorCode::kInvalid, "\"{}\" is not an IPv4 address", address);
  }
  return parsed;
}

void set_option(int fd, int level, int option, int value) { setsockopt(fd, level, option, &value, sizeof value); }

void tune(int fd) {
  set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1);
  set_option(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, kUserTimeoutMs);
}

Result<OwnedFd> open_listener(const std::string& address, uint16_t port) {
  auto parsed = parse_address(address, port);
  if (!parsed) return pass(parsed);
  OwnedFd fd(socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!fd) return fail("cannot make a socket: {}", errno_text());
  set_option(fd.get(), SOL_SOCKET, SO_REUSEADDR, 1);
  set_option(fd.get(), IPPROTO_IP, IP_FREEBIND, 1);  // the interconnect may come up later
  if (bind(fd.get(), reinterpret_cast<const sockaddr*>(&*parsed), sizeof *parsed) != 0 || ::listen(fd.get(), 16) != 0) {
    const int error = errno;
    return fail("cannot listen for the mirror connect on {}:{}: {}. {}", address, port, errno_text(error),
                error == EADDRINUSE ? "Another program uses the port: give the mirror another `port`"
                                    : "Trying again");
  }
  return fd;
}

}  // namespace

MirrorConnect::MirrorConnect(Ring& ring, BufferPool& pool, Settings settings, Emit emit, Note note)
    : ring_(ring), pool_(pool), settings_(std::move(settings)), emit_(std::move(emit)), note_(std::move(note)) {}

MirrorConnect::~MirrorConnect() {
  if (listening_ != 0) ring_.cancel(listening_);
  if (current_) current_->close();
  for (auto& connection : handshakes_) connection->close();
}

void MirrorConnect::note_at_times(const std::string& subject, const std::string& text) {
  const Instant now = Ring::now();
  if (noted_.size() > 200) noted_.clear();
  auto [place, fresh] = noted_.try_emplace(subject, now);
  if (!fresh && now - place->second < kNoteInterval) return;
  place->second = now;
  note_(text);
}

// ---- Listening ----

void MirrorConnect::listen() { try_listen(); }

void MirrorConnect::try_listen() {
  auto listener = open_listener(settings_.listen_address, settings_.port);
  if (!listener) {
    // A killed predecessor's socket may linger for a moment.
    if (++listen_failures_ >= kListenPatience) note_at_times("listen", listener.error().message);
    ring_.after(kRetry, [this] { try_listen(); });
    return;
  }
  listener_ = std::move(*listener);
  watch_listener();
}

void MirrorConnect::watch_listener() {
  listening_ = ring_.poll(listener_.get(), POLLIN, [this](int result) {
    if (result == -ECANCELED) return;
    accept_all();
    watch_listener();
  });
}

void MirrorConnect::accept_all() {
  while (true) {
    sockaddr_in from{};
    socklen_t size = sizeof from;
    OwnedFd socket(accept4(listener_.get(), reinterpret_cast<sockaddr*>(&from), &size, SOCK_CLOEXEC));
    if (!socket) return;
    char text[INET_ADDRSTRLEN] = "?";
    inet_ntop(AF_INET, &from.sin_addr, text, sizeof text);
    adopt(std::move(socket), text, LinkSide::kAcceptor);
  }
}

// ---- Connecting ----

void MirrorConnect::want(bool wanted) {
  if (wanted == wanted_) return;
  wanted_ = wanted;
  next_address_ = 0;
  if (wanted) {
    connect_next();
  } else {
    ring_.cancel_timer(retry_timer_);
    ++attempt_;
    attempting_ = false;
  }
}

void MirrorConnect::connect_next() {
  if (!wanted_ || current_ || attempting_ || settings_.peer_addresses.empty()) return;
  ring_.cancel_timer(retry_timer_);
  connect_to(settings_.peer_addresses[next_address_ % settings_.peer_addresses.size()]);
}

void MirrorConnect::connect_to(const std::string& address) {
  attempting_ = true;
  const uint64_t attempt = ++attempt_;
  auto parsed = parse_address(address, settings_.port);
  if (!parsed) return attempt_failed(address, parsed.error().message);
  OwnedFd socket(::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!socket) return attempt_failed(address, errno_text());
  if (::connect(socket.get(), reinterpret_cast<const sockaddr*>(&*parsed), sizeof *parsed) != 0 && errno != EINPROGRESS) {
    return attempt_failed(address, errno_text());
  }
  const int fd = socket.get();
  auto shared = std::make_shared<OwnedFd>(std::move(socket));
  const auto operation =
      ring_.poll(fd, POLLOUT, [this, attempt, shared, text = std::make_shared<std::string>(address)](int result) {
        connected_or_not(attempt, std::move(*shared), *text, result);
      });
  ring_.after(kConnectLimit, [this, operation] { ring_.cancel(operation); });
}

void MirrorConnect::connected_or_not(uint64_t attempt, OwnedFd socket, const std::string& address, int poll_result) {
  if (attempt != attempt_) return;  // no longer wanted
  if (poll_result == -ECANCELED) return attempt_failed(address, "no answer");
  int error = 0;
  socklen_t size = sizeof error;
  if (getsockopt(socket.get(), SOL_SOCKET, SO_ERROR, &error, &size) != 0) error = errno;
  if (error != 0) return attempt_failed(address, errno_text(error));
  const int flags = fcntl(socket.get(), F_GETFL);
  fcntl(socket.get(), F_SETFL, flags & ~O_NONBLOCK);
  adopt(std::move(socket), address, LinkSide::kConnector);
}

void MirrorConnect::attempt_failed(const std::string& address, const std::string& reason) {
  attempting_ = false;
  if (!wanted_ || current_) return;
  note_at_times("connect " + address, fmt::format("the mirror connect to server {} at {}:{} cannot be made: {}; trying again",
                                                  settings_.peer, address, settings_.port, reason));
  // Every address in turn, then a pause.
  next_address_ = (next_address_ + 1) % std::max<size_t>(1, settings_.peer_addresses.size());
  const Duration pause = next_address_ == 0 ? kRetry : Duration::zero();
  ring_.cancel_timer(retry_timer_);
  retry_timer_ = ring_.after(pause, [this] { connect_next(); });
}

// ---- Connections ----

void MirrorConnect::adopt(OwnedFd socket, const std::string& address, LinkSide side) {
  tune(socket.get());
  if (handshakes_.size() >= kMaxHandshakes) {
    handshakes_.front()->close();
    handshakes_.erase(handshakes_.begin());
  }
  auto connection = std::make_shared<LinkConnection>(
      ring_, pool_, *this, std::move(socket), address,
      LinkHandshake(settings_.key, side, settings_.mirror, settings_.self, settings_.peer));
  handshakes_.push_back(connection);
  if (side == LinkSide::kConnector) outgoing_ = connection;
  ring_.after(kHandshakeLimit, [this, weak = std::weak_ptr(connection)] {
    auto late = weak.lock();
    if (!late || std::find(handshakes_.begin(), handshakes_.end(), late) == handshakes_.end()) return;
    late->close();
    link_ended(*late, "it did not prove itself in time", true);
  });
  connection->start();
}

void MirrorConnect::forget(LinkConnection& connection) {
  std::erase_if(handshakes_, [&](const auto& known) { return known.get() == &connection; });
  if (outgoing_.get() == &connection) {
    outgoing_.reset();
    attempting_ = false;
  }
}

void MirrorConnect::link_authenticated(LinkConnection& connection) {
  auto kept = connection.shared_from_this();
  forget(connection);
  drop_current("a newer connection was made");
  current_ = std::move(kept);
  current_->id = ++last_id_;
  next_address_ = 0;
  noted_.clear();
  emit_(LinkUp{current_->id});
}

void MirrorConnect::link_received(LinkConnection& connection, Message message, BufferId buffer) {
  if (&connection != current_.get()) {
    if (buffer != 0) pool_.release(buffer);
    return;
  }
  emit_(MessageReceived{connection.id, std::move(message), buffer});
}

void MirrorConnect::link_ended(LinkConnection& connection, const std::string& reason, bool intruder) {
  auto kept = connection.shared_from_this();
  if (current_ == kept) {
    current_.reset();
    emit_(LinkDown{connection.id, reason});
    connect_next();
    return;
  }
  const bool ours = outgoing_ == kept;
  forget(connection);
  if (intruder) {
    note_at_times("intruder " + connection.address(),
                  fmt::format("a mirror connect {} {} was refused: {}", ours ? "to" : "from", connection.address(), reason));
  }
  if (ours) attempt_failed(connection.address(), reason + ". Is its cluster key the same?");
}

void MirrorConnect::drop_current(const std::string& reason) {
  if (!current_) return;
  auto old = std::exchange(current_, nullptr);
  old->close();
  emit_(LinkDown{old->id, reason});
}

void MirrorConnect::send(ConnectionId connection, const Message& message, BufferId buffer) {
  if (current_ && current_->id == connection) current_->send(message, buffer);
}

void MirrorConnect::close(ConnectionId connection, const std::string& reason) {
  if (!current_ || current_->id != connection) return;
  drop_current(reason);
  // Not at once: what made us close it would most likely still be so.
  if (!wanted_) return;
  ring_.cancel_timer(retry_timer_);
  retry_timer_ = ring_.after(kRetry, [this] { connect_next(); });
}

void MirrorConnect::flush() {
  if (current_) current_->flush();
}

}  // namespace baton::mirror
