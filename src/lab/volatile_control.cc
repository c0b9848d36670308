// The control socket of a volatile disk; see volatile_control.h. A thread of its own.
#include "src/lab/volatile_control.h"

#include <fmt/format.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstring>
#include <nlohmann/json.hpp>
#include <sstream>

namespace baton::lab {
namespace {

using nlohmann::ordered_json;

constexpr unsigned kSlowest = 10000;  // a disk that stands still longer has failed
constexpr const char* kDiskPlace = "/var/lib/baton/";  // where the server sees the disk
constexpr const char* kUsage =
    "unknown command; the disk knows: full on|off, slow MS (0 to 10000), eio PATH on|off, lossy-flush PATH on|off, stats";

ordered_json lose(uint64_t seed, fuse_session* session, VolatileNodes& nodes) {
  // First the kernel hands over dirty pages of shared mappings: they too are unsynced writes. Afterwards it
  // must forget what it has read of data that is lost now.
  drop_kernel_caches(session, nodes);
  auto losses = nodes.lose(seed);
  drop_kernel_caches(session, nodes);
  return {{"seed", seed},        {"unsynced", losses.unsynced}, {"dropped", losses.dropped},
          {"torn", losses.torn}, {"kept", losses.kept},         {"cut_back", losses.cut_back}};
}

ordered_json set_fault(const std::string& fault, std::string path, bool on, fuse_session* session, VolatileNodes& nodes) {
  if (path.compare(0, strlen(kDiskPlace), kDiskPlace) == 0) path.erase(0, strlen(kDiskPlace));
  while (!path.empty() && path[0] == '/') path.erase(0, 1);
  int error = fault == "eio" ? nodes.set_failing(path, on) : nodes.set_losing(path, on);
  if (error != 0) {
    return {{"error", fmt::format("{}: {} (give a path below /var/lib/baton)", path, strerror(error))}};
  }
  drop_kernel_caches(session, nodes);
  return {{fault, on}, {"path", path}};
}

bool is_delay(const std::string& word, unsigned& milliseconds) {
  const char* end = word.data() + word.size();
  auto read = std::from_chars(word.data(), end, milliseconds);
  return read.ec == std::errc() && read.ptr == end && milliseconds <= kSlowest;
}

void serve_one(int connection, fuse_session* session, VolatileNodes& nodes) {
  timeval patience{5, 0};
  setsockopt(connection, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  std::string command;
  char buffer[1024];
  while (command.find('\n') == std::string::npos) {
    ssize_t count = recv(connection, buffer, sizeof buffer, 0);
    if (count <= 0) return;
    command.append(buffer, size_t(count));
  }
  auto answer = answer_control(command.substr(0, command.find('\n')), session, nodes) + "\n";
  (void)send(connection, answer.data(), answer.size(), MSG_NOSIGNAL);
}

}  // namespace

int listen_control(const std::string& path) {
  sockaddr_un name{.sun_family = AF_UNIX};
  if (path.size() >= sizeof name.sun_path) {
    errno = ENAMETOOLONG;
    return -1;
  }
  memcpy(name.sun_path, path.c_str(), path.size() + 1);
  int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (listener < 0) return -1;
  if (bind(listener, reinterpret_cast<sockaddr*>(&name), sizeof name) != 0 || listen(listener, 8) != 0) {
    close(listener);
    return -1;
  }
  return listener;
}

void serve_control(int listener, fuse_session* session, VolatileNodes& nodes) {
  while (true) {
    int connection = accept4(listener, nullptr, nullptr, SOCK_CLOEXEC);
    if (connection < 0) continue;
    serve_one(connection, session, nodes);
    close(connection);
  }
}

std::string answer_control(const std::string& command, fuse_session* session, VolatileNodes& nodes) {
  std::istringstream words(command);
  std::string verb, first, second;
  words >> verb >> first >> second;
  auto is_switch = [](const std::string& word) { return word == "on" || word == "off"; };
  ordered_json answer = {{"error", kUsage}};
  if (verb == "lose") {
    answer = lose(strtoull(first.c_str(), nullptr, 10), session, nodes);
  } else if (verb == "full" && is_switch(first)) {
    nodes.full = first == "on";
    answer = {{"full", first == "on"}};
  } else if (unsigned delay = 0; verb == "slow" && is_delay(first, delay)) {
    nodes.slow_ms = delay;
    answer = {{"slow_ms", delay}};
  } else if ((verb == "eio" || verb == "lossy-flush") && is_switch(second)) {
    answer = set_fault(verb, first, second == "on", session, nodes);
  } else if (verb == "stats") {
    answer = {{"unsynced_bytes", nodes.unsynced_bytes()}, {"full", nodes.full.load()}, {"slow_ms", nodes.slow_ms.load()}};
  }
  return answer.dump();
}

}  // namespace baton::lab
