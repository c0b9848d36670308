// Does somebody have a floating address already? Asked by ARP probes, as a host asks before it takes an address.
#include <arpa/inet.h>
#include <ifaddrs.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <netinet/if_ether.h>
#include <netpacket/packet.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <optional>

#include <fmt/format.h>

#include "src/model/configuration_network.h"
#include "src/survey/preflight.h"

namespace baton::survey {
namespace {

constexpr int kProbes = 3;
constexpr auto kProbeWait = std::chrono::milliseconds(150);

struct Interface {
  std::string name;
  int index = 0;
  uint8_t mac[6] = {};
};

/// The interface that is in the public LAN; what it lacks is said in `why`.
std::optional<Interface> interface_in(const Ipv4Network& lan, std::string& why) {
  why = "no interface of this server is in the public LAN";
  ifaddrs* list = nullptr;
  if (getifaddrs(&list) != 0) return std::nullopt;
  std::optional<Interface> found;
  for (const ifaddrs* one = list; one != nullptr && !found; one = one->ifa_next) {
    if (one->ifa_addr == nullptr || one->ifa_addr->sa_family != AF_INET) continue;
    if (!lan.contains(ntohl(reinterpret_cast<const sockaddr_in*>(one->ifa_addr)->sin_addr.s_addr))) continue;
    ifreq request{};
    std::strncpy(request.ifr_name, one->ifa_name, IFNAMSIZ - 1);
    const int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (ioctl(fd, SIOCGIFHWADDR, &request) == 0 && request.ifr_hwaddr.sa_family == ARPHRD_ETHER) {
      found = Interface{one->ifa_name, static_cast<int>(if_nametoindex(one->ifa_name)), {}};
      std::memcpy(found->mac, request.ifr_hwaddr.sa_data, 6);
    } else {
      why = fmt::format("{} speaks no ARP", one->ifa_name);
    }
    close(fd);
  }
  freeifaddrs(list);
  return found;
}

ether_arp probe_for(const Interface& interface, uint32_t address) {
  ether_arp probe{};
  probe.arp_hrd = htons(ARPHRD_ETHER);
  probe.arp_pro = htons(ETHERTYPE_IP);
  probe.arp_hln = 6;
  probe.arp_pln = 4;
  probe.arp_op = htons(ARPOP_REQUEST);
  std::memcpy(probe.arp_sha, interface.mac, 6);
  const uint32_t target = htonl(address);
  std::memcpy(probe.arp_tpa, &target, 4);
  return probe;
}

/// The MAC that says it has the address; empty if none answers within the time.
std::string wait_for_owner(int fd, uint32_t address) {
  const auto until = std::chrono::steady_clock::now() + kProbeWait;
  while (true) {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(until - std::chrono::steady_clock::now());
    pollfd ready{fd, POLLIN, 0};
    if (left.count() <= 0 || poll(&ready, 1, static_cast<int>(left.count())) <= 0) return "";
    ether_arp answer{};
    if (recv(fd, &answer, sizeof answer, MSG_DONTWAIT) < static_cast<ssize_t>(sizeof answer)) continue;
    uint32_t sender = 0;
    std::memcpy(&sender, answer.arp_spa, 4);
    if (ntohl(sender) != address) continue;
    const uint8_t* mac = answer.arp_sha;
    return fmt::format("{:02x}:{:02x}:{:02x}:{:02x}:{:02x}:{:02x}", mac[0], mac[1], mac[2], mac[3], mac[4], mac[5]);
  }
}

Finding probe_address(int fd, const Interface& interface, const std::string& text) {
  const uint32_t address = *parse_ipv4(text);
  Finding finding{.check = "duplicates", .subject = text};
  sockaddr_ll place{};
  place.sll_family = AF_PACKET;
  place.sll_protocol = htons(ETHERTYPE_ARP);
  place.sll_ifindex = interface.index;
  place.sll_halen = 6;
  std::memset(place.sll_addr, 0xff, 6);
  const ether_arp probe = probe_for(interface, address);
  for (int attempt = 0; attempt < kProbes; ++attempt) {
    if (sendto(fd, &probe, sizeof probe, 0, reinterpret_cast<sockaddr*>(&place), sizeof place) < 0) {
      finding.verdict = Verdict::kUnknown;
      finding.text = fmt::format("cannot ask on {}: {}", interface.name, strerror(errno));
      return finding;
    }
    const std::string owner = wait_for_owner(fd, address);
    if (owner.empty()) continue;
    finding.verdict = Verdict::kProblem;
    finding.text = fmt::format("{} on {} has it already", owner, interface.name);
    finding.remedy = "find the machine with that MAC and take the address from it, or choose another floating address (a "
                     "running group of this cluster would have it, too)";
    return finding;
  }
  finding.text = "nobody on " + interface.name + " has it";
  return finding;
}

}  // namespace

void check_floating(const PreflightOptions& options, Findings& findings) {
  std::vector<std::string> addresses;
  for (const auto& group : options.configuration->groups)
    for (const auto& resource : group.resources)
      if (resource.kind == ResourceKind::kAddress) addresses.push_back(resource.address.address);
  const auto lan = parse_network(options.configuration->public_lan);
  if (addresses.empty() || !lan) return;
  if (options.configuration->server(options.self)->role == ServerRole::kWitness) return;
  std::string why;
  const auto interface = interface_in(*lan, why);
  const int fd = interface ? socket(AF_PACKET, SOCK_DGRAM | SOCK_CLOEXEC, htons(ETHERTYPE_ARP)) : -1;
  if (interface && fd < 0) why = fmt::format("cannot speak ARP: {}", strerror(errno));
  sockaddr_ll place{};
  place.sll_family = AF_PACKET;
  place.sll_protocol = htons(ETHERTYPE_ARP);
  if (interface) place.sll_ifindex = interface->index;
  if (fd >= 0) (void)bind(fd, reinterpret_cast<sockaddr*>(&place), sizeof place);
  for (const auto& address : addresses) {
    if (fd < 0) {
      findings.push_back({"duplicates", address, Verdict::kUnknown, why, ""});
    } else {
      findings.push_back(probe_address(fd, *interface, address));
    }
  }
  if (fd >= 0) close(fd);
}

}  // namespace baton::survey
