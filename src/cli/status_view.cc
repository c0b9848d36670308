// Cluster line, servers, groups and resources. The mirrors are in mirror_view.cc.
#include "src/cli/status_view.h"

#include <fmt/ranges.h>

#include "src/cli/failover_view.h"
#include "src/cli/links_view.h"

namespace baton::cli {
namespace {

Colour colour_of(const std::string& state) {
  if (state == "up" || state == "started" || state == "serving" || state == "good") return Colour::kGreen;
  if (state == "down" || state == "failed" || state == "not serving") return Colour::kRed;
  if (state == "stopped" || state == "unknown") return Colour::kFaint;
  return Colour::kYellow;
}

/// Only what is remarkable: who goes on alone, or what everything waits for.
std::string format_partition(const json& status, const Painter& painter) {
  const json& partition = object_of(status, "partition");
  std::string text;
  if (flag_of(partition, "taken_over") && flag_of(object_of(status, "database"), "serving"))
    text += painter.paint(wrap_text("this server decides alone until the other one is back", 10),
                          Colour::kYellow);
  if (const std::string disk = text_of(object_of(partition, "disk"), "standing"); !disk.empty())
    text += painter.paint(wrap_text("the disk " + text_of(object_of(partition, "disk"), "path") + " between the servers: " + disk, 10),
                          Colour::kYellow);
  const json& ping = object_of(partition, "ping");
  for (const json& target : list_of(ping, "targets")) {
    if (flag_of(target, "answers")) continue;
    const std::string problem = text_of(target, "problem");
    text += painter.paint(wrap_text(fmt::format("ping target {} has not answered for {} s{}", text_of(target, "address"),
                                                number_of(target, "since_ms") / 1000, problem.empty() ? "" : ": " + problem), 10),
                          Colour::kYellow);
  }
  if (const std::string standing = text_of(ping, "standing"); !standing.empty())
    text += painter.paint(wrap_text("the ping targets: " + standing, 10), Colour::kYellow);
  if (const std::string warning = text_of(partition, "warning"); !warning.empty())
    text += painter.paint(wrap_text(warning, 10), Colour::kYellow);
  const std::string waiting = text_of(partition, "waiting");
  if (!waiting.empty() && waiting != text_of(object_of(status, "database"), "waiting"))
    text += painter.paint(wrap_text(waiting, 10), Colour::kRed);
  return text;
}

/// "suspended by root (new disks), 12 min left".
std::string describe_suspension(const json& suspension) {
  std::string text = "suspended by " + text_of(suspension, "author");
  const std::string reason = text_of(suspension, "reason");
  if (!reason.empty()) text += " (" + reason + ")";
  if (flag_of(suspension, "limited")) text += fmt::format(", {} s left", (number_of(suspension, "left_ms") + 999) / 1000);
  return text + ": nothing moves, nothing is restarted";
}

std::string describe_shutdown(const json& shutdown) {
  std::string text = "shut down by " + text_of(shutdown, "author");
  const std::string reason = text_of(shutdown, "reason");
  if (!reason.empty()) text += " (" + reason + ")";
  const std::string afterwards = text_of(shutdown, "afterwards");
  if (afterwards != "nothing") text += ", then: " + afterwards;
  return text + fmt::format(" ({} s left)", (number_of(shutdown, "left_ms") + 999) / 1000);
}

/// Only while the keys are being replaced.
std::string format_keys(const json& keys, const Painter& painter) {
  const std::string phase = text_of(keys, "phase");
  if (phase.empty() || phase == "none") return "";
  std::string text = fmt::format("The cluster's keys are being replaced by {} ({}): {}", text_of(keys, "author"), phase, text_of(keys, "waiting"));
  if (phase == "staging") text += fmt::format("; called off in {} s", (number_of(keys, "left_ms") + 999) / 1000);
  return painter.paint(wrap_text(text, 0), Colour::kYellow);
}

std::string format_cluster(const json& status, const Painter& painter) {
  const json& database = object_of(status, "database");
  bool serving = flag_of(database, "serving");
  std::string text = painter.paint("Cluster " + text_of(status, "cluster"), Colour::kBold);
  text += fmt::format("  seen from {}, configuration {}\n", text_of(status, "server"),
                      number_of(status, "configuration_version"));
  text += "Database  " +
          painter.paint(serving ? "serving" : "not serving", colour_of(serving ? "serving" : "not serving"));
  std::string leader = text_of(database, "leader");
  text += leader.empty() ? "" : ", led by " + leader;
  text +=
      fmt::format(", epoch {}, {} entries\n", number_of(database, "epoch"), number_of(database, "committed"));
  std::string waiting = text_of(database, "waiting");
  if (!waiting.empty()) text += painter.paint(wrap_text("waits: " + waiting, 10), Colour::kYellow);
  if (database.contains("counting") && !flag_of(database, "counting")) {
    text += painter.paint(wrap_text("its database was lost: it does not count until it has caught up", 10),
                          Colour::kYellow);
  }
  text += format_partition(status, painter);
  if (!object_of(status, "suspended").empty())
    text += painter.paint(wrap_text("The cluster is " + describe_suspension(object_of(status, "suspended")), 0), Colour::kYellow);
  if (!object_of(status, "shutdown").empty())
    text += painter.paint(wrap_text("The cluster is being " + describe_shutdown(object_of(status, "shutdown")), 0), Colour::kYellow);
  if (const std::string why = text_of(status, "given_up"); !why.empty())
    text += painter.paint(wrap_text("The cluster's shutdown was given up: " + why + " (read: baton cluster shutdown --cancel)", 0),
                          Colour::kYellow);
  text += format_keys(object_of(status, "keys"), painter);
  const std::string starting = text_of(status, "starting");
  if (!starting.empty()) text += painter.paint(wrap_text(starting, 0), Colour::kYellow);
  const json& lease = object_of(status, "lease");
  text += "Lease     ";
  text += flag_of(lease, "valid") ? painter.paint("valid", Colour::kGreen) +
                                        fmt::format(", {} ms left", number_of(lease, "left_ms"))
                                  : painter.paint("none: this server may hold no group", Colour::kRed);
  text += "\n";
  if (!flag_of(lease, "valid") && lease.contains("freeze_left_ms")) {
    const auto left = number_of(lease, "freeze_left_ms");
    text += wrap_text(left > 0 ? fmt::format("what runs here is frozen, and ended in {} s unless the lease is back",
                                             (left + 999) / 1000)
                               : std::string("what ran here has been ended"),
                      10);
  }
  if (const std::string why = text_of(lease, "waiting"); !why.empty())
    text += painter.paint(wrap_text(why, 10), Colour::kYellow);
  for (const std::string& problem : texts_of(status, "problems")) {
    text += painter.paint(wrap_text("Problem: " + problem, 0), Colour::kRed);
  }
  return text;
}

/// "server2 0 1(cut); witness 0 1": the peers with their links, broken ones marked. Of other servers only what is broken.
Cell links_cell(const json& server) {
  if (!flag_of(server, "self")) return {broken_links(server), Colour::kYellow};
  std::map<std::string, std::string> peers;
  bool broken = false;
  for (const json& link : list_of(server, "links")) {
    bool connected = flag_of(link, "connected");
    const bool flapping = flag_of(link, "flapping");
    broken = broken || !connected || flapping;
    peers[text_of(link, "peer")] +=
        fmt::format(" {}{}", number_of(link, "link"), !connected ? "(cut)" : flapping ? "(flapping)" : "");
  }
  std::vector<std::string> parts;
  for (const auto& [peer, links] : peers) parts.push_back(peer + links);
  return {fmt::format("{}", fmt::join(parts, "; ")), broken ? Colour::kYellow : Colour::kNone};
}

/// "normal (O)".
Cell standing_cell(const json& server) {
  const std::string standing = text_of(server, "standing");
  if (standing.empty()) return {"-"};  // a batond of an older version
  return {fmt::format("{} ({})", standing, text_of(server, "standing_short")),
          standing == "normal" ? Colour::kGreen : standing == "down" ? Colour::kRed : Colour::kYellow};
}

/// What is remarkable about servers, below their table.
std::string format_server_remarks(const json& status, const Painter& painter) {
  std::string text;
  const auto say = [&](const json& server, const std::string& what) {
    text += painter.paint(wrap_text(text_of(server, "name") + " " + what, 2), Colour::kYellow);
  };
  for (const json& server : list_of(status, "servers")) {
    const std::string standing = text_of(server, "standing");
    const std::string reason = text_of(server, "standing_reason");
    if (standing == "isolated") {
      const int64_t left = number_of(server, "hold_left_ms");
      say(server, fmt::format("is isolated: {}{}. It votes and keeps its copies, but gets no group: baton server return {}",
                              reason, left > 0 ? fmt::format(" ({} s left)", (left + 999) / 1000) : "",
                              text_of(server, "name")));
    } else if (standing != "normal" && !reason.empty()) {
      say(server, fmt::format("is {}: {}", standing, reason));
    }
    if (!object_of(server, "suspended").empty()) say(server, "is " + describe_suspension(object_of(server, "suspended")));
    if (!object_of(server, "shutdown").empty() && standing != "stopped")
      say(server, "is being " + describe_shutdown(object_of(server, "shutdown")));
    if (const std::string why = text_of(server, "given_up"); !why.empty())
      say(server, fmt::format("was not shut down, that was given up: {} (read: baton server shutdown {} --cancel)", why,
                              text_of(server, "name")));
    if (!object_of(server, "drain").empty())
      say(server, "is being drained by " + text_of(object_of(server, "drain"), "author"));
    for (const json& staying : list_of(server, "staying"))
      say(server, fmt::format("still has {}: {}", text_of(staying, "group"), text_of(staying, "why")));
  }
  return text;
}

std::string format_servers(const json& status, const Painter& painter) {
  std::vector<std::vector<Cell>> rows;
  rows.push_back({{"SERVER", Colour::kFaint},
                  {"ID", Colour::kFaint},
                  {"ROLE", Colour::kFaint},
                  {"STATE", Colour::kFaint},
                  {"CLUSTER", Colour::kFaint},
                  {"LINKS", Colour::kFaint}});
  for (const json& server : list_of(status, "servers")) {
    std::string state = text_of(server, "state");
    std::string name = text_of(server, "name") + (flag_of(server, "self") ? " *" : "");
    rows.push_back({{name},
                    {fmt::format("{}", number_of(server, "id"))},
                    {text_of(server, "role")},
                    {state, colour_of(state)},
                    standing_cell(server),
                    links_cell(server)});
  }
  return format_table(rows, painter) + format_server_remarks(status, painter);
}

std::string format_resources(const json& group, const Painter& painter) {
  std::vector<std::vector<Cell>> rows;
  for (const json& resource : list_of(group, "resources")) {
    std::string state = text_of(resource, "state");
    rows.push_back({{text_of(resource, "name")},
                    {text_of(resource, "kind")},
                    {state, colour_of(state)},
                    {text_of(resource, "detail")}});
  }
  for (const json& program : list_of(group, "programs")) {
    std::string state = text_of(program, "state");
    rows.push_back({{text_of(program, "name")}, {"program"}, {state, colour_of(state)}, {text_of(program, "detail")}});
  }
  for (const json& monitor : list_of(group, "monitors")) {
    std::string state = text_of(monitor, "state");
    rows.push_back({{text_of(monitor, "name")}, {"monitor"}, {state, colour_of(state)}, {text_of(monitor, "detail")}});
  }
  return format_table(rows, painter, 2);
}

/// What is remarkable about a group, below its line.
std::string format_remarks(const json& group, const Painter& painter) {
  std::string text;
  std::string reason = text_of(group, "reason");
  if (!reason.empty()) text += painter.paint(wrap_text(reason, 2), Colour::kFaint);
  const std::string failover = failover_line(object_of(group, "failover"));
  if (!failover.empty()) text += painter.paint(wrap_text(failover, 2), Colour::kFaint);
  std::string target = text_of(group, "target");
  if (!target.empty() && target != text_of(group, "owner")) text += wrap_text("on its way to " + target, 2);
  std::string waiting = text_of(group, "waiting");
  if (!waiting.empty()) text += painter.paint(wrap_text("waits: " + waiting, 2), Colour::kYellow);
  const std::string failback = text_of(group, "failback");
  if (!failback.empty()) text += painter.paint(wrap_text("does not fail back: " + failback, 2), Colour::kYellow);
  const std::string held = text_of(group, "held");
  if (!held.empty()) text += painter.paint(wrap_text("held here: " + held, 2), Colour::kRed);
  if (!object_of(group, "suspended").empty())
    text += painter.paint(wrap_text(describe_suspension(object_of(group, "suspended")), 2), Colour::kYellow);
  for (const json& refusal : list_of(group, "refused")) {
    int64_t attempts = number_of(refusal, "attempts");
    std::string times = attempts == 1 ? "once" : fmt::format("{} times", attempts);
    text += painter.paint(wrap_text(fmt::format("failed {} on {}: {}", times, text_of(refusal, "server"),
                                                text_of(refusal, "reason")),
                                    2),
                          Colour::kRed);
  }
  return text;
}

}  // namespace

std::string format_groups(const json& status, const Painter& painter, bool resources) {
  std::vector<std::vector<Cell>> rows;
  rows.push_back({{"GROUP", Colour::kFaint},
                  {"STATE", Colour::kFaint},
                  {"SERVER", Colour::kFaint},
                  {"WANTED", Colour::kFaint}});
  for (const json& group : list_of(status, "groups")) {
    std::string phase = text_of(group, "phase");
    std::string owner = text_of(group, "owner");
    rows.push_back({{text_of(group, "name")},
                    {phase, colour_of(phase)},
                    {owner.empty() ? "-" : owner},
                    {flag_of(group, "wanted") ? "running" : "stopped"}});
  }
  std::string table = format_table(rows, painter);
  if (!resources) return table;
  // The remarks and resources of each group go below its line.
  std::string text;
  size_t begin = 0;
  size_t line_number = 0;
  const json& groups = list_of(status, "groups");
  while (begin < table.size()) {
    size_t end = table.find('\n', begin) + 1;
    text += table.substr(begin, end - begin);
    if (line_number > 0) {
      const json& group = groups[line_number - 1];
      text += format_remarks(group, painter) + format_resources(group, painter);
    }
    ++line_number;
    begin = end;
  }
  return text;
}

/// The receivers of alerts, as this server knows them.
std::string format_alerts(const json& status, const Painter& painter) {
  std::vector<std::vector<Cell>> rows;
  rows.push_back({{"ALERT", Colour::kFaint},
                  {"BY", Colour::kFaint},
                  {"STATE", Colour::kFaint},
                  {"SENT BY", Colour::kFaint},
                  {"WAITING", Colour::kFaint},
                  {"LAST", Colour::kFaint}});
  std::string remarks;
  const auto ago = [](const json& alert, const char* key) { return fmt::format("{} s", number_of(alert, key) / 1000); };
  for (const json& alert : list_of(status, "alerts")) {
    const std::string state = text_of(alert, "state");
    const bool told = alert.contains("last_sent_ago_ms") && !alert["last_sent_ago_ms"].is_null();
    rows.push_back({{text_of(alert, "name")}, {text_of(alert, "kind")}, {state, state == "failing" ? Colour::kRed : colour_of(state)},
                    {text_of(alert, "sender")}, {fmt::format("{}", number_of(alert, "waiting"))},
                    {told ? ago(alert, "last_sent_ago_ms") + " ago" : "-"}});
    if (state == "failing")
      remarks += painter.paint(wrap_text(fmt::format("{}: {} is not reached from here, for {}: {}", text_of(alert, "name"),
                                                     text_of(alert, "target"), ago(alert, "failing_for_ms"), text_of(alert, "problem")),
                                         2),
                               Colour::kRed);
    if (const int64_t more = number_of(alert, "not_sent"); more > 0)
      remarks += painter.paint(wrap_text(fmt::format("{}: {} events were not sent", text_of(alert, "name"), more), 2), Colour::kYellow);
  }
  return format_table(rows, painter) + remarks;
}

std::string format_status(const json& status, const Painter& painter) {
  std::string text = format_cluster(status, painter) + "\n" + format_servers(status, painter);
  if (!list_of(status, "groups").empty()) text += "\n" + format_groups(status, painter, true);
  if (!list_of(status, "mirrors").empty()) text += "\n" + format_mirrors(status, painter);
  if (!list_of(status, "alerts").empty()) text += "\n" + format_alerts(status, painter);
  return text;
}

std::string describe_group(const json& group) {
  std::string owner = text_of(group, "owner");
  std::string text = text_of(group, "phase") + (owner.empty() ? "" : " on " + owner);
  for (const json& resource : list_of(group, "resources")) {
    std::string state = text_of(resource, "state");
    if (state != "starting" && state != "stopping" && state != "failed") continue;
    std::string detail = text_of(resource, "detail");
    text += fmt::format("; {} {} is {}{}", text_of(resource, "kind"), text_of(resource, "name"), state,
                        detail.empty() ? "" : " (" + detail + ")");
  }
  std::string waiting = text_of(group, "waiting");
  if (!waiting.empty()) text += "; waits: " + waiting;
  return text;
}

}  // namespace baton::cli
