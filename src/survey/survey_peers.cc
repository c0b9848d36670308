// The ways to the other servers, asked by ICMP, which a server's kernel answers before anything of Baton runs there: does a full
// packet pass undivided, and what time is it there?
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/ip_icmp.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <net/if.h>
#include <ifaddrs.h>
#include <unistd.h>

#include <cerrno>
#include <cmath>
#include <cstring>
#include <ctime>
#include <optional>

#include <fmt/format.h>

#include "src/survey/icmp_socket.h"
#include "src/survey/preflight.h"

namespace baton::survey {
namespace {

constexpr int kTries = 3;
constexpr auto kAnswerLimit = 400ms;
constexpr int64_t kDayMs = 86400000;
constexpr double kWarnSkewMs = 1000;

double now_ms(clockid_t clock) {
  timespec time{};
  clock_gettime(clock, &time);
  return static_cast<double>(time.tv_sec) * 1000 + static_cast<double>(time.tv_nsec) / 1e6;
}

int mtu_of(const std::string& address) {
  ifaddrs* list = nullptr;
  in_addr wanted{};
  inet_pton(AF_INET, address.c_str(), &wanted);
  if (getifaddrs(&list) != 0) return 0;
  ifreq request{};
  for (const ifaddrs* one = list; one != nullptr; one = one->ifa_next) {
    if (one->ifa_addr == nullptr || one->ifa_addr->sa_family != AF_INET) continue;
    if (reinterpret_cast<const sockaddr_in*>(one->ifa_addr)->sin_addr.s_addr == wanted.s_addr)
      std::strncpy(request.ifr_name, one->ifa_name, IFNAMSIZ - 1);
  }
  freeifaddrs(list);
  const int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  const bool known = request.ifr_name[0] != 0 && ioctl(fd, SIOCGIFMTU, &request) == 0;
  close(fd);
  return known ? request.ifr_mtu : 0;
}

bool answers(IcmpSocket& socket, size_t size) {
  for (int attempt = 0; attempt < kTries; ++attempt)
    if (socket.echo(size, kAnswerLimit)) return true;
  return false;
}

/// The peer's clock against this one, and how uncertain that is; milliseconds since midnight are all that ICMP carries.
std::optional<std::pair<double, double>> clock_skew(IcmpSocket& socket) {
  std::optional<std::pair<double, double>> best;
  for (int attempt = 0; attempt < kTries; ++attempt) {
    const double sent = now_ms(CLOCK_REALTIME), begin = now_ms(CLOCK_MONOTONIC);
    const auto answer = socket.ask(ICMP_TIMESTAMP, ICMP_TIMESTAMPREPLY, 20, kAnswerLimit);
    const double trip = now_ms(CLOCK_MONOTONIC) - begin;
    if (!answer || answer->size() < 20) continue;
    uint32_t there = 0;
    std::memcpy(&there, answer->data() + 12, 4);
    there = ntohl(there);
    if (there >= kDayMs) continue;  // its clock counts in another way, and says so
    double skew = static_cast<double>(there) - std::fmod(sent + trip / 2, static_cast<double>(kDayMs));
    if (skew > kDayMs / 2.0) skew -= static_cast<double>(kDayMs);
    if (skew < -kDayMs / 2.0) skew += static_cast<double>(kDayMs);
    if (!best || trip < best->second) best = {skew, trip};
  }
  return best;
}

Finding check_path(IcmpSocket& socket, const std::string& way, int mtu, bool& reached) {
  Finding finding{.check = "mtu", .subject = way};
  reached = socket.good() && answers(socket, 64);
  if (!reached) {
    finding.verdict = Verdict::kUnknown;
    finding.text = socket.good() ? "it does not answer pings (off, not connected, or a firewall)" : "needs root";
    return finding;
  }
  if (mtu == 0 || answers(socket, static_cast<size_t>(mtu) - 20)) {
    finding.text = fmt::format("packets of {} bytes pass undivided", mtu);
    return finding;
  }
  size_t passes = 64, fails = static_cast<size_t>(mtu) - 20;
  while (fails - passes > 8) {
    const size_t middle = (passes + fails) / 2;
    (answers(socket, middle) ? passes : fails) = middle;
  }
  finding.verdict = Verdict::kProblem;
  finding.text = fmt::format("packets of {} bytes (the MTU here) get lost; about {} bytes pass", mtu, passes + 20);
  finding.remedy = "set the same MTU on both servers and every switch between, or a smaller one on both servers";
  return finding;
}

}  // namespace

Finding judge_clock(const std::string& peer, double skew_ms, double round_trip_ms) {
  Finding finding{.check = "clock", .subject = peer};
  finding.text = fmt::format("its clock is {:.0f} ms {} this one (within {:.0f} ms)", std::abs(skew_ms),
                             skew_ms < 0 ? "behind" : "ahead of", round_trip_ms / 2 + 1);
  if (std::abs(skew_ms) > kWarnSkewMs + round_trip_ms / 2) {
    // Leases run on monotonic clocks: only certificates, and people who read logs, suffer from it.
    finding.verdict = Verdict::kWarning;
    finding.remedy = "run chrony or systemd-timesyncd on every server: events of different servers cannot be compared, and "
                     "beyond a day certificates are not valid";
  }
  return finding;
}

void check_peers(const PreflightOptions& options, Findings& findings) {
  const auto* own = options.configuration->server(options.self);
  for (const auto& server : options.configuration->servers) {
    if (server.id == options.self) continue;
    bool asked = false;
    for (size_t link = 0; link < own->interconnects.size() && link < server.interconnects.size(); ++link) {
      IcmpSocket socket(own->interconnects[link], server.interconnects[link]);
      const std::string way = fmt::format("link {} to {}", link, server.name);
      bool reached = false;
      findings.push_back(check_path(socket, way, mtu_of(own->interconnects[link]), reached));
      if (!reached || asked) continue;
      const auto skew = clock_skew(socket);
      if (!skew) continue;
      asked = true;
      findings.push_back(judge_clock(server.name, skew->first, skew->second));
    }
    if (!asked) findings.push_back({"clock", server.name, Verdict::kUnknown, "its kernel does not tell the time", ""});
  }
}

}  // namespace baton::survey
