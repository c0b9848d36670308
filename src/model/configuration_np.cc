// Reads how network partitions are resolved: `np` and what belongs to it in [cluster]. docs/protocol.md, "Partitions and takeover".
#include <algorithm>

#include "src/model/configuration_readers.h"

namespace baton {
namespace {

constexpr uint32_t kLevel = 2;      // docs/protocol.md, "Levels"
constexpr uint32_t kDiskLevel = 3;

/// Kinds that other products have. What they cannot promise is said here, and what to do instead.
const char* why_not_available(const std::string& kind) {
  if (kind == "ping")
    return "np = \"ping\" is not available: an address that answers both servers at once tells neither that the other one has "
           "stopped, so with every link between them cut both would go on. A witness on that machine is a vote that only one of "
           "them gets; without one use \"operator\"";
  return nullptr;
}

void read_kind(SectionReader& cluster, ConfigurationDraft& draft) {
  std::string text;
  if (!cluster.read_string("np", text)) return;
  for (const NpKind kind : {NpKind::kWitness, NpKind::kMajority, NpKind::kOperator, NpKind::kDisk})
    if (text == to_string(kind)) draft.np = kind;
  if (draft.np) return;
  const SourcePosition position = cluster.position_of("np");
  if (const char* why = why_not_available(text)) return draft.findings.add(position, "{}", why);
  draft.findings.add(position, "unknown way to resolve network partitions \"{}\": use \"witness\", \"majority\", \"operator\" or "
                     "\"disk\"", text);
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

}  // namespace

void read_np(SectionReader& cluster, ConfigurationDraft& draft) {
  read_kind(cluster, draft);
  const bool waits =
      cluster.read_duration("np_wait", std::chrono::seconds(10), std::chrono::hours(24), draft.configuration.np_wait);
  const bool disk = cluster.read_string("np_disk", draft.configuration.np_disk);
  if (draft.np || waits) draft.configuration.level = std::max(draft.configuration.level, kLevel);
  if (draft.np == NpKind::kDisk || disk) draft.configuration.level = kDiskLevel;
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
  if (configuration.np == NpKind::kOperator && !two)
    draft.findings.add(position, "np = \"operator\" is for two servers without a witness, here are {}: leave np out, a majority "
                       "decides", describe_servers(servers, witness));
  if (configuration.np == NpKind::kDisk && !two)
    draft.findings.add(position, "np = \"disk\" is for two servers without a witness, here are {}: leave np out, a majority "
                       "decides", describe_servers(servers, witness));
  settle_disk(draft);
  const SourcePosition wait = draft.findings.position("cluster.np_wait");
  if (wait.line != 0 && configuration.np != NpKind::kOperator && configuration.np != NpKind::kDisk)
    draft.findings.add(wait, "np_wait belongs to np = \"operator\" or \"disk\", but np is \"{}\": remove it", to_string(configuration.np));
}

}  // namespace baton
