// This server's addresses and ports.
#include <arpa/inet.h>
#include <dirent.h>
#include <ifaddrs.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>

#include <fmt/format.h>

#include "src/model/configuration_network.h"
#include "src/survey/preflight.h"
#include "src/survey/socket_address.h"

namespace baton::survey {
namespace {

namespace fs = std::filesystem;

constexpr uint16_t kFirstEnginePort = 5405;

struct OwnAddress {
  std::string interface;
  uint32_t address = 0;
  uint32_t mask = 0;
};

std::vector<OwnAddress> own_addresses() {
  std::vector<OwnAddress> found;
  ifaddrs* list = nullptr;
  if (getifaddrs(&list) != 0) return found;
  for (const ifaddrs* one = list; one != nullptr; one = one->ifa_next) {
    if (one->ifa_addr == nullptr || one->ifa_addr->sa_family != AF_INET) continue;
    const auto number = [](const sockaddr* at) {
      return at == nullptr ? 0 : ntohl(reinterpret_cast<const sockaddr_in*>(at)->sin_addr.s_addr);
    };
    found.push_back({one->ifa_name, number(one->ifa_addr), number(one->ifa_netmask)});
  }
  freeifaddrs(list);
  return found;
}

/// The inode of the socket that has the port, by /proc/net/udp or tcp; empty if there is none.
std::string socket_inode(const char* table, uint16_t port) {
  std::ifstream file(fmt::format("/proc/net/{}", table));
  std::string line;
  std::getline(file, line);
  while (std::getline(file, line)) {
    char local[64] = {}, inode[32] = {};
    unsigned state = 0;
    if (std::sscanf(line.c_str(), " %*d: %63s %*s %x %*s %*s %*s %*s %*s %31s", local, &state, inode) != 3) continue;
    const char* colon = std::strchr(local, ':');
    const bool listens = std::strcmp(table, "udp") == 0 || state == 0x0a;
    if (listens && colon != nullptr && std::strtoul(colon + 1, nullptr, 16) == port) return inode;
  }
  return "";
}

/// "process 17 (nginx)", as far as it can be known.
std::string holder_of(const char* table, uint16_t port) {
  const std::string inode = socket_inode(table, port);
  if (inode.empty()) return "";
  const std::string wanted = "socket:[" + inode + "]";
  std::error_code error;
  for (const auto& process : fs::directory_iterator("/proc", error)) {
    const std::string pid = process.path().filename().string();
    if (!std::isdigit(static_cast<unsigned char>(pid[0]))) continue;
    std::error_code ignored;
    for (const auto& descriptor : fs::directory_iterator(process.path() / "fd", ignored)) {
      std::error_code unread;
      if (fs::read_symlink(descriptor.path(), unread).string() != wanted) continue;
      std::string name;
      std::ifstream(process.path() / "comm") >> name;
      return fmt::format("{} (process {})", name, pid);
    }
  }
  return "a process outside of what can be seen from here";
}

void check_port(const char* table, const std::string& address, uint16_t port, Findings& findings) {
  Finding finding{.check = "ports", .subject = fmt::format("{} {}:{}", table, address, port)};
  const int error = try_port(std::strcmp(table, "udp") == 0 ? SOCK_DGRAM : SOCK_STREAM, address, port);
  if (error == 0) {
    finding.text = "free";
  } else if (error == EADDRINUSE) {
    const std::string holder = holder_of(table, port);
    const bool own = holder.starts_with("corosync") || holder.starts_with("baton");
    finding.verdict = own ? Verdict::kOk : Verdict::kProblem;
    finding.text = "in use by " + (holder.empty() ? "somebody" : holder);
    if (!own) finding.remedy = "end that program, or give it another port";
  } else {
    finding.verdict = Verdict::kUnknown;
    finding.text = fmt::format("cannot be tried: {}", strerror(error));
  }
  findings.push_back(std::move(finding));
}

}  // namespace

int try_port(int type, const std::string& address, uint16_t port) {
  const SocketAddress place(address, port);
  const int fd = socket(place.family(), type | SOCK_CLOEXEC, 0);
  if (fd < 0) return errno;
  const int error = bind(fd, place.plain(), place.length()) == 0 ? 0 : errno;
  close(fd);
  return error;
}

void check_addresses(const PreflightOptions& options, Findings& findings) {
  const auto own = own_addresses();
  const auto* server = options.configuration->server(options.self);
  for (const auto& text : server->interconnects) {
    Finding finding{.check = "addresses", .subject = text};
    finding.verdict = Verdict::kProblem;
    finding.text = "no interface of this server has it";
    finding.remedy = fmt::format("give it to an interface, or correct the interconnects of {} (is this {}?)", server->name,
                                 server->name);
    for (const auto& address : own) {
      if (address.address != parse_ipv4(text)) continue;
      finding.verdict = Verdict::kOk;
      finding.text = "on " + address.interface;
      finding.remedy.clear();
    }
    findings.push_back(std::move(finding));
  }
  const auto lan = parse_network(options.configuration->public_lan);
  if (!lan || server->role == ServerRole::kWitness) return;
  Finding finding{.check = "addresses", .subject = "public LAN " + options.configuration->public_lan};
  finding.verdict = Verdict::kProblem;
  finding.text = "no interface of this server is in it";
  finding.remedy = "floating addresses need one: give this server an address of the public LAN";
  for (const auto& address : own) {
    if (!lan->contains(address.address)) continue;
    finding = {.check = "addresses", .subject = finding.subject, .verdict = Verdict::kOk, .text = "by " + address.interface};
  }
  findings.push_back(std::move(finding));
}

void check_ports(const PreflightOptions& options, Findings& findings) {
  const auto* server = options.configuration->server(options.self);
  for (size_t link = 0; link < server->interconnects.size(); ++link)
    check_port("udp", server->interconnects[link], static_cast<uint16_t>(kFirstEnginePort + link), findings);
  for (const auto& group : options.configuration->groups) {
    const bool here = std::find(group.servers.begin(), group.servers.end(), options.self) != group.servers.end();
    for (const auto& resource : group.resources)
      if (here && resource.kind == ResourceKind::kMirror)
        check_port("tcp", server->interconnects[options.configuration->links_by_priority().front()], resource.mirror.port,
                   findings);
  }
}

}  // namespace baton::survey
