// Reads [group.NAME] and walks its resources.
#include <algorithm>

#include "src/model/configuration_readers.h"

namespace baton {
namespace {

constexpr ResourceKind kKinds[] = {ResourceKind::kMirror, ResourceKind::kFilesystem, ResourceKind::kAddress,
                                   ResourceKind::kService, ResourceKind::kScript};

/// One name of the failover policy.
void add_policy_server(const std::string& name, SourcePosition position, GroupConfiguration& group,
                       ConfigurationDraft& draft) {
  const ServerConfiguration* server = draft.configuration.server(name);
  if (!server) {
    std::vector<std::string> known;
    for (const ServerConfiguration& candidate : draft.configuration.servers) {
      if (candidate.role == ServerRole::kServer) known.push_back(candidate.name);
    }
    std::string near = nearest_word(name, known);
    draft.findings.add(position, "unknown server \"{}\": {}", name,
                       near.empty() ? "add a section [server." + name + "] or remove it here"
                                    : "did you mean \"" + near + "\"?");
  } else if (server->role == ServerRole::kWitness) {
    draft.findings.add(position, "\"{}\" is the witness, which runs no group: remove it here", name);
  } else if (std::find(group.servers.begin(), group.servers.end(), server->id) != group.servers.end()) {
    draft.findings.add(position, "\"{}\" stands twice in the policy: remove one", name);
  } else {
    group.servers.push_back(server->id);
  }
}

/// Returns how many servers are named, right ones and wrong ones; nothing if they could not be read.
std::optional<size_t> read_policy(SectionReader& section, GroupConfiguration& group,
                                  ConfigurationDraft& draft) {
  section.require("servers", "add servers = [\"...\", \"...\"], the preferred one first");
  std::vector<std::string> names;
  if (!section.read_strings("servers", names)) return std::nullopt;
  if (names.empty()) {
    draft.findings.add(section.position_of("servers"),
                       "\"servers\" is empty: name the servers that may run the group");
  }
  for (size_t place = 0; place < names.size(); ++place) {
    add_policy_server(names[place], section.position_of(fmt::format("servers.{}", place)), group, draft);
  }
  return names.size();
}

void read_resources(SectionReader& section, GroupConfiguration& group, ConfigurationDraft& draft) {
  std::map<std::string, std::string> names;  // lower case -> the kind that has it
  for (ResourceKind kind : kKinds) {
    for (const TomlEntry* entry : section.sections(to_string(kind))) {
      ResourceConfiguration resource;
      resource.name = entry->key;
      resource.kind = kind;
      resource.position = entry->value.position;
      check_name(resource.name, entry->position, draft.findings);
      auto [used, added] = names.emplace(lower_case(resource.name), to_string(kind));
      if (!added) {
        draft.findings.add(
            entry->position,
            "group \"{}\" has two resources named \"{}\" ({} and {}; names compare without case): rename one",
            group.name, resource.name, used->second, to_string(kind));
        continue;
      }
      SectionReader reader(entry->value, section.path_of(to_string(kind)) + "." + entry->key, draft.findings);
      read_resource(reader, resource, draft);
      reader.finish();
      group.resources.push_back(resource);
    }
  }
}

bool has_mirror(const GroupConfiguration& group) {
  return std::any_of(group.resources.begin(), group.resources.end(), [](const ResourceConfiguration& resource) {
    return resource.kind == ResourceKind::kMirror;
  });
}

/// What can be judged only when all resources of the group are known.
void check_group(const SectionReader& section, GroupConfiguration& group, std::optional<size_t> named,
                 ConfigurationFindings& findings) {
  if (has_mirror(group) && named && *named != 2) {
    findings.add(
        section.position_of("servers"),
        "group \"{}\" has a mirror, which two servers share, but {} server{} in its policy: name exactly two",
        group.name, *named, *named == 1 ? "" : "s");
  }
  std::map<std::string, std::string> mounted;  // mirror -> filesystem
  for (ResourceConfiguration& resource : group.resources) {
    if (resource.kind != ResourceKind::kFilesystem || resource.filesystem.mirror.empty()) continue;
    SourcePosition position = findings.position(section.path_of("filesystem." + resource.name + ".mirror"));
    const ResourceConfiguration* mirror = group.find(resource.filesystem.mirror);
    if (!mirror || mirror->kind != ResourceKind::kMirror) {
      findings.add(position, "group \"{}\" has no mirror \"{}\": add [{}] or name another", group.name,
                   resource.filesystem.mirror, section.path_of("mirror." + resource.filesystem.mirror));
      resource.filesystem.mirror.clear();
      continue;
    }
    resource.filesystem.mirror = mirror->name;
    check_filesystem_size(resource.filesystem, mirror->mirror, resource.position, findings);
    auto [used, added] = mounted.emplace(mirror->name, resource.name);
    if (!added) {
      findings.add(position,
                   "mirror \"{}\" already holds filesystem \"{}\": give each filesystem its own mirror",
                   mirror->name, used->second);
    }
  }
}

void read_group(const TomlEntry& entry, ConfigurationDraft& draft) {
  SectionReader section(entry.value, "group." + entry.key, draft.findings);
  GroupConfiguration group;
  group.name = entry.key;
  group.position = entry.value.position;
  check_name(group.name, entry.position, draft.findings);
  if (const GroupConfiguration* other = draft.configuration.group(group.name)) {
    draft.findings.add(entry.position,
                       "group \"{}\" has the name of \"{}\" (names compare without case): rename one",
                       group.name, other->name);
  }
  std::optional<size_t> named = read_policy(section, group, draft);
  std::string startup = "automatic";
  if (section.read_string("startup", startup) && startup != "automatic" && startup != "manual") {
    draft.findings.add(section.position_of("startup"),
                       "unknown startup \"{}\": use \"automatic\" or \"manual\"", startup);
  }
  if (startup == "manual") group.startup = Startup::kManual;
  read_failback(section, group, draft);
  read_placement(section, group, draft);
  read_resources(section, group, draft);
  read_monitors(section, group, draft);
  check_group(section, group, named, draft.findings);
  check_mirrors(section.path(), group, draft);
  section.finish();
  order_resources(group, section.path(), draft.findings);
  draft.configuration.groups.push_back(group);
}

}  // namespace

void read_groups(SectionReader& file, ConfigurationDraft& draft) {
  for (const TomlEntry* entry : file.sections("group")) read_group(*entry, draft);
  check_placement(draft);
}

}  // namespace baton
