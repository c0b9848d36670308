// A client is kept alive by its operations under way, as a connection of the mirror connect is.
#include "src/mirror/control_server.h"

#include <spdlog/spdlog.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <algorithm>
#include <array>

namespace baton::mirror {
namespace {

constexpr size_t kMaxLine = 1u << 20;
constexpr size_t kMaxUnsent = 4u << 20;

}  // namespace

struct ControlServer::Client {
  OwnedFd socket;
  std::array<char, 16384> chunk;
  std::string input;
  std::string sending;
  std::string queued;
  iovec vector{};
  msghdr message{};
  bool send_under_way = false;
  bool gone = false;
};

ControlServer::ControlServer(Ring& ring, OnRequest on_request, Welcome welcome)
    : ring_(ring), on_request_(std::move(on_request)), welcome_(std::move(welcome)) {}

ControlServer::~ControlServer() { close(); }

Status ControlServer::listen(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.empty() || path.size() >= sizeof address.sun_path) {
    return fail_as(ErrorCode::kInvalid, "the control socket's path \"{}\" is empty or longer than {} bytes", path,
                   sizeof address.sun_path - 1);
  }
  path.copy(address.sun_path, path.size());
  listener_ = OwnedFd(socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!listener_) return fail("cannot make the control socket: {}", errno_text());
  unlink(path.c_str());
  const mode_t old_mask = umask(0177);
  const int bound = bind(listener_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address);
  const int error = errno;
  umask(old_mask);
  if (bound != 0) return fail("cannot make the control socket {}: {}. Its directory must exist", path, errno_text(error));
  if (::listen(listener_.get(), 8) != 0) return fail("cannot listen on {}: {}", path, errno_text());
  path_ = path;
  watch_listener();
  return {};
}

void ControlServer::close() {
  if (!path_.empty()) unlink(path_.c_str());
  path_.clear();
  for (auto& client : clients_) {
    client->gone = true;
    ::shutdown(client->socket.get(), SHUT_RDWR);
  }
  clients_.clear();
}

void ControlServer::watch_listener() {
  ring_.poll(listener_.get(), POLLIN, [this](int result) {
    if (result == -ECANCELED || path_.empty()) return;
    accept_all();
    watch_listener();
  });
}

void ControlServer::accept_all() {
  while (true) {
    OwnedFd socket(accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
    if (!socket) return;
    ucred peer{};
    socklen_t size = sizeof peer;
    if (getsockopt(socket.get(), SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0 || peer.uid != 0) {
      spdlog::warn("a connection of user {} (process {}) to the control socket was refused: only root may", peer.uid,
                   peer.pid);
      continue;
    }
    auto client = std::make_shared<Client>();
    client->socket = std::move(socket);
    clients_.push_back(client);
    for (const auto& notice : welcome_()) send_line(client, mirror_control::encode(notice));
    receive_more(client);
  }
}

void ControlServer::receive_more(const std::shared_ptr<Client>& client) {
  ring_.receive(client->socket.get(), client->chunk.data(), static_cast<uint32_t>(client->chunk.size()),
                [this, client](int result) { received(client, result); });
}

void ControlServer::received(const std::shared_ptr<Client>& client, int result) {
  if (client->gone) return;
  if (result == -EINTR || result == -EAGAIN) return receive_more(client);
  if (result <= 0) return drop(client, "");
  client->input.append(client->chunk.data(), static_cast<size_t>(result));
  take_lines(client);
  if (client->gone) return;
  if (client->input.size() > kMaxLine) return drop(client, "it sent a line without end");
  receive_more(client);
}

void ControlServer::take_lines(const std::shared_ptr<Client>& client) {
  size_t start = 0;
  for (size_t end = 0; !client->gone && (end = client->input.find('\n', start)) != std::string::npos; start = end + 1) {
    auto request = mirror_control::decode_request(client->input.substr(start, end - start));
    if (request) {
      on_request_(*request);
    } else {
      // A newer batond may ask for what this program does not know: it is told, and goes on.
      spdlog::warn("control socket: {}", request.error().message);
      send_line(client, mirror_control::encode(mirror_control::Notice(
                            mirror_control::Failed{"unknown", request.error().message})));
    }
  }
  client->input.erase(0, start);
}

void ControlServer::notify(const mirror_control::Notice& notice) {
  const std::string line = mirror_control::encode(notice);
  const auto clients = clients_;  // sending may drop one
  for (const auto& client : clients) send_line(client, line);
}

void ControlServer::send_line(const std::shared_ptr<Client>& client, const std::string& line) {
  if (client->gone) return;
  if (client->queued.size() + line.size() > kMaxUnsent) return drop(client, "it does not read");
  client->queued += line;
  client->queued += '\n';
  if (!client->send_under_way) send_more(client);
}

void ControlServer::send_more(const std::shared_ptr<Client>& client) {
  if (client->sending.empty()) std::swap(client->sending, client->queued);
  if (client->sending.empty() || client->gone) return;
  client->send_under_way = true;
  client->vector = {client->sending.data(), client->sending.size()};
  client->message = {};
  client->message.msg_iov = &client->vector;
  client->message.msg_iovlen = 1;
  ring_.send_message(client->socket.get(), &client->message, [this, client](int result) {
    client->send_under_way = false;
    if (client->gone) return;
    if (result < 0 && result != -EINTR && result != -EAGAIN) return drop(client, "");
    client->sending.erase(0, static_cast<size_t>(std::max(result, 0)));
    send_more(client);
  });
}

void ControlServer::drop(const std::shared_ptr<Client>& client, const std::string& reason) {
  if (client->gone) return;
  client->gone = true;
  if (!reason.empty()) spdlog::warn("a client of the control socket is dropped: {}", reason);
  ::shutdown(client->socket.get(), SHUT_RDWR);
  std::erase(clients_, client);
}

}  // namespace baton::mirror
