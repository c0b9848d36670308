// Reads the resources of a group: filesystem, address, service, script. Mirrors: configuration_mirror.cc.
#include <signal.h>

#include <algorithm>

#include "src/model/configuration_readers.h"

namespace baton {
namespace {

constexpr milliseconds kShortestTimeout = 100ms;
constexpr milliseconds kLongestTimeout = 86400s;
constexpr uint32_t kLevelOfScripts = 3;  // and of final actions

/// Reports a second use of something that only one may use.
template <class Key>
void claim(std::map<Key, std::string>& used, const Key& key, const std::string& text, const std::string& what,
           SectionReader& section, const std::string& name) {
  auto [first, added] = used.emplace(key, section.path());
  if (!added) {
    section.findings().add(section.position_of(name), "{} {} is already that of [{}]: give each its own", what,
                           text, first->second);
  }
}

void read_filesystem(SectionReader& section, FilesystemConfiguration& filesystem, ConfigurationDraft& draft) {
  section.require("mirror", "add mirror = \"NAME\", the mirror of this group that holds it");
  section.read_string("mirror", filesystem.mirror);
  const std::vector<std::string> known = {"ext4", "xfs", "btrfs"};
  if (section.read_string("type", filesystem.type) &&
      std::find(known.begin(), known.end(), filesystem.type) == known.end()) {
    draft.findings.add(section.position_of("type"),
                       "filesystem type \"{}\" is not supported: use \"ext4\", \"xfs\" or \"btrfs\"",
                       filesystem.type);
  }
  section.require("mount", "add mount = \"/srv/NAME\", where the service finds it");
  if (section.read_string("mount", filesystem.mount_point) &&
      check_path(filesystem.mount_point, "mount", section.position_of("mount"), draft.findings)) {
    claim(draft.mounts, filesystem.mount_point, filesystem.mount_point, "mount point", section, "mount");
  }
  section.read_string("options", filesystem.options);
}

void read_address(SectionReader& section, AddressConfiguration& address, ConfigurationDraft& draft) {
  section.require("address", "add address = \"...\", an unused one of the public LAN");
  if (!section.read_string("address", address.address)) return;
  SourcePosition position = section.position_of("address");
  auto number = parse_ipv4(address.address);
  if (!number) {
    draft.findings.add(position, "\"{}\" is no IPv4 address: write one like \"10.0.0.50\"", address.address);
    return;
  }
  if (!draft.public_lan) {
    if (draft.findings.position("cluster.public_lan").line == 0) {
      draft.findings.add(
          position, "a floating address needs the public LAN: add public_lan = \"10.0.0.0/24\" to [cluster]");
    }
    return;
  }
  const Ipv4Network& lan = *draft.public_lan;
  address.prefix_length = lan.prefix_length;
  if (!lan.contains(*number)) {
    draft.findings.add(position, "address {} is outside the public LAN {}: use one inside it", address.address,
                       draft.configuration.public_lan);
  } else if (*number == lan.address || *number == lan.broadcast()) {
    draft.findings.add(position, "address {} is the {} address of the public LAN {}: use another one",
                       address.address, *number == lan.address ? "network" : "broadcast",
                       draft.configuration.public_lan);
  } else {
    auto [used, added] = draft.addresses.emplace(*number, "[" + section.path() + "]");
    if (!added) {
      draft.findings.add(position,
                         "address {} is already that of {}: a floating address must be used once only",
                         address.address, used->second);
    }
  }
}

}  // namespace

bool read_command(SectionReader& section, const std::string& key, std::vector<std::string>& command) {
  if (!section.read_strings(key, command)) return false;
  if (command.empty()) {
    section.findings().add(section.position_of(key),
                           "\"{}\" is empty: write the program and its arguments, or remove it", key);
  } else if (command.front().empty() || command.front().front() != '/') {
    section.findings().add(section.position_of(key + ".0"),
                           "program \"{}\" of \"{}\" is not absolute: write its whole path, beginning with /",
                           command.front(), key);
  }
  return true;
}

void read_user(SectionReader& section, std::string& user) {
  if (section.read_string("user", user) && (user.empty() || user.find_first_of(" \t\n:/") != std::string::npos))
    section.findings().add(section.position_of("user"), "\"{}\" is no user name: write the account that runs it", user);
}

namespace {

const std::vector<std::string>& signal_names() {
  static const std::vector<std::string> names = {"HUP",  "INT",  "QUIT", "KILL", "USR1", "USR2",
                                                 "ALRM", "TERM", "CONT", "STOP", "WINCH"};
  return names;
}

void read_stop_signal(SectionReader& section, ServiceConfiguration& service) {
  if (!section.read_string("stop_signal", service.stop_signal)) return;
  if (service.stop_signal.starts_with("SIG")) service.stop_signal.erase(0, 3);
  const std::vector<std::string>& known = signal_names();
  if (std::find(known.begin(), known.end(), service.stop_signal) != known.end()) return;
  std::string near = nearest_word(service.stop_signal, known);
  section.findings().add(
      section.position_of("stop_signal"), "unknown signal \"{}\": {}", service.stop_signal,
      near.empty() ? "use for instance \"TERM\" or \"INT\"" : "did you mean \"" + near + "\"?");
}

void read_environment(SectionReader& section, std::map<std::string, std::string>& environment) {
  if (!section.read_map("environment", environment)) return;
  for (const auto& [name, value] : environment) {
    bool good = !name.empty() && !(name[0] >= '0' && name[0] <= '9');
    for (char letter : name) good = good && (isalnum(static_cast<unsigned char>(letter)) || letter == '_');
    if (!good) {
      section.findings().add(section.position_of("environment." + name),
                             "\"{}\" is no name of an environment variable: use letters, digits and _", name);
    }
  }
}

void read_directory(SectionReader& section, std::string& directory, ConfigurationDraft& draft) {
  if (section.read_string("directory", directory) && directory != "/") {
    check_path(directory, "directory", section.position_of("directory"), draft.findings);
  }
}

void read_service(SectionReader& section, ServiceConfiguration& service, ConfigurationDraft& draft) {
  section.require("command", "add command = [\"/path/to/program\", \"argument\"]");
  read_command(section, "command", service.command);
  read_command(section, "prepare", service.prepare);
  read_command(section, "ready", service.ready);
  read_user(section, service.user);
  read_directory(section, service.directory, draft);
  read_environment(section, service.environment);
  read_stop_signal(section, service);
}

void read_script(SectionReader& section, ScriptConfiguration& script, ConfigurationDraft& draft) {
  draft.needs_level(kLevelOfScripts);
  section.require("start", "add start = [\"/path/to/script\", \"argument\"]");
  read_command(section, "start", script.start);
  read_command(section, "stop", script.stop);
  read_user(section, script.user);
  read_directory(section, script.directory, draft);
  read_environment(section, script.environment);
  section.read_boolean("on_disk_failure", script.on_disk_failure);
  section.read_boolean("on_return", script.on_return);
}

FinalAction read_final_action(SectionReader& section, const std::string& text) {
  if (const auto action = final_action(text)) return *action;
  const std::string near = nearest_word(text, {"failover", "shutdown", "reboot", "stop", "nothing"});
  section.findings().add(section.position_of("on_failure"), "unknown action \"{}\": {}", text,
                         near.empty() ? "use \"failover\", \"shutdown\", \"reboot\", \"stop\" or \"nothing\"" : "did you mean \"" + near + "\"?");
  return FinalAction::kFailover;
}

/// How often it is started again, and what is done then. Of storage nothing of that can be said: its group is given up with it.
void read_restarts(SectionReader& section, ResourceConfiguration& resource, ConfigurationDraft& draft) {
  resource.restarts = usual_restarts(resource.kind);
  if (is_storage(resource.kind)) return;
  int64_t restarts = resource.restarts;
  const bool counted = section.read_integer("restarts", 0, 1000, restarts);
  if (counted) resource.restarts = static_cast<uint32_t>(restarts);
  milliseconds window = resource.restart_window;
  const bool windowed = section.read_duration("restart_window", 1s, 7 * 86400s, window);
  if (windowed) resource.restart_window = std::chrono::duration_cast<seconds>(window);
  std::string action;
  const bool acts = section.read_string("on_failure", action);
  if (acts) resource.on_failure = read_final_action(section, action);
  if (acts || ((counted || windowed) && resource.kind != ResourceKind::kService)) draft.needs_level(kLevelOfScripts);
}

}  // namespace

void read_resource(SectionReader& section, ResourceConfiguration& resource, ConfigurationDraft& draft) {
  switch (resource.kind) {
    case ResourceKind::kMirror:
      read_mirror(section, resource.mirror, draft);
      break;
    case ResourceKind::kFilesystem:
      read_filesystem(section, resource.filesystem, draft);
      break;
    case ResourceKind::kAddress:
      read_address(section, resource.address, draft);
      break;
    case ResourceKind::kService:
      read_service(section, resource.service, draft);
      break;
    case ResourceKind::kScript:
      read_script(section, resource.script, draft);
      break;
  }
  read_restarts(section, resource, draft);
  section.read_strings("after", resource.after);
  section.read_duration("start_timeout", kShortestTimeout, kLongestTimeout, resource.start_timeout);
  section.read_duration("stop_timeout", kShortestTimeout, kLongestTimeout, resource.stop_timeout);
}

}  // namespace baton
