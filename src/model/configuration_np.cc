// Reads how network partitions are resolved: `np` and what belongs to it in [cluster]. docs/protocol.md, "Partitions and takeover".
#include <algorithm>

#include "src/model/configuration_readers.h"

namespace baton {
namespace {

constexpr uint32_t kLevel = 2;  // docs/protocol.md, "Levels"

/// Kinds that other products have. What they cannot promise is said here, and what to do instead.
const char* why_not_available(const std::string& kind) {
  if (kind == "ping")
    return "np = \"ping\" is not available: an address that answers both servers at once tells neither that the other one has "
           "stopped, so with every link between them cut both would go on. A witness on that machine is a vote that only one of "
           "them gets; without one use \"operator\"";
  if (kind == "disk")
    return "np = \"disk\" is not available in this version: a witness does more (it remembers the cluster's state); without one "
           "use \"operator\"";
  return nullptr;
}

void read_kind(SectionReader& cluster, ConfigurationDraft& draft) {
  std::string text;
  if (!cluster.read_string("np", text)) return;
  for (const NpKind kind : {NpKind::kWitness, NpKind::kMajority, NpKind::kOperator})
    if (text == to_string(kind)) draft.np = kind;
  if (draft.np) return;
  const SourcePosition position = cluster.position_of("np");
  if (const char* why = why_not_available(text)) return draft.findings.add(position, "{}", why);
  draft.findings.add(position, "unknown way to resolve network partitions \"{}\": use \"witness\", \"majority\" or \"operator\"",
                     text);
}

std::string describe_servers(size_t servers, bool witness) {
  return fmt::format("{} server{}{}", servers, servers == 1 ? "" : "s", witness ? " and a witness" : "");
}

}  // namespace

void read_np(SectionReader& cluster, ConfigurationDraft& draft) {
  read_kind(cluster, draft);
  const bool waits =
      cluster.read_duration("np_wait", std::chrono::seconds(10), std::chrono::hours(24), draft.configuration.np_wait);
  if (draft.np || waits) draft.configuration.level = kLevel;
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
  const SourcePosition wait = draft.findings.position("cluster.np_wait");
  if (wait.line != 0 && configuration.np != NpKind::kOperator)
    draft.findings.add(wait, "np_wait belongs to np = \"operator\", but np is \"{}\": remove it", to_string(configuration.np));
}

}  // namespace baton
