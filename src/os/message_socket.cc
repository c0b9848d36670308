// See message_socket.h.
#include "src/os/message_socket.h"

#include <netdb.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <memory>

#include "src/os/event_loop.h"
#include "src/os/owned_fd.h"

namespace baton {

namespace {

constexpr Duration kUnreachableWait = 200ms;  // a host that answers at all says soon that nobody listens
constexpr size_t kDrainBytes = 4096;

/// Milliseconds for poll(), rounded up; 0: over.
int left_ms(Instant until) {
  const Duration left = until - EventLoop::now();
  return left <= Duration{0} ? 0 : static_cast<int>(std::min<int64_t>(to_ms(left) + 1, 600000));
}

std::string last_error() { return errno_text(errno); }

/// What the socket says by itself: a refused connection, an ICMP message.
Status pending_error(int socket) {
  int error = 0;
  socklen_t size = sizeof error;
  if (::getsockopt(socket, SOL_SOCKET, SO_ERROR, &error, &size) != 0) error = errno;
  return error == 0 ? Status{} : fail("{}", errno_text(error));
}

/// False: the time is over.
Result<bool> wait_for(int socket, short events, Instant until) {
  pollfd poller{socket, events, 0};
  const int ready = ::poll(&poller, 1, left_ms(until));
  if (ready < 0 && errno != EINTR) return fail("{}", last_error());
  return ready > 0;
}

Status write_all(int socket, std::string_view message, Instant until) {
  while (!message.empty()) {
    const ssize_t sent = ::send(socket, message.data(), message.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent >= 0) {
      message.remove_prefix(static_cast<size_t>(sent));
      continue;
    }
    if (errno != EAGAIN && errno != EINTR) return fail("{}", last_error());
    const auto ready = wait_for(socket, POLLOUT, until);
    if (!ready) return pass(ready);
    if (!*ready) return fail_as(ErrorCode::kTimeout, "it did not take the message in time");
  }
  return {};
}

/// Closed by the receiver: it has read all. One that keeps its connections open has had the time.
Status read_to_end(int socket, Instant until) {
  if (::shutdown(socket, SHUT_WR) != 0) return fail("{}", last_error());
  char ignored[kDrainBytes];
  while (true) {
    const auto ready = wait_for(socket, POLLIN, until);
    if (!ready) return pass(ready);
    if (!*ready) return {};
    const ssize_t got = ::recv(socket, ignored, sizeof ignored, MSG_DONTWAIT);
    if (got == 0) return {};
    if (got < 0 && errno != EAGAIN && errno != EINTR) return fail("the connection broke: {}", last_error());
  }
}

Status send_stream(int socket, std::string_view message, Instant until) {
  const auto connected = wait_for(socket, POLLOUT, until);
  if (!connected) return pass(connected);
  if (!*connected) return fail_as(ErrorCode::kTimeout, "no connection in time");
  if (auto well = pending_error(socket); !well) return well;
  if (auto written = write_all(socket, message, until); !written) return written;
  return read_to_end(socket, until);
}

Status send_datagram(int socket, std::string_view message, Instant until) {
  if (auto written = write_all(socket, message, until); !written) return written;
  const auto told = wait_for(socket, POLLIN, std::min(until, EventLoop::now() + kUnreachableWait));
  if (!told) return pass(told);
  return *told ? pending_error(socket) : Status{};
}

Status send_local(const std::string& path, std::string_view message, Instant until) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path) return fail_as(ErrorCode::kInvalid, "the path is too long");
  std::copy(path.begin(), path.end(), address.sun_path);
  const OwnedFd socket(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!socket || ::connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0)
    return fail("{}", last_error());
  return write_all(socket.get(), message, until);
}

Status send_to(const addrinfo& address, std::string_view message, Instant until) {
  const OwnedFd socket(::socket(address.ai_family, address.ai_socktype | SOCK_CLOEXEC | SOCK_NONBLOCK, address.ai_protocol));
  if (!socket) return fail("{}", last_error());
  if (::connect(socket.get(), address.ai_addr, address.ai_addrlen) != 0 && errno != EINPROGRESS) return fail("{}", last_error());
  return address.ai_socktype == SOCK_STREAM ? send_stream(socket.get(), message, until) : send_datagram(socket.get(), message, until);
}

}  // namespace

Status send_message(const MessageTarget& target, std::string_view message, Duration limit) {
  const Instant until = EventLoop::now() + limit;
  if (target.kind == MessageTarget::Kind::kLocal) return send_local(target.path, message, until);
  addrinfo hints{};
  hints.ai_socktype = target.kind == MessageTarget::Kind::kTcp ? SOCK_STREAM : SOCK_DGRAM;
  addrinfo* found = nullptr;
  const int resolved = ::getaddrinfo(target.host.c_str(), std::to_string(target.port).c_str(), &hints, &found);
  if (resolved != 0) return fail("{} is not found: {}", target.host, ::gai_strerror(resolved));
  const std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)> addresses(found, ::freeaddrinfo);
  Status sent = fail("{} has no address", target.host);
  for (const addrinfo* address = found; address != nullptr && !sent; address = address->ai_next) sent = send_to(*address, message, until);
  return sent;
}

}  // namespace baton
