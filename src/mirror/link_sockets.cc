// IPv4 alone: the interconnect's addresses are the configuration's.
#include "src/mirror/link_sockets.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include "src/base/assert.h"

namespace baton::mirror {
namespace {

constexpr Duration kRetry = 200ms;
constexpr Duration kConnectLimit = 500ms;
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
                error == EADDRINUSE ? "Another program uses the port: give the mirror another `port`" : "Trying again");
  }
  return fd;
}

/// A socket on its way to the address; its errno in the error's text otherwise.
Result<OwnedFd> begin_connect(const std::string& source, const std::string& address, uint16_t port) {
  auto parsed = parse_address(address, port);
  if (!parsed) return pass(parsed);
  OwnedFd fd(socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!fd) return fail("{}", errno_text());
  if (!source.empty()) {
    auto from = parse_address(source, 0);
    if (!from) return pass(from);
    set_option(fd.get(), IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1);
    if (bind(fd.get(), reinterpret_cast<const sockaddr*>(&*from), sizeof *from) != 0) {
      return fail("this server's own address {} cannot be used: {}", source, errno_text());
    }
  }
  if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&*parsed), sizeof *parsed) != 0 && errno != EINPROGRESS) {
    return fail("{}", errno_text());
  }
  return fd;
}

}  // namespace

// ---- LinkListener ----

LinkListener::LinkListener(Ring& ring, std::string address, uint16_t port, Accepted accepted, Problem problem)
    : ring_(ring), address_(std::move(address)), port_(port), accepted_(std::move(accepted)), problem_(std::move(problem)) {
  try_listen();
}

LinkListener::~LinkListener() {
  if (listening_ != 0) ring_.cancel(listening_);
}

void LinkListener::try_listen() {
  auto listener = open_listener(address_, port_);
  if (!listener) {
    // A killed predecessor's socket may linger for a moment.
    if (++failures_ >= kListenPatience) problem_(listener.error().message);
    ring_.after(kRetry, [this, alive = std::weak_ptr(alive_)] {
      if (!alive.expired()) try_listen();
    });
    return;
  }
  listener_ = std::move(*listener);
  watch();
}

void LinkListener::watch() {
  listening_ = ring_.poll(listener_.get(), POLLIN, [this, alive = std::weak_ptr(alive_)](int result) {
    if (alive.expired() || result == -ECANCELED) return;
    accept_all();
    watch();
  });
}

void LinkListener::accept_all() {
  while (true) {
    sockaddr_in from{};
    socklen_t size = sizeof from;
    OwnedFd socket(accept4(listener_.get(), reinterpret_cast<sockaddr*>(&from), &size, SOCK_CLOEXEC));
    if (!socket) return;
    tune(socket.get());
    char text[INET_ADDRSTRLEN] = "?";
    inet_ntop(AF_INET, &from.sin_addr, text, sizeof text);
    accepted_(std::move(socket), text);
  }
}

// ---- LinkDialer ----

LinkDialer::LinkDialer(Ring& ring, Connected connected, Failed failed)
    : ring_(ring), connected_(std::move(connected)), failed_(std::move(failed)) {}

LinkDialer::~LinkDialer() { give_up(); }

void LinkDialer::dial(const std::string& source, const std::string& address, uint16_t port) {
  BATON_ASSERT(!dialing_);
  dialing_ = true;
  attempt_ = std::make_shared<Attempt>();
  attempt_->dialer = this;
  auto socket = begin_connect(source, address, port);
  if (!socket) return fail_later(EINVAL, socket.error().message);
  attempt_->socket = std::move(*socket);
  polling_ = ring_.poll(attempt_->socket.get(), POLLOUT, [attempt = attempt_](int result) {
    if (attempt->dialer != nullptr) attempt->dialer->finished(attempt, result);
  });
  limit_ = ring_.after(kConnectLimit, [this, attempt = attempt_] {
    if (attempt->dialer != nullptr) ring_.cancel(polling_);
  });
}

void LinkDialer::fail_later(int error, const std::string& text) {
  limit_ = ring_.after(Duration::zero(), [attempt = attempt_, error, text] {
    if (attempt->dialer == nullptr) return;
    LinkDialer& dialer = *attempt->dialer;
    dialer.dialing_ = false;
    dialer.failed_({error, text});
  });
}

void LinkDialer::finished(const std::shared_ptr<Attempt>& attempt, int poll_result) {
  ring_.cancel_timer(limit_);
  dialing_ = false;
  attempt->dialer = nullptr;
  if (poll_result == -ECANCELED) return failed_({ETIMEDOUT, "no answer"});
  int error = 0;
  socklen_t size = sizeof error;
  const int fd = attempt->socket.get();
  if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) != 0) error = errno;
  if (error != 0) return failed_({error, errno_text(error)});
  fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) & ~O_NONBLOCK);
  tune(fd);
  connected_(std::move(attempt->socket));
}

void LinkDialer::give_up() {
  if (!dialing_) return;
  dialing_ = false;
  attempt_->dialer = nullptr;
  ring_.cancel_timer(limit_);
  if (attempt_->socket) ring_.cancel(polling_);
}

}  // namespace baton::mirror
