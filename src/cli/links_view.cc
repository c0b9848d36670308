// See links_view.h; docs/operations.md, "Links".
#include "src/cli/links_view.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <map>
#include <tuple>

namespace baton::cli {
namespace {

using Direction = std::tuple<std::string, std::string, int64_t>;  // from, to, link

int64_t priority_of(const json& status, int64_t link) {
  for (const json& one : list_of(object_of(status, "interconnects"), "links"))
    if (number_of(one, "link") == link) return number_of(one, "priority");
  return 0;
}

std::map<Direction, json> reported_links(const json& status) {
  std::map<Direction, json> links;
  for (const json& server : list_of(status, "servers"))
    for (const json& link : list_of(server, "links"))
      links[{text_of(server, "name"), text_of(link, "peer"), number_of(link, "link")}] = link;
  return links;
}

/// One direction's state, in the light of what the other side says.
std::string state_of(const json& link, const json* other) {
  const bool connected = flag_of(link, "connected");
  if (other != nullptr && flag_of(*other, "connected") != connected) return "one way";
  if (flag_of(link, "flapping")) return "flapping";
  return connected ? "up" : "down";
}

Colour colour_of(const std::string& state) {
  if (state == "up") return Colour::kGreen;
  return state == "down" ? Colour::kRed : Colour::kYellow;
}

std::string round_trip(const json& link) {
  const int64_t mean = number_of(link, "round_trip_us");
  if (mean == 0 || !flag_of(link, "connected")) return "-";
  return fmt::format("{:.2f} ms ({:.1f})", static_cast<double>(mean) / 1000,
                     static_cast<double>(number_of(link, "round_trip_worst_us")) / 1000);
}

std::string loss(const json& link) {
  return link.contains("loss_percent") && link["loss_percent"].is_number()
             ? fmt::format("{:.1f}%", real_of(link, "loss_percent"))
             : "-";
}

std::string remark(const json& link) {
  const std::string from = text_of(link, "from"), to = text_of(link, "to"), state = text_of(link, "state");
  const int64_t number = number_of(link, "link");
  if (state == "one way" && flag_of(link, "connected"))
    return fmt::format("link {}: {} has it up to {}, but {} has it down: frames are lost in one direction, or it "
                       "changes just now", number, from, to, to);
  if (state == "flapping")
    return fmt::format("link {}: {} lost {} {} times in the last five minutes (a cable, a switch port, or the "
                       "link_ping_timeout is too short: try baton tune)", number, from, to,
                       number_of(link, "downs_recent"));
  if (number_of(link, "send_errors") > 0)
    return fmt::format("link {}: the kernel of {} did not take {} packets to {} (a firewall, or no route)", number, from,
                       number_of(link, "send_errors"), to);
  return "";
}

}  // namespace

json collect_links(const json& status) {
  const auto reported = reported_links(status);
  json list = json::array();
  for (const auto& [direction, link] : reported) {
    const auto& [from, to, number] = direction;
    const auto other = reported.find({to, from, number});
    json one = link;
    one.erase("peer");
    one["from"] = from;
    one["to"] = to;
    one["priority"] = priority_of(status, number);
    one["state"] = state_of(link, other == reported.end() ? nullptr : &other->second);
    list.push_back(one);
  }
  json silent = json::array();
  for (const json& server : list_of(status, "servers"))
    if (list_of(server, "links").empty() && list_of(status, "servers").size() > 1) silent.push_back(text_of(server, "name"));
  return {{"mode", text_of(object_of(status, "interconnects"), "mode")}, {"links", list}, {"silent", silent}};
}

std::string format_links(const json& links, const Painter& painter) {
  const bool passive = text_of(links, "mode") == "passive";
  std::string text = passive ? "Mode passive: packets take the link of the highest priority that is up\n"
                             : "Mode active: every packet of the cluster goes over all links\n";
  std::vector<std::vector<Cell>> rows;
  rows.emplace_back();
  for (const char* head : {"FROM", "TO", "LINK", "PRIO", "STATE", "LOSS", "ROUND TRIP (MAX)", "DOWN"})
    rows.back().push_back({head, Colour::kFaint});
  std::string remarks;
  for (const json& link : list_of(links, "links")) {
    const std::string state = text_of(link, "state");
    rows.push_back({{text_of(link, "from")},
                    {text_of(link, "to")},
                    {fmt::format("{}", number_of(link, "link"))},
                    {fmt::format("{}", number_of(link, "priority"))},
                    {state, colour_of(state)},
                    {loss(link), real_of(link, "loss_percent") > 0 ? Colour::kYellow : Colour::kNone},
                    {round_trip(link)},
                    {fmt::format("{}x", number_of(link, "downs"))}});
    if (const std::string said = remark(link); !said.empty()) remarks += painter.paint(wrap_text(said, 0), Colour::kYellow);
  }
  text += format_table(rows, painter);
  const auto silent = texts_of(links, "silent");
  if (!silent.empty())
    remarks += painter.paint(
        wrap_text(fmt::format("not known how these servers see their links: {}", fmt::join(silent, ", ")), 0),
        Colour::kYellow);
  return text + remarks;
}

std::string broken_links(const json& server) {
  std::map<std::string, std::string> peers;
  for (const json& link : list_of(server, "links")) {
    const bool connected = flag_of(link, "connected");
    if (connected && !flag_of(link, "flapping")) continue;
    peers[text_of(link, "peer")] += fmt::format(" {}({})", number_of(link, "link"), connected ? "flapping" : "cut");
  }
  std::vector<std::string> parts;
  for (const auto& [peer, broken] : peers) parts.push_back(peer + broken);
  return fmt::format("{}", fmt::join(parts, "; "));
}

}  // namespace baton::cli
