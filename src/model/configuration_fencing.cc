// Reads how servers are fenced: [cluster] fencing and [server.NAME.fence].
#include "src/model/configuration_readers.h"

namespace baton {

void read_fencing(SectionReader& cluster, ConfigurationDraft& draft) {
  std::string mode = "besides";
  if (!cluster.read_string("fencing", mode)) return;
  if (mode != "besides" && mode != "required") {
    draft.findings.add(cluster.position_of("fencing"), "unknown fencing \"{}\": use \"besides\" or \"required\"", mode);
  }
  draft.configuration.fencing_required = mode == "required";
}

void read_fence(SectionReader& server_section, ServerConfiguration& server, ConfigurationDraft& draft) {
  const TomlValue* value = server_section.find("fence");
  if (value == nullptr) return;
  if (value->kind != TomlValue::Kind::kTable) {
    draft.findings.add(value->position, "\"fence\" must be a section: write [server.{}.fence] with agent = \"...\"",
                       server.name);
    return;
  }
  SectionReader section(*value, server_section.path_of("fence"), draft.findings);
  section.require("agent", "add agent = \"fence_...\", a program of fence-agents");
  section.read_string("agent", server.fence.agent);
  if (section.read_map("options", server.fence.options)) {
    for (const auto& [name, text] : server.fence.options) {
      if (name == "action" || (name + text).find('\n') != std::string::npos) {
        draft.findings.add(section.position_of("options." + name),
                           "option \"{}\" cannot be given: Baton chooses the action itself, and options are single lines",
                           name);
      }
    }
  }
  section.read_duration("timeout", 1000ms, 600s, server.fence.timeout);
  section.read_boolean("restart", server.fence.restart);
  section.finish();
}

void check_fencing(ConfigurationDraft& draft) {
  if (!draft.configuration.fencing_required) return;
  for (const ServerConfiguration& server : draft.configuration.servers) {
    if (server.role == ServerRole::kWitness || !server.fence.agent.empty()) continue;
    draft.findings.add(server.position,
                       "fencing is \"required\", but {} cannot be fenced: add [server.{}.fence] with agent = \"...\"",
                       server.name, server.name);
  }
}

}  // namespace baton
