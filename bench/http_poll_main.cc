// baton-bench-poll: the client of `script/bench failover`. At each beat it opens a new connection to each address and
// asks; a request that hangs holds up no other. It prints one line for each request that ended, flushed at each beat:
//   TARGET KIND BEGIN_US END_US OUTCOME     monotonic clock; OUTCOME: ok, or what came instead of an answer
// Runs until it is told to end (SIGTERM).
//   baton-bench-poll ADDRESS... [--port N] [--get-us N] [--post-us N] [--get-limit-ms N] [--post-limit-ms N]   0 us: none
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <deque>
#include <map>

#include "bench/bench_support.h"

namespace baton::bench {
namespace {

constexpr const char* kUsage =
    "baton-bench-poll ADDRESS... [--port N] [--get-us N] [--post-us N] [--get-limit-ms N] [--post-limit-ms N]";

volatile sig_atomic_t ended = 0;

int64_t now_us() {
  return std::chrono::duration_cast<std::chrono::microseconds>(Clock::now().time_since_epoch()).count();
}

struct Kind {
  const char* name;
  std::string request;
  int64_t interval_us;
  int64_t limit_us;
  int64_t next_us;
};

struct Request {
  size_t target = 0;
  const Kind* kind = nullptr;
  int64_t begun_us = 0;
  bool asked = false;
  std::string answer;
};

class Poller {
 public:
  Poller(const Options& options) : targets_(options.files()), epoll_(must_call(::epoll_create1(EPOLL_CLOEXEC), "epoll")) {
    const auto add = [&](const char* name, const char* verb, const char* interval, uint64_t usual, const char* limit) {
      const auto every = static_cast<int64_t>(options.number(interval, usual));
      if (every == 0) return;
      kinds_.push_back({name, fmt::format("{} / HTTP/1.1\r\nHost: baton\r\nContent-Length: 0\r\n\r\n", verb), every,
                        static_cast<int64_t>(options.number(limit, 1000)) * 1000, now_us()});
    };
    kinds_.reserve(2);
    add("get", "GET", "--get-us", 5000, "--get-limit-ms");
    add("post", "POST", "--post-us", 0, "--post-limit-ms");
    for (const auto& target : targets_) {
      sockaddr_in place{};
      place.sin_family = AF_INET;
      place.sin_port = htons(static_cast<uint16_t>(options.number("--port", 8080)));
      if (::inet_pton(AF_INET, target.c_str(), &place.sin_addr) != 1) give_up(target + " is no IPv4 address");
      places_.push_back(place);
    }
  }

  void run() {
    while (!ended) {
      int64_t next = now_us() + 100000;
      for (auto& kind : kinds_) {
        beat(kind);
        next = std::min(next, kind.next_us);
      }
      expire();
      std::fflush(stdout);
      wait(next);
    }
    std::fflush(stdout);
  }

 private:
  void beat(Kind& kind) {
    if (now_us() < kind.next_us) return;
    for (size_t target = 0; target < targets_.size(); ++target) begin(kind, target);
    // Beats that could not be kept are left out: they would only come in a heap.
    kind.next_us = std::max(kind.next_us + kind.interval_us, now_us());
  }

  void begin(const Kind& kind, size_t target) {
    Request request{.target = target, .kind = &kind, .begun_us = now_us(), .asked = false, .answer = {}};
    const int socket = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (socket < 0) return report(request, std::strerror(errno));
    const linger at_once{.l_onoff = 1, .l_linger = 0};  // no ports that wait for stray packets
    ::setsockopt(socket, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    const auto* place = reinterpret_cast<const sockaddr*>(&places_[target]);
    if (::connect(socket, place, sizeof places_[target]) != 0 && errno != EINPROGRESS) {
      report(request, std::strerror(errno));
      ::close(socket);
      return;
    }
    epoll_event event{.events = EPOLLOUT | EPOLLRDHUP, .data = {.fd = socket}};
    ::epoll_ctl(epoll_, EPOLL_CTL_ADD, socket, &event);
    order_[kind.name].push_back({request.begun_us, socket});
    requests_[socket] = request;
  }

  void wait(int64_t until_us) {
    const int64_t left = std::max<int64_t>(until_us - now_us(), 0);
    const timespec limit{.tv_sec = left / 1000000, .tv_nsec = (left % 1000000) * 1000};
    epoll_event events[64];
    const int count = ::epoll_pwait2(epoll_, events, 64, &limit, nullptr);
    for (int i = 0; i < count; ++i) progress(events[i].data.fd);
  }

  void progress(int socket) {
    Request& request = requests_.at(socket);
    if (!request.asked) {
      int problem = 0;
      socklen_t size = sizeof problem;
      ::getsockopt(socket, SOL_SOCKET, SO_ERROR, &problem, &size);
      const std::string& text = request.kind->request;
      if (problem == 0 && ::send(socket, text.data(), text.size(), MSG_NOSIGNAL) < 0) problem = errno;
      if (problem != 0) return end(socket, std::strerror(problem));
      request.asked = true;
      epoll_event event{.events = EPOLLIN | EPOLLRDHUP, .data = {.fd = socket}};
      ::epoll_ctl(epoll_, EPOLL_CTL_MOD, socket, &event);
      return;
    }
    char buffer[1024];
    const ssize_t count = ::recv(socket, buffer, sizeof buffer, 0);
    if (count < 0 && errno == EAGAIN) return;
    if (count <= 0) return end(socket, count == 0 ? "closed" : std::strerror(errno));
    request.answer.append(buffer, static_cast<size_t>(count));
    if (request.answer.find("\r\n\r\n") == std::string::npos) return;
    end(socket, request.answer.starts_with("HTTP/1.1 200 ") ? "ok" : request.answer.substr(9, 3));
  }

  void end(int socket, const std::string& outcome) {
    report(requests_.at(socket), outcome);
    requests_.erase(socket);
    ::close(socket);
  }

  /// Requests of one kind end in the order in which they began, or earlier.
  void expire() {
    for (auto& kind : kinds_) {
      auto& order = order_[kind.name];
      while (!order.empty()) {
        const auto [begun, socket] = order.front();
        const auto found = requests_.find(socket);
        const bool present = found != requests_.end() && found->second.begun_us == begun && found->second.kind == &kind;
        if (present && now_us() < begun + kind.limit_us) break;
        order.pop_front();
        if (present) end(socket, "no answer in time");
      }
    }
  }

  void report(const Request& request, std::string outcome) {
    for (auto& letter : outcome)
      if (letter == ' ') letter = '-';
    fmt::print("{} {} {} {} {}\n", request.target, request.kind->name, request.begun_us, now_us(), outcome);
  }

  std::vector<std::string> targets_;
  std::vector<sockaddr_in> places_;
  int epoll_;
  std::vector<Kind> kinds_;
  std::map<int, Request> requests_;
  std::map<std::string, std::deque<std::pair<int64_t, int>>> order_;
};

}  // namespace
}  // namespace baton::bench

int main(int argc, char** argv) {
  using namespace baton::bench;
  const Options options(argc, argv, {"--port=", "--get-us=", "--post-us=", "--get-limit-ms=", "--post-limit-ms="}, kUsage);
  ::signal(SIGTERM, [](int) { ended = 1; });
  Poller(options).run();
  return 0;
}
