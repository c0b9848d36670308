// Reads how network partitions are resolved: `np` and what belongs to it in [cluster]. docs/protocol.md, "Partitions and takeover".
#include <arpa/inet.h>

#include <algorithm>
#include <array>
#include <optional>
#include <set>

#include "src/model/configuration_readers.h"

namespace baton {
namespace {

constexpr uint32_t kLevel = 2;      // docs/protocol.md, "Levels"
constexpr uint32_t kArbiterLevel = 3;

constexpr size_t kMostTargets = 8;

void read_kind(SectionReader& cluster, ConfigurationDraft& draft) {
  std::string text;
  if (!cluster.read_string("np", text)) return;
  for (const NpKind kind : {NpKind::kWitness, NpKind::kMajority, NpKind::kOperator, NpKind::kDisk, NpKind::kPing})
    if (text == to_string(kind)) draft.np = kind;
  if (draft.np) return;
  draft.findings.add(cluster.position_of("np"), "unknown way to resolve network partitions \"{}\": use \"witness\", \"majority\", "
                     "\"operator\", \"disk\" or \"ping\"", text);
}

std::string describe_servers(size_t servers, bool witness) {
  return fmt::format("{} server{}{}", servers, servers == 1 ? "" : "s", witness ? " and a witness" : "");
}

void settle_disk(ConfigurationDraft& draft) {
  const Configuration& configuration = draft.configuration;
  const SourcePosition disk = draft.findings.position("cluster.np_disk");
  if (configuration.np != NpKind::kDisk) {
    if (disk.line != 0)
      draft.findings.add(disk, "np_disk belongs to np = \"disk\", but np is \"{}\": remove it", to_string(configuration.np));
    return;
  }
  if (configuration.np_disk.empty())
    return draft.findings.add(draft.findings.position("cluster.np"), "np = \"disk\" needs np_disk: a device that both servers reach, "
                              "by a name that is the same on both (\"/dev/disk/by-id/...\")");
  if (configuration.np_disk.front() != '/' || configuration.np_disk.find("..") != std::string::npos)
    draft.findings.add(disk, "np_disk = \"{}\" is no absolute path of a device", configuration.np_disk);
}

/// As the system writes it; nothing if it is no address that one host may have.
std::optional<std::string> canonical_address(const std::string& text) {
  if (const auto number = parse_ipv4(text)) return is_host_address(*number) ? std::optional(text) : std::nullopt;
  in6_addr address{};
  if (::inet_pton(AF_INET6, text.c_str(), &address) != 1) return std::nullopt;
  // A link-local one means nothing without its interface.
  if (IN6_IS_ADDR_UNSPECIFIED(&address) || IN6_IS_ADDR_LOOPBACK(&address) || IN6_IS_ADDR_MULTICAST(&address) ||
      IN6_IS_ADDR_LINKLOCAL(&address) || IN6_IS_ADDR_V4MAPPED(&address))
    return std::nullopt;
  std::array<char, INET6_ADDRSTRLEN> written{};
  return ::inet_ntop(AF_INET6, &address, written.data(), written.size());
}

void settle_targets(ConfigurationDraft& draft) {
  Configuration& configuration = draft.configuration;
  const SourcePosition position = draft.findings.position("cluster.ping_targets");
  if (configuration.np != NpKind::kPing) {
    if (position.line != 0)
      draft.findings.add(position, "ping_targets belong to np = \"ping\", but np is \"{}\": remove them", to_string(configuration.np));
    return;
  }
  if (configuration.ping_targets.empty() || configuration.ping_targets.size() > kMostTargets)
    return draft.findings.add(position.line != 0 ? position : draft.findings.position("cluster.np"), "np = \"ping\" needs ping_targets: 1 to {} "
                              "addresses of machines that both servers and their clients reach, a router's for one", kMostTargets);
  std::set<std::string> known;
  for (auto& target : configuration.ping_targets) {
    const auto address = canonical_address(target);
    if (!address) {
      draft.findings.add(position, "ping target \"{}\" is no address of a host: write an IPv4 or IPv6 address, not a name", target);
      continue;
    }
    target = *address;
    const auto number = parse_ipv4(target);
    // Beside the servers' own; a group's floating address meets it when it is read.
    if (const auto used = number ? draft.addresses.find(*number) : draft.addresses.end(); used != draft.addresses.end() && !known.contains(target))
      draft.findings.add(position, "ping target {} is an address of {} itself: use a machine that outlives both servers", target, used->second);
    else if (!known.insert(target).second)
      draft.findings.add(position, "ping target {} is named twice: name it once", target);
    else if (number)
      draft.addresses.emplace(*number, "[cluster] ping_targets");
  }
}

}  // namespace

void read_np(SectionReader& cluster, ConfigurationDraft& draft) {
  read_kind(cluster, draft);
  const bool waits =
      cluster.read_duration("np_wait", std::chrono::seconds(10), std::chrono::hours(24), draft.configuration.np_wait);
  const bool disk = cluster.read_string("np_disk", draft.configuration.np_disk);
  const bool targets = cluster.read_strings("ping_targets", draft.configuration.ping_targets);
  if (draft.np || waits) draft.needs_level(kLevel);
  if (draft.np == NpKind::kDisk || draft.np == NpKind::kPing || disk || targets) draft.needs_level(kArbiterLevel);
}

void settle_np(ConfigurationDraft& draft) {
  Configuration& configuration = draft.configuration;
  const auto witness = std::any_of(configuration.servers.begin(), configuration.servers.end(),
                                   [](const auto& server) { return server.role == ServerRole::kWitness; });
  const size_t servers = configuration.servers.size() - (witness ? 1 : 0);
  const bool two = servers == 2 && !witness;
  configuration.np = draft.np.value_or(witness ? NpKind::kWitness : two ? NpKind::kOperator : NpKind::kMajority);
  const SourcePosition position = draft.findings.position("cluster.np");
  if (configuration.np == NpKind::kWitness && !witness)
    draft.findings.add(position, "np = \"witness\", but no server has role = \"witness\": add a witness, or leave np out");
  if (may_call_operator(configuration.np) && !two)
    draft.findings.add(position, "np = \"{}\" is for two servers without a witness, here are {}: leave np out, a majority "
                       "decides", to_string(configuration.np), describe_servers(servers, witness));
  settle_disk(draft);
  settle_targets(draft);
  const SourcePosition wait = draft.findings.position("cluster.np_wait");
  if (wait.line != 0 && !may_call_operator(configuration.np))
    draft.findings.add(wait, "np_wait belongs to np = \"operator\", \"disk\" or \"ping\", but np is \"{}\": remove it", to_string(configuration.np));
}

}  // namespace baton
