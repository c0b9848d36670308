// See join_door.h.
#include "src/daemon/join_door.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <spdlog/spdlog.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <future>

#include <nlohmann/json.hpp>

#include "src/format/join_channel.h"
#include "src/os/event_loop.h"

namespace baton {
namespace {

constexpr Duration kChannelLimit = 10s;  // for each step of a connection
constexpr Duration kAnswerLimit = 15s;   // of the cluster
constexpr int kLookAgainMs = 200;        // whether it is closing

std::string refusal(const std::string& why) { return nlohmann::json{{"error", why}}.dump(); }

}  // namespace

Result<std::unique_ptr<JoinDoor>> JoinDoor::open(uint16_t port, Post post, Handler handler) {
  const int listener = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (listener < 0) return fail("cannot make a socket: {}", std::strerror(errno));
  const int on = 1;
  ::setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  sockaddr_in place{};
  place.sin_family = AF_INET;
  place.sin_port = htons(port);
  socklen_t size = sizeof place;
  if (::bind(listener, reinterpret_cast<sockaddr*>(&place), sizeof place) != 0 || ::listen(listener, 8) != 0 ||
      ::getsockname(listener, reinterpret_cast<sockaddr*>(&place), &size) != 0) {
    const int reason = errno;
    ::close(listener);
    return fail("cannot listen on TCP port {} for servers that join: {}", port, std::strerror(reason));
  }
  return std::unique_ptr<JoinDoor>(new JoinDoor(listener, ntohs(place.sin_port), std::move(post), std::move(handler)));
}

JoinDoor::JoinDoor(int listener, uint16_t port, Post post, Handler handler)
    : listener_(listener), port_(port), post_(std::move(post)), handler_(std::move(handler)), thread_([this] { run(); }) {}

JoinDoor::~JoinDoor() {
  closing_ = true;
  thread_.join();
  ::close(listener_);
}

void JoinDoor::add(const JoinToken& token, Instant ends) {
  const std::lock_guard lock(mutex_);
  tokens_[token.id] = Known{token.secret, ends, false};
}

void JoinDoor::run() {
  while (!closing_) {
    pollfd wait{listener_, POLLIN, 0};
    if (::poll(&wait, 1, kLookAgainMs) != 1) continue;
    const int connection = ::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
    if (connection >= 0) serve(connection);
  }
}

void JoinDoor::serve(int connection) {
  const auto find = [this](const std::string& id) {
    const std::lock_guard lock(mutex_);
    const auto known = tokens_.find(id);
    return known == tokens_.end() ? std::string() : known->second.secret;
  };
  auto channel = JoinChannel::accept(connection, find, kChannelLimit);
  if (!channel) {
    spdlog::warn("somebody without a token that is good here tried to join: {}", channel.error().message);
    return;
  }
  const auto line = (*channel)->receive();
  if (!line) return;
  const std::string answer = ask_the_loop(*line, (*channel)->token_id());
  if (auto sent = (*channel)->send(answer); !sent) spdlog::warn("the joining server was not answered: {}", sent.error().message);
}

std::string JoinDoor::why_not(const std::string& id) {
  const std::lock_guard lock(mutex_);
  const auto known = tokens_.find(id);
  if (known == tokens_.end()) return "this token is not known";
  if (known->second.used) return "this token has been used: each is for one server; get another one with `baton cluster token`";
  if (EventLoop::now() >= known->second.ends) return "this token has ended: get another one with `baton cluster token`";
  return {};
}

std::string JoinDoor::ask_the_loop(const std::string& line, const std::string& id) {
  if (const auto why = why_not(id); !why.empty()) return refusal(why);
  auto promise = std::make_shared<std::promise<std::pair<std::string, bool>>>();
  auto future = promise->get_future();
  post_([this, line, promise, told = std::make_shared<bool>(false)] {
    if (closing_) return;
    handler_(line, [promise, told](const std::string& answer, bool used) {
      if (!std::exchange(*told, true)) promise->set_value({answer, used});
    });
  });
  for (Duration waited{}; future.wait_for(milliseconds(kLookAgainMs)) != std::future_status::ready;) {
    waited += milliseconds(kLookAgainMs);
    if (closing_ || waited > kAnswerLimit)
      return refusal("the cluster did not decide in time: look at `baton status` there, then try again with the same token");
  }
  const auto [answer, used] = future.get();
  const std::lock_guard lock(mutex_);
  tokens_[id].used = used;
  return answer;
}

}  // namespace baton
