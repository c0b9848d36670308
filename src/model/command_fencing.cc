// Judges what is recorded of lost servers' power. Pure; the same on every voter. docs/protocol.md, "Fencing".
#include "src/model/command_rules.h"
#include "src/model/known_configuration.h"

namespace baton {

const char* to_string(FenceOutcome outcome) {
  switch (outcome) {
    case FenceOutcome::kNone: return "not fenced";
    case FenceOutcome::kWanted: return "being fenced";
    case FenceOutcome::kOff: return "power is off";
    case FenceOutcome::kFailed: return "fencing failed";
  }
  return "?";
}

namespace command_rules {

Applied apply(ClusterState& state, const RecordFence& command, uint64_t) {
  const auto configuration = known_configuration(state.configuration_text);
  if (!configuration) return refuse("the present configuration cannot be read: {}", configuration.error().message);
  const ServerConfiguration* server = configuration->server(command.server);
  if (server == nullptr) return refuse("there is no server {}", command.server);
  const auto found = state.fences.find(command.server);
  const FenceState present = found == state.fences.end() ? FenceState{} : found->second;
  const Applied version = check_version("fencing of server", server->name, command.expected_version, present.version);
  if (!version.applied) return version;
  if (command.outcome == FenceOutcome::kWanted && server->fence.agent.empty())
    return refuse("{} has no fence agent: add [server.{}.fence] with agent = \"...\"", server->name, server->name);
  const bool ends = command.outcome == FenceOutcome::kOff || command.outcome == FenceOutcome::kFailed;
  if (ends && command.author.empty() && present.outcome != FenceOutcome::kWanted)
    return refuse("{} is not being fenced any more", server->name);
  FenceState& record = state.fences[command.server];
  ++record.version;
  record.outcome = command.outcome;
  record.text = command.text;
  if (command.outcome == FenceOutcome::kWanted) ++record.attempts;
  if (command.outcome == FenceOutcome::kNone) record.attempts = 0;
  record.author = command.author;
  return Applied{true, {}};
}

std::string unfenced_owner(const ClusterState& state, const Configuration& configuration, const GroupState& group) {
  if (!configuration.fencing_required || is_down(group.phase) || group.owner == ServerId{}) return "";
  const auto found = state.fences.find(group.owner);
  const FenceState record = found == state.fences.end() ? FenceState{} : found->second;
  if (record.outcome == FenceOutcome::kOff) return "";
  const std::string name = configuration.server_name(group.owner);
  const std::string last = record.attempts == 0 ? std::string("not tried yet")
                                                : fmt::format("attempt {}: {}{}{}", record.attempts,
                                                              to_string(record.outcome), record.text.empty() ? "" : ", ",
                                                              record.text);
  return fmt::format("{} must be fenced first ({}); if you have seen that it is off: baton server fence {} --confirm", name,
                     last, name);
}

}  // namespace command_rules
}  // namespace baton
