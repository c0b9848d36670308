// Commands as lines for people. Pure, any thread.
#include "src/model/command_rules.h"

namespace baton::command_rules {

namespace {

std::string with_reason(std::string text, const std::string& reason) {
  return reason.empty() ? text : text + ": " + reason;
}

std::string describe_one(const StartEpoch& command) { return fmt::format("database: epoch of server {} begins", command.leader); }
std::string describe_one(const ApplyConfiguration& command) {
  return fmt::format("configuration: version {} by {}", command.expected_version + 1, command.author);
}
std::string describe_one(const AssignGroup& command) {
  return with_reason(fmt::format("group {}: assign to server {}{}", command.group, command.server,
                                 command.alone ? " alone" : ""), command.reason);
}
std::string describe_one(const SetGroupPhase& command) {
  auto text = with_reason(fmt::format("group {}: {} on server {}", command.group, to_string(command.phase),
                                      command.server), command.reason);
  return command.failure.empty() || command.failure == command.reason ? text : text + " (" + command.failure + ")";
}
std::string describe_one(const WishGroup& command) {
  const std::string where = command.target == ServerId{} ? "" : fmt::format(" on server {}", command.target);
  const std::string who = command.author.empty() ? "" : fmt::format(" by {}", command.author);
  return with_reason(fmt::format("group {}: wanted {}{}{}", command.group, command.wanted ? "running" : "stopped",
                                 where, who), command.reason);
}
std::string describe_one(const SetInSync& command) {
  std::string servers;
  for (const auto& [server, incarnation] : command.in_sync)
    servers += fmt::format("{}{}", servers.empty() ? "" : ", ", server);
  for (const auto& [server, incarnation] : command.trailing) servers += fmt::format("; server {} trails behind", server);
  return with_reason(fmt::format("mirror {}: in sync on server {}", command.mirror, servers), command.reason);
}
std::string describe_one(const BreakMirror& command) {
  return fmt::format("mirror {}: {} by {}", command.mirror,
                     command.broken ? "broken off (its primary goes on alone)" : "rejoined", command.author);
}
std::string describe_one(const ForceMirror& command) {
  return with_reason(fmt::format("mirror {}: the copy of server {} forced to be its data by {}", command.mirror,
                                 command.server, command.author), command.loss);
}
std::string describe_one(const RestrictMirror& command) {
  return fmt::format("mirror {}: server {} {} by {}", command.mirror, command.server,
                     command.restricted ? "restricted" : "no longer restricted", command.author);
}
std::string list_servers(const std::set<ServerId>& servers) {
  std::string list;
  for (const ServerId server : servers) list += fmt::format("{}{}", list.empty() ? "" : ", ", server);
  return list;
}
std::string describe_one(const SetVoters& command) {
  if (!command.voters.joint()) return fmt::format("voters are {}", list_servers(command.voters.now));
  if (command.voters.now == command.voters.before)
    return fmt::format("recovered by a person's word: voters are {}", list_servers(command.voters.now));
  return fmt::format("voters change from {} to {}", list_servers(command.voters.before),
                     list_servers(command.voters.now));
}

std::string describe_one(const TakeOver& command) {
  const std::string who = command.author.empty() ? "" : ", by the word of " + command.author;
  return with_reason(fmt::format("server {} decides alone{}", command.server, who), command.reason);
}

std::string describe_one(const RestoreDatabase& command) {
  return fmt::format("restored from a backup of {} by {}: nobody owns a group, and no copy of a mirror is known to have everything",
                     command.source, command.author);
}

std::string describe_one(const RecordFence& command) {
  const std::string who = command.author.empty() ? "" : fmt::format(" by {}", command.author);
  return with_reason(fmt::format("server {}: fencing: {}{}", command.server, to_string(command.outcome), who), command.text);
}
std::string describe_one(const SetStanding& command) {
  const std::string who = command.author.empty() ? "" : " by " + command.author;
  return with_reason(fmt::format("server {}: {} ({}){}", command.server, to_string(command.standing),
                                 short_name(command.standing), who), command.reason);
}
std::string describe_one(const SetSuspension& command) {
  std::string what = "cluster";
  if (command.server != ServerId{}) what = fmt::format("server {}", command.server);
  if (!command.group.empty()) what = "group " + command.group;
  return with_reason(fmt::format("{}: {} by {}", what, command.suspended ? "suspended" : "resumed", command.author),
                     command.reason);
}
std::string describe_one(const SetDrain& command) {
  return with_reason(fmt::format("server {}: {} by {}", command.server,
                                 command.draining ? "drained" : "no longer drained", command.author), command.reason);
}
std::string describe_one(const SetShutdown& command) {
  const std::string what = command.server == ServerId{} ? "cluster" : fmt::format("server {}", command.server);
  switch (command.step) {
    case SetShutdown::Step::kBegin:
      return with_reason(fmt::format("{}: shutdown asked by {}{}", what, command.author,
                                     command.afterwards == Afterwards::kNothing
                                         ? "" : fmt::format(" (then: {})", to_string(command.afterwards))), command.reason);
    case SetShutdown::Step::kCancel:
      if (command.given_up) return with_reason(fmt::format("{}: shutdown given up", what), command.reason);
      return with_reason(fmt::format("{}: shutdown called off by {}", what, command.author), command.reason);
    case SetShutdown::Step::kEnd: return fmt::format("{}: all groups are stopped, the servers end", what);
    case SetShutdown::Step::kStarted: return fmt::format("{}: started again after an orderly shutdown", what);
  }
  return what;
}
std::string describe_one(const HoldGroup& command) {
  if (command.reason.empty()) return fmt::format("group {}: no longer held on server {}", command.group, command.server);
  return with_reason(fmt::format("group {}: held on server {}", command.group, command.server), command.reason);
}
std::string describe_one(const ReleaseGroup& command) {
  return fmt::format("group {}: released by {}", command.group, command.author);
}
std::string describe_one(const RotateKeys& command) {
  const std::string what = fmt::format("keys: rotation {}", command.number + (command.step == RotateKeys::Step::kBegin ? 1 : 0));
  switch (command.step) {
    case RotateKeys::Step::kBegin:
      return fmt::format("{}: begun by {}, the new key ({}) is made by server {}", what, command.author, command.after, command.server);
    case RotateKeys::Step::kStaged: return fmt::format("{}: server {} has the new key on its disk", what, command.server);
    case RotateKeys::Step::kInForce: return fmt::format("{}: all have the new key, it is in force", what);
    case RotateKeys::Step::kDone: return fmt::format("{}: done, the old key is good for nothing any more", what);
    case RotateKeys::Step::kCancel:
      return with_reason(what + ": called off" + (command.author.empty() ? "" : " by " + command.author), command.reason);
    case RotateKeys::Step::kCertificates: return fmt::format("keys: all certificates are issued anew, asked by {}", command.author);
  }
  return what;
}
std::string describe_one(const RaiseFormatLevel& command) {
  return fmt::format("database: all voters know level {}", command.level);
}

}  // namespace

std::string line(const Command& command) {
  return std::visit([](const auto& one) { return describe_one(one); }, command);
}

}  // namespace baton::command_rules
