// Reads [cluster] and [server.NAME].
#include <algorithm>

#include "src/model/configuration_readers.h"

namespace baton {
namespace {

void read_public_lan(SectionReader& cluster, ConfigurationDraft& draft) {
  std::string text;
  if (!cluster.read_string("public_lan", text)) return;
  SourcePosition position = cluster.position_of("public_lan");
  auto network = parse_network(text);
  if (!network || network->prefix_length < 8 || network->prefix_length > 30) {
    draft.findings.add(position,
                       "public_lan \"{}\" is no IPv4 network: write its address and prefix length (8 to 30), "
                       "as in \"10.0.0.0/24\"",
                       text);
  } else if (network->address & ~network->mask()) {
    draft.findings.add(position, "public_lan \"{}\" has host bits set: write \"{}/{}\"", text,
                       format_ipv4(network->address & network->mask()), network->prefix_length);
  } else {
    draft.public_lan = network;
    draft.configuration.public_lan = text;
  }
}

void read_interconnects(SectionReader& section, ServerConfiguration& server, ConfigurationDraft& draft) {
  section.require("interconnects", "add interconnects = [\"10.0.1.1\"] with the server's address on each link");
  if (!section.read_strings("interconnects", server.interconnects)) return;
  size_t count = server.interconnects.size();
  if (count < 1 || count > 8) {
    draft.findings.add(section.position_of("interconnects"), "{} has {} interconnects: give 1 to 8 addresses",
                       server.name, count);
  }
  for (size_t link = 0; link < count; ++link) {
    const std::string& text = server.interconnects[link];
    SourcePosition position = section.position_of(fmt::format("interconnects.{}", link));
    auto address = parse_ipv4(text);
    if (!address || !is_host_address(*address)) {
      draft.findings.add(position,
                         "\"{}\" is no IPv4 address that a server can have: write one like \"10.0.1.1\"", text);
      continue;
    }
    auto [used, added] = draft.addresses.emplace(*address, server.name);
    if (!added) {
      draft.findings.add(position,
                         "address {} is already {}'s: give each link of each server an address of its own",
                         text, used->second);
    }
  }
}

void read_server(const TomlEntry& entry, ConfigurationDraft& draft) {
  SectionReader section(entry.value, "server." + entry.key, draft.findings);
  ServerConfiguration server;
  server.name = entry.key;
  server.position = entry.value.position;
  check_name(server.name, entry.position, draft.findings);
  if (const ServerConfiguration* other = draft.configuration.server(server.name)) {
    draft.findings.add(entry.position,
                       "server \"{}\" has the name of \"{}\" (names compare without case): rename one",
                       server.name, other->name);
  }
  int64_t id = 0;
  section.require("id", "add id = N, a number from 1 to 63 that no other server has and that never changes");
  if (section.read_integer("id", 1, 63, id)) {
    server.id = ServerId(static_cast<uint32_t>(id));
    if (const ServerConfiguration* other = draft.configuration.server(server.id)) {
      draft.findings.add(section.position_of("id"),
                         "id {} is already {}'s: give each server a number of its own", id, other->name);
    }
  }
  std::string role = "server";
  if (section.read_string("role", role) && role != "server" && role != "witness") {
    draft.findings.add(section.position_of("role"), "unknown role \"{}\": use \"server\" or \"witness\"", role);
  }
  if (role == "witness") server.role = ServerRole::kWitness;
  read_return(section, server.return_policy, draft);
  read_interconnects(section, server, draft);
  if (section.read_string("watchdog", server.watchdog) && !server.watchdog.empty() && server.watchdog[0] != '/') {
    draft.findings.add(section.position_of("watchdog"),
                       "watchdog \"{}\" is not absolute: write the device's whole path, as in \"/dev/watchdog\"",
                       server.watchdog);
  }
  read_fence(section, server, draft);
  read_capacity(section, server, draft);
  section.finish();
  draft.configuration.servers.push_back(server);
}

void check_servers(ConfigurationDraft& draft) {
  const std::vector<ServerConfiguration>& servers = draft.configuration.servers;
  const ServerConfiguration* witness = nullptr;
  for (const ServerConfiguration& server : servers) {
    if (server.role == ServerRole::kWitness && witness) {
      draft.findings.add(draft.findings.position("server." + server.name + ".role"),
                         "there is a witness already ({}): a cluster has at most one", witness->name);
    }
    if (server.role == ServerRole::kWitness) witness = &server;
    size_t links = servers.front().interconnects.size();
    if (links > 0 && !server.interconnects.empty() && server.interconnects.size() != links) {
      draft.findings.add(draft.findings.position("server." + server.name + ".interconnects"),
                         "{} has {} interconnects, {} has {}: every server needs one address on each link",
                         server.name, server.interconnects.size(), servers.front().name, links);
    }
  }
  check_link_priorities(draft);
  bool only_witness = !servers.empty() && servers.size() == (witness ? 1u : 0u);
  if (servers.empty() || only_witness) {
    draft.findings.add(servers.empty() ? SourcePosition{1, 1} : servers.front().position,
                       "there is no server: add a section [server.NAME] with id and interconnects");
  }
}

}  // namespace

void read_cluster(SectionReader& file, ConfigurationDraft& draft) {
  const TomlValue* table = file.require("cluster", "add it with name = \"...\"");
  if (!table) return;
  if (table->kind != TomlValue::Kind::kTable) {
    draft.findings.add(table->position, "\"cluster\" must be a section: write [cluster]");
    return;
  }
  SectionReader section(*table, "cluster", draft.findings);
  section.require("name", "add name = \"...\"");
  if (section.read_string("name", draft.configuration.cluster_name)) {
    check_name(draft.configuration.cluster_name, section.position_of("name"), draft.findings);
  }
  read_public_lan(section, draft);
  read_timing(section, draft);
  read_np(section, draft);
  read_fencing(section, draft);
  read_links(section, draft);
  read_policies(section, draft);
  section.finish();
}

void read_servers(SectionReader& file, ConfigurationDraft& draft) {
  for (const TomlEntry* entry : file.sections("server")) read_server(*entry, draft);
  check_servers(draft);
  settle_np(draft);
  check_fencing(draft);
  std::stable_sort(
      draft.configuration.servers.begin(), draft.configuration.servers.end(),
      [](const ServerConfiguration& left, const ServerConfiguration& right) { return left.id < right.id; });
}

}  // namespace baton
