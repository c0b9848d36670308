// Reads what [cluster] and [server.NAME] say about servers and groups that come, go and fail. All of these keys are of
// level 2 (docs/protocol.md, "Levels"): a voter that does not know them could not judge the text.
#include "src/model/configuration_readers.h"

namespace baton {
namespace {

constexpr milliseconds kLongestWindow = 24h;
constexpr uint32_t kLevel = 2;

void read_breaker(const TomlValue& value, ConfigurationDraft& draft) {
  if (value.kind != TomlValue::Kind::kTable) {
    draft.findings.add(value.position, "\"breaker\" must be a table: write breaker = {{ groups = 4, window = \"10 min\" }}");
    return;
  }
  SectionReader section(value, "cluster.breaker", draft.findings);
  BreakerConfiguration& breaker = draft.configuration.breaker;
  section.read_integer("groups", 0, 1000, breaker.groups);
  section.read_integer("failovers", 0, 1000, breaker.failovers);
  section.read_duration("window", 1s, kLongestWindow, breaker.window);
  section.finish();
}

void read_flapping(const TomlValue& value, ConfigurationDraft& draft) {
  if (value.kind != TomlValue::Kind::kTable) {
    draft.findings.add(value.position,
                       "\"flapping\" must be a table: write flapping = {{ losses = 3, window = \"10 min\", hold = \"1 min\" }}");
    return;
  }
  SectionReader section(value, "cluster.flapping", draft.findings);
  FlappingConfiguration& flapping = draft.configuration.flapping;
  section.read_integer("losses", 0, 1000, flapping.losses);
  section.read_duration("window", 1s, kLongestWindow, flapping.window);
  section.read_duration("hold", 1s, kLongestWindow, flapping.hold);
  section.finish();
}

void read_power_command(SectionReader& cluster, const std::string& key, std::vector<std::string>& into,
                        ConfigurationDraft& draft) {
  if (!cluster.read_strings(key, into)) return;
  draft.configuration.level = kLevel;
  if (into.empty() || into.front().empty() || into.front().front() != '/')
    draft.findings.add(cluster.position_of(key), "\"{}\" must begin with an absolute path: write {} = [\"/usr/sbin/...\"]",
                       key, key);
}

}  // namespace

void read_return(SectionReader& section, std::optional<ReturnPolicy>& into, ConfigurationDraft& draft) {
  std::string text;
  if (!section.read_string("return", text)) return;
  draft.configuration.level = kLevel;
  if (text == "automatic") {
    into = ReturnPolicy::kAutomatic;
  } else if (text == "manual") {
    into = ReturnPolicy::kManual;
  } else {
    draft.findings.add(section.position_of("return"), "unknown return \"{}\": use \"automatic\" or \"manual\"", text);
  }
}

void read_policies(SectionReader& cluster, ConfigurationDraft& draft) {
  Configuration& configuration = draft.configuration;
  std::optional<ReturnPolicy> policy;
  read_return(cluster, policy, draft);
  if (policy) configuration.return_policy = *policy;
  if (cluster.read_duration("startup_wait", 0ms, 1h, configuration.startup_wait)) configuration.level = kLevel;
  read_power_command(cluster, "power_off_command", configuration.power_off_command, draft);
  read_power_command(cluster, "reboot_command", configuration.reboot_command, draft);
  const TomlValue* breaker = cluster.find("breaker");
  const TomlValue* flapping = cluster.find("flapping");
  if (breaker != nullptr) read_breaker(*breaker, draft);
  if (flapping != nullptr) read_flapping(*flapping, draft);
  if (breaker != nullptr || flapping != nullptr) configuration.level = kLevel;
}

}  // namespace baton
