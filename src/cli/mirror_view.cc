// Mirrors: in-sync sets, copies, running copies with their progress.
#include <fmt/ranges.h>

#include "src/cli/status_view.h"

namespace baton::cli {
namespace {

uint64_t bytes_of(const json& object, const char* key) { return static_cast<uint64_t>(number_of(object, key)); }

bool is_in_sync(const json& mirror, const std::string& server) {
  for (const std::string& member : texts_of(mirror, "in_sync")) {
    if (member == server) return true;
  }
  return false;
}

bool is_copying(const json& copy) {
  return text_of(copy, "link") == "copying" && bytes_of(copy, "copy_total_bytes") > 0;
}

Colour colour_of_link(const std::string& link) {
  if (link == "connected") return Colour::kGreen;
  if (link == "refused") return Colour::kRed;
  return Colour::kYellow;
}

std::string format_progress(const json& copy) {
  return fmt::format("{}  {} copy, {} of {}, {} sent",
                     progress_bar(bytes_of(copy, "copy_done_bytes"), bytes_of(copy, "copy_total_bytes")),
                     text_of(copy, "copy"), short_size(bytes_of(copy, "copy_done_bytes")),
                     short_size(bytes_of(copy, "copy_total_bytes")),
                     short_size(bytes_of(copy, "copy_sent_bytes")));
}

std::vector<Cell> copy_row(const json& mirror, const json& copy) {
  std::string server = text_of(copy, "server");
  if (!flag_of(copy, "reported")) return {{"  " + server}, {"no report", Colour::kYellow}};
  bool in_sync = is_in_sync(mirror, server);
  std::string data = in_sync ? "in sync" : flag_of(copy, "consistent") ? "not in sync" : "inconsistent";
  std::string remark;
  if (uint64_t dirty = bytes_of(copy, "dirty_bytes"); dirty > 0) remark = short_size(dirty) + " to copy";
  return {{"  " + server},
          {text_of(copy, "role")},
          {text_of(copy, "link"), colour_of_link(text_of(copy, "link"))},
          {data, in_sync ? Colour::kGreen : Colour::kYellow},
          {remark}};
}

/// What stands below a mirror's copies: progress, what requests wait for, problems.
std::string format_remarks(const json& mirror, const Painter& painter) {
  std::string text;
  bool shown = false;
  for (const json& copy : list_of(mirror, "copies")) {
    // Both sides report the same copy; the one that sends knows most.
    if (is_copying(copy) && !shown) {
      text += "    " + format_progress(copy) + "\n";
      shown = true;
    }
    std::string server = text_of(copy, "server");
    std::string waiting = text_of(copy, "waiting");
    if (!waiting.empty()) text += painter.paint(wrap_text(server + " waits: " + waiting, 4), Colour::kYellow);
    std::string problem = text_of(copy, "problem");
    if (!problem.empty()) text += painter.paint(wrap_text(server + ": " + problem, 4), Colour::kRed);
  }
  return text;
}

}  // namespace

std::string format_mirrors(const json& status, const Painter& painter, const std::string& only) {
  std::string text = painter.paint("MIRROR", Colour::kFaint) + "\n";
  for (const json& mirror : list_of(status, "mirrors")) {
    if (!only.empty() && text_of(mirror, "name") != only) continue;
    std::vector<std::string> members = texts_of(mirror, "in_sync");
    text += fmt::format("{}  {}, {}\n", painter.paint(text_of(mirror, "name"), Colour::kBold),
                        short_size(bytes_of(mirror, "size_bytes")),
                        members.empty() ? "never used" : fmt::format("in sync: {}", fmt::join(members, ", ")));
    std::vector<std::vector<Cell>> rows;
    for (const json& copy : list_of(mirror, "copies")) rows.push_back(copy_row(mirror, copy));
    text += format_table(rows, painter) + format_remarks(mirror, painter);
  }
  return text;
}

std::string format_mirror_details(const json& mirror, const Painter& painter) {
  json status{{"mirrors", json::array({mirror})}};
  std::string text = format_mirrors(status, painter);
  text += fmt::format("  permit {}, held by {}\n", number_of(mirror, "permit"),
                      text_of(mirror, "holder").empty() ? "nobody" : text_of(mirror, "holder"));
  for (const json& copy : list_of(mirror, "copies")) {
    if (!flag_of(copy, "reported")) continue;
    const json& generation = object_of(copy, "generation");
    uint64_t random = generation.contains("random") && generation["random"].is_number_unsigned()
                          ? generation["random"].get<uint64_t>()
                          : 0;
    text +=
        fmt::format("  {}: incarnation {}, permit {}, generation {}-{:016x}{}\n", text_of(copy, "server"),
                    number_of(copy, "incarnation"), number_of(copy, "permit"), number_of(generation, "counter"),
                    random, flag_of(copy, "exported") ? ", exported" : "");
    std::string kind = text_of(copy, "copy");
    if (kind == "none" || kind.empty()) continue;
    text += wrap_text(
        fmt::format(
            "{} {} copy: {} of {}, {} sent, {} read{}", is_copying(copy) ? "running" : "last", kind,
            short_size(bytes_of(copy, "copy_done_bytes")), short_size(bytes_of(copy, "copy_total_bytes")),
            short_size(bytes_of(copy, "copy_sent_bytes")), short_size(bytes_of(copy, "copy_read_bytes")),
            text_of(copy, "copy_reason").empty() ? "" : "; because " + text_of(copy, "copy_reason")),
        4);
  }
  return text;
}

}  // namespace baton::cli
