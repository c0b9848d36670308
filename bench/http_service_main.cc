// baton-bench-service: the service of `script/bench failover`, a small HTTP server. At its start it writes a record to
// its file and flushes it, so that it serves nothing before its mirror takes writes; POST appends another one, flushed
// before the answer; GET answers from memory. One thread for each connection.
//   baton-bench-service FILE [--port N] [--bind ADDRESS]      FILE "-": none, POST is like GET
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <atomic>
#include <cstring>
#include <mutex>
#include <thread>

#include "bench/bench_support.h"

namespace baton::bench {
namespace {

constexpr size_t kLargestRequest = 4096;

/// What the service keeps. Any thread.
class Record {
 public:
  explicit Record(const std::string& path) {
    if (path == "-") return;
    fd_ = must_call(::open(path.c_str(), O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0644), "opening " + path);
  }

  /// True when a record is on the disk.
  bool append() {
    std::lock_guard lock(mutex_);
    const std::string line = fmt::format("{}\n", count_ + 1);
    if (fd_ >= 0 && (::write(fd_, line.data(), line.size()) != static_cast<ssize_t>(line.size()) || ::fdatasync(fd_) != 0))
      return false;
    ++count_;
    return true;
  }
  uint64_t count() const { return count_; }

 private:
  int fd_ = -1;
  std::mutex mutex_;
  std::atomic<uint64_t> count_{0};
};

void answer(int connection, Record& record) {
  const timeval patience{.tv_sec = 5, .tv_usec = 0};
  ::setsockopt(connection, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  std::string request;
  char buffer[kLargestRequest];
  while (request.find("\r\n\r\n") == std::string::npos && request.size() < kLargestRequest) {
    const ssize_t count = ::recv(connection, buffer, sizeof buffer, 0);
    if (count <= 0) break;
    request.append(buffer, static_cast<size_t>(count));
  }
  const bool whole = request.find("\r\n\r\n") != std::string::npos;
  const bool good = whole && (request.starts_with("GET ") || (request.starts_with("POST ") && record.append()));
  const std::string text = fmt::format("HTTP/1.1 {}\r\nContent-Length: 0\r\nX-Records: {}\r\nConnection: close\r\n\r\n",
                                       good ? "200 OK" : whole ? "500 Failed" : "400 Bad", record.count());
  const ssize_t ignored = ::send(connection, text.data(), text.size(), MSG_NOSIGNAL);
  static_cast<void>(ignored);
  ::close(connection);
}

int listen_on(const std::string& address, uint16_t port) {
  const int listener = must_call(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), "making a socket");
  const int yes = 1;
  ::setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
  // The address may come and go beside the service.
  ::setsockopt(listener, IPPROTO_IP, IP_FREEBIND, &yes, sizeof yes);
  sockaddr_in place{};
  place.sin_family = AF_INET;
  place.sin_port = htons(port);
  if (::inet_pton(AF_INET, address.c_str(), &place.sin_addr) != 1) give_up(address + " is no IPv4 address");
  must_call(::bind(listener, reinterpret_cast<sockaddr*>(&place), sizeof place), "binding " + address);
  must_call(::listen(listener, 1024), "listening");
  return listener;
}

int run(int argc, char** argv) {
  const Options options(argc, argv, {"--port=", "--bind="}, "baton-bench-service FILE [--port N] [--bind ADDRESS]");
  ::signal(SIGPIPE, SIG_IGN);
  Record record(options.files().front());
  if (!record.append()) give_up("writing the first record failed: " + std::string(std::strerror(errno)));
  const int listener = listen_on(options.text("--bind", "0.0.0.0"), static_cast<uint16_t>(options.number("--port", 8080)));
  for (;;) {
    const int connection = ::accept4(listener, nullptr, nullptr, SOCK_CLOEXEC);
    if (connection >= 0) std::thread([connection, &record] { answer(connection, record); }).detach();
  }
}

}  // namespace
}  // namespace baton::bench

int main(int argc, char** argv) { return baton::bench::run(argc, argv); }
