// Reads what [cluster], [server.NAME] and [group.NAME] say about servers and groups that come, go and fail. All of these keys are of
// level 2, those of groups of level 3 (docs/protocol.md, "Levels"): a voter that does not know them could not judge the text.
#include "src/model/configuration_readers.h"

namespace baton {
namespace {

constexpr milliseconds kLongestWindow = 24h;
constexpr uint32_t kLevel = 2;
constexpr uint32_t kFailbackLevel = 3;

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
  draft.needs_level(kLevel);
  if (into.empty() || into.front().empty() || into.front().front() != '/')
    draft.findings.add(cluster.position_of(key), "\"{}\" must begin with an absolute path: write {} = [\"/usr/sbin/...\"]",
                       key, key);
}

}  // namespace

void read_return(SectionReader& section, std::optional<ReturnPolicy>& into, ConfigurationDraft& draft) {
  std::string text;
  if (!section.read_string("return", text)) return;
  draft.needs_level(kLevel);
  if (text == "automatic") {
    into = ReturnPolicy::kAutomatic;
  } else if (text == "manual") {
    into = ReturnPolicy::kManual;
  } else {
    draft.findings.add(section.position_of("return"), "unknown return \"{}\": use \"automatic\" or \"manual\"", text);
  }
}

namespace {

/// "22:00"; nothing if it is no time of day.
std::optional<std::chrono::minutes> parse_time_of_day(const std::string& text) {
  const auto digit = [&](size_t place) { return text[place] >= '0' && text[place] <= '9'; };
  if (text.size() != 5 || text[2] != ':' || !digit(0) || !digit(1) || !digit(3) || !digit(4)) return std::nullopt;
  const int hour = (text[0] - '0') * 10 + (text[1] - '0'), minute = (text[3] - '0') * 10 + (text[4] - '0');
  if (hour > 23 || minute > 59) return std::nullopt;
  return std::chrono::hours(hour) + std::chrono::minutes(minute);
}

std::optional<DayWindow> parse_day_window(const std::string& text) {
  const size_t dash = text.find('-');
  if (dash == std::string::npos) return std::nullopt;
  const auto from = parse_time_of_day(text.substr(0, dash)), until = parse_time_of_day(text.substr(dash + 1));
  if (!from || !until || *from == *until) return std::nullopt;
  return DayWindow{*from, *until};
}

}  // namespace

void read_failback(SectionReader& section, GroupConfiguration& group, ConfigurationDraft& draft) {
  std::string text;
  if (section.read_string("failback", text)) {
    draft.needs_level(kFailbackLevel);
    if (text == "no")
      group.failback = Failback::kNo;
    else if (text == "online")
      group.failback = Failback::kOnline;
    else if (text != "offline")
      draft.findings.add(section.position_of("failback"), "unknown failback \"{}\": use \"no\", \"offline\" or \"online\"", text);
  }
  if (!section.read_string("failback_window", text)) return;
  draft.needs_level(kFailbackLevel);
  const SourcePosition position = section.position_of("failback_window");
  group.failback_window = parse_day_window(text);
  if (!group.failback_window)
    draft.findings.add(position,
                       "failback_window \"{}\" is no part of a day: write two different times, as in \"22:00-05:30\"; for the whole "
                       "day leave it out",
                       text);
  if (group.failback != Failback::kOnline)
    draft.findings.add(position, "failback_window belongs to failback = \"online\", but failback is \"{}\": remove it",
                       to_string(group.failback));
}

void read_policies(SectionReader& cluster, ConfigurationDraft& draft) {
  Configuration& configuration = draft.configuration;
  std::optional<ReturnPolicy> policy;
  read_return(cluster, policy, draft);
  if (policy) configuration.return_policy = *policy;
  if (cluster.read_duration("startup_wait", 0ms, 1h, configuration.startup_wait)) draft.needs_level(kLevel);
  read_power_command(cluster, "power_off_command", configuration.power_off_command, draft);
  read_power_command(cluster, "reboot_command", configuration.reboot_command, draft);
  const TomlValue* breaker = cluster.find("breaker");
  const TomlValue* flapping = cluster.find("flapping");
  if (breaker != nullptr) read_breaker(*breaker, draft);
  if (flapping != nullptr) read_flapping(*flapping, draft);
  if (breaker != nullptr || flapping != nullptr) draft.needs_level(kLevel);
}

}  // namespace baton
