// Lines over a unix socket, non-blocking. One thread: the loop's.
#include "src/daemon/line_client.h"

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace baton {

namespace {
constexpr size_t kMostQueued = 4 * 1024 * 1024;
constexpr size_t kLongestLine = 1024 * 1024;
}  // namespace

Result<std::unique_ptr<LineClient>> LineClient::connect(EventLoop& loop, const std::string& path, Callbacks callbacks) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path) return fail("socket path {} is too long", path);
  std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
  const int fd = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) return fail("cannot make a socket: {}", std::strerror(errno));
  if (::connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) {
    const int error = errno;
    ::close(fd);
    return fail_as(ErrorCode::kUnavailable, "cannot connect to {}: {}", path, std::strerror(error));
  }
  return std::unique_ptr<LineClient>(new LineClient(loop, fd, path, std::move(callbacks)));
}

LineClient::LineClient(EventLoop& loop, int fd, std::string path, Callbacks callbacks)
    : loop_(loop), fd_(fd), path_(std::move(path)), callbacks_(std::move(callbacks)) {
  readable_ = loop_.watch_readable(fd_, [this] { read_some(); });
}

LineClient::~LineClient() { ::close(fd_); }

void LineClient::send(const std::string& line) {
  if (lost_) return;
  output_ += line;
  output_ += '\n';
  write_some();
}

int LineClient::peer_process() const {
  ucred credentials{};
  socklen_t size = sizeof credentials;
  if (::getsockopt(fd_, SOL_SOCKET, SO_PEERCRED, &credentials, &size) != 0) return 0;
  return credentials.pid;
}

void LineClient::read_some() {
  char chunk[16384];
  const ssize_t got = ::recv(fd_, chunk, sizeof chunk, 0);
  if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (got <= 0) return lose(got == 0 ? "it closed the connection" : std::strerror(errno));
  input_.append(chunk, static_cast<size_t>(got));
  size_t begin = 0;
  for (size_t end; !lost_ && (end = input_.find('\n', begin)) != std::string::npos; begin = end + 1)
    callbacks_.on_line(input_.substr(begin, end - begin));
  input_.erase(0, begin);
  if (input_.size() > kLongestLine) lose("it sent a line without an end");
}

void LineClient::write_some() {
  while (!output_.empty() && !lost_) {
    const ssize_t sent = ::send(fd_, output_.data(), output_.size(), MSG_NOSIGNAL);
    if (sent > 0) {
      output_.erase(0, static_cast<size_t>(sent));
      continue;
    }
    if (errno == EINTR) continue;
    if (errno != EAGAIN) return lose(std::strerror(errno));
    if (output_.size() > kMostQueued) return lose("it does not read what it is sent");
    if (!writable_.active())
      writable_ = loop_.watch_writable(fd_, [this] { write_some(); });
    return;
  }
  writable_.cancel();
}

void LineClient::lose(const std::string& reason) {
  if (lost_) return;
  lost_ = true;
  readable_.cancel();
  writable_.cancel();
  // From the loop, so that the owner may destroy this object in the callback.
  loop_.post([on_lost = callbacks_.on_lost, text = fmt::format("{}: {}", path_, reason)] { on_lost(text); });
}

}  // namespace baton
