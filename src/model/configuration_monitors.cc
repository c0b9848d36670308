// Reads [group.NAME.monitor.NAME]. Level 3: a voter that does not know them could not judge the text (docs/protocol.md, "Levels").
#include <regex.h>

#include <algorithm>

#include "src/model/configuration_readers.h"

namespace baton {
namespace {

constexpr uint32_t kLevel = 3;
constexpr milliseconds kShortestInterval = 100ms;
constexpr milliseconds kLongest = 86400s;
constexpr int64_t kMostFailures = 1000;

void read_endpoint(const std::string& text, SourcePosition position, MonitorConfiguration& monitor, ConfigurationFindings& findings) {
  const auto endpoint = parse_endpoint(text);
  if (!endpoint || endpoint->is_name)
    return findings.add(position, "\"{}\" is no address with a port: write one like \"10.0.0.50:5432\" or \"[2001:db8::5]:5432\"", text);
  monitor.host = endpoint->host;
  monitor.port = endpoint->port;
}

void read_http(SectionReader& section, MonitorConfiguration& monitor) {
  check_url(monitor.url, "http://10.0.0.50/health", "use a command that reads it from a file", section.position_of("url"),
            section.findings());
  section.read_string("text", monitor.text);
  if (section.read_string("authority", monitor.authority))
    check_path(monitor.authority, "authority", section.position_of("authority"), section.findings());
  std::vector<std::string> status;
  if (!section.read_strings("status", status)) return;
  monitor.status.clear();
  for (size_t place = 0; place < status.size(); ++place) {
    const std::string& code = status[place];
    const bool good = code.size() == 3 && code[0] >= '1' && code[0] <= '5' && isdigit(static_cast<unsigned char>(code[1])) != 0 &&
                      isdigit(static_cast<unsigned char>(code[2])) != 0;
    if (good) monitor.status.push_back(std::stoi(code));
    else section.findings().add(section.position_of(fmt::format("status.{}", place)), "\"{}\" is no status of HTTP: write for instance "
                                "\"200\"", code);
  }
  if (status.empty()) section.findings().add(section.position_of("status"), "\"status\" is empty: name those that are good, or remove it");
}

constexpr size_t kLongestPattern = 1000;
constexpr uint64_t kMostRepeats = 1000;

/// How often the bounds in braces repeat together, at most: what is repeated takes memory each time.
uint64_t repeats_of(const std::string& pattern) {
  uint64_t repeats = 1;
  for (size_t place = pattern.find('{'); place != std::string::npos; place = pattern.find('{', place + 1)) {
    uint64_t most = 0, number = 0;
    for (size_t at = place + 1; at < pattern.size() && pattern[at] != '}' && most <= kMostRepeats; ++at) {
      number = isdigit(static_cast<unsigned char>(pattern[at])) != 0 ? std::min(number * 10 + (pattern[at] - '0'), kMostRepeats + 1) : 0;
      most = std::max(most, number);
    }
    repeats = std::min(repeats * std::max<uint64_t>(most, 1), kMostRepeats + 1);
  }
  return repeats;
}

void read_log(SectionReader& section, MonitorConfiguration& monitor) {
  monitor.failures = 1;  // a line is not written twice
  if (section.find("pattern") == nullptr)
    return section.findings().add(section.position(), "monitor \"{}\" does not say which lines of the log are bad: add "
                                  "pattern = \"FATAL|PANIC\"", monitor.name);
  if (!section.read_string("pattern", monitor.pattern)) return;
  if (monitor.pattern.size() > kLongestPattern || repeats_of(monitor.pattern) > kMostRepeats)
    return section.findings().add(section.position_of("pattern"), "this \"pattern\" is too large: at most {} bytes, and bounds in braces "
                                  "that repeat at most {} times together", kLongestPattern, kMostRepeats);
  regex_t compiled;
  const int error = ::regcomp(&compiled, monitor.pattern.c_str(), REG_EXTENDED | REG_NOSUB);
  if (error == 0) {
    ::regfree(&compiled);
    if (monitor.pattern.empty())
      section.findings().add(section.position_of("pattern"), "an empty \"pattern\" is in every line: name what only bad ones have");
    return;
  }
  char text[200] = "";
  ::regerror(error, &compiled, text, sizeof text);
  section.findings().add(section.position_of("pattern"), "\"{}\" is no extended regular expression of POSIX: {}. See man 7 regex",
                         monitor.pattern, text);
}

constexpr const char* kKinds[] = {"command", "tcp", "url", "disk", "log"};

/// Which of them is there says what kind it is.
void read_kind(SectionReader& section, MonitorConfiguration& monitor) {
  std::string endpoint;
  const bool command = read_command(section, "command", monitor.command);
  const bool tcp = section.read_string("tcp", endpoint);
  const bool url = section.read_string("url", monitor.url);
  const bool disk = section.read_string("disk", monitor.path);
  const bool log = section.read_string("log", monitor.path);
  if (command + tcp + url + disk + log > 1)
    section.findings().add(section.position(), "monitor \"{}\" has more than one of \"command\", \"tcp\", \"url\", \"disk\" and \"log\": "
                           "make several monitors of it", monitor.name);
  if (std::none_of(std::begin(kKinds), std::end(kKinds), [&](const char* kind) { return section.find(kind) != nullptr; }))
    section.findings().add(section.position(), "monitor \"{}\" does not say what it asks: add url = \"http://...\", "
                           "tcp = \"ADDRESS:PORT\", command = [\"/path/to/program\"], disk = \"/directory\" or log = \"/path/to/file\"", monitor.name);
  const std::string place = disk ? "disk" : "log";
  if (disk || log) check_path(monitor.path, place, section.position_of(place), section.findings());
  if (url) {
    monitor.kind = MonitorKind::kHttp;
    read_http(section, monitor);
  } else if (tcp) {
    monitor.kind = MonitorKind::kTcp;
    read_endpoint(endpoint, section.position_of("tcp"), monitor, section.findings());
  } else if (disk) {
    monitor.kind = MonitorKind::kDisk;
  } else if (log) {
    monitor.kind = MonitorKind::kLog;
    read_log(section, monitor);
  } else {
    read_user(section, monitor.user);
  }
}

/// The resource it speaks for: the one named, else the group's only service or script.
void settle_resource(SectionReader& section, MonitorConfiguration& monitor, const GroupConfiguration& group) {
  std::vector<std::string> services;
  for (const auto& resource : group.resources)
    if (runs_programs(resource.kind)) services.push_back(resource.name);
  if (monitor.of.empty()) {
    if (services.size() == 1) monitor.of = services.front();
    else section.findings().add(section.position(), "monitor \"{}\" does not say which service or script it is about: add of = \"NAME\"{}", monitor.name,
                                services.empty() ? ", and a service or script to the group" : "");
    return;
  }
  const ResourceConfiguration* resource = group.find(monitor.of);
  if (resource != nullptr && runs_programs(resource->kind)) {
    monitor.of = resource->name;
    return;
  }
  const std::string near = nearest_word(monitor.of, services);
  section.findings().add(section.position_of("of"), "group \"{}\" has no service or script \"{}\": {}", group.name, monitor.of,
                         near.empty() ? "name one of them" : "did you mean \"" + near + "\"?");
}

void read_monitor(SectionReader& section, MonitorConfiguration& monitor, const GroupConfiguration& group) {
  section.read_string("of", monitor.of);
  settle_resource(section, monitor, group);
  read_kind(section, monitor);
  section.read_duration("interval", kShortestInterval, kLongest, monitor.interval);
  monitor.timeout = std::min(monitor.timeout, monitor.interval);
  if (section.read_duration("timeout", kShortestInterval, kLongest, monitor.timeout) && monitor.timeout > monitor.interval)
    section.findings().add(section.position_of("timeout"), "a check may take {} ms, but the next one begins after {} ms: make \"timeout\" at "
                           "most \"interval\"", monitor.timeout.count(), monitor.interval.count());
  section.read_duration("delay", 0ms, kLongest, monitor.delay);
  int64_t failures = monitor.failures;
  if (section.read_integer("failures", 1, kMostFailures, failures)) monitor.failures = static_cast<uint32_t>(failures);
}

}  // namespace

void read_monitors(SectionReader& section, GroupConfiguration& group, ConfigurationDraft& draft) {
  for (const TomlEntry* entry : section.sections("monitor")) {
    MonitorConfiguration monitor;
    monitor.name = entry->key;
    monitor.position = entry->value.position;
    check_name(monitor.name, entry->position, draft.findings);
    const bool taken = std::any_of(group.monitors.begin(), group.monitors.end(),
                                   [&](const auto& other) { return lower_case(other.name) == lower_case(monitor.name); });
    if (taken)
      draft.findings.add(entry->position, "group \"{}\" has two monitors named \"{}\" (names compare without case): rename one", group.name,
                         monitor.name);
    SectionReader reader(entry->value, section.path_of("monitor") + "." + entry->key, draft.findings);
    read_monitor(reader, monitor, group);
    reader.finish();
    group.monitors.push_back(std::move(monitor));
    draft.needs_level(kLevel);
  }
}

}  // namespace baton
