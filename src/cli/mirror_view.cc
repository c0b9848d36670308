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

Colour colour_of_link(const std::string& link) {
  if (link == "connected") return Colour::kGreen;
  if (link == "refused") return Colour::kRed;
  return Colour::kYellow;
}

/// "3 min left", when the copy goes on as in the last seconds.
std::string format_time_left(uint64_t bytes_left, uint64_t bytes_per_second) {
  if (bytes_per_second == 0) return "";
  const uint64_t seconds_left = bytes_left / bytes_per_second;
  if (seconds_left < 60) return fmt::format(", {} s left", seconds_left);
  if (seconds_left < 7200) return fmt::format(", {} min left", seconds_left / 60);
  return fmt::format(", {} h left", seconds_left / 3600);
}

std::string format_speed(const json& copy) {
  const uint64_t speed = bytes_of(copy, "copy_bytes_per_second");
  if (speed == 0) return "";
  const uint64_t done = bytes_of(copy, "copy_done_bytes");
  const uint64_t total = bytes_of(copy, "copy_total_bytes");
  return fmt::format(", {}/s{}", short_size(speed), format_time_left(total > done ? total - done : 0, speed));
}

/// The database was restored from a backup, and nobody has named a copy since.
bool is_unknown(const json& mirror) { return mirror.contains("in_sync_known") && !flag_of(mirror, "in_sync_known"); }

std::vector<Cell> copy_row(const json& mirror, const json& copy) {
  std::string server = text_of(copy, "server");
  if (!flag_of(copy, "reported")) return {{"  " + server}, {"no report", Colour::kYellow}};
  bool in_sync = is_in_sync(mirror, server);
  std::string data = in_sync ? "in sync" : !flag_of(copy, "consistent") ? "inconsistent" : is_unknown(mirror) ? "not known" : "not in sync";
  std::string remark;
  if (uint64_t dirty = bytes_of(copy, "dirty_bytes"); dirty > 0) remark = short_size(dirty) + " to copy";
  if (flag_of(copy, "detached")) data = "disk failed";
  if (flag_of(copy, "backup")) remark = "exported for a backup";
  return {{"  " + server},
          {text_of(copy, "role")},
          {text_of(copy, "link"), colour_of_link(text_of(copy, "link"))},
          {data, flag_of(copy, "detached") ? Colour::kRed : in_sync ? Colour::kGreen : Colour::kYellow},
          {remark}};
}

/// What stands below a mirror's copies: progress, what requests wait for, problems.
std::string format_remarks(const json& mirror, const Painter& painter) {
  std::string text;
  if (flag_of(mirror, "broken"))
    text += painter.paint(wrap_text("broken off by an operator: the copies do not follow each other; join them again with "
                                    "baton mirror rejoin " + text_of(mirror, "name"), 4), Colour::kYellow);
  for (const std::string& server : texts_of(mirror, "restricted"))
    text += painter.paint(wrap_text("kept away from " + server + " by an operator", 4), Colour::kYellow);
  if (!text_of(mirror, "forced").empty())
    text += painter.paint(wrap_text("the copy of " + text_of(mirror, "forced") +
                                    " was forced to be its data; the group has not been up with it since", 4), Colour::kYellow);
  for (const std::string& server : texts_of(mirror, "trailing"))
    text += wrap_text(fmt::format("the copy of {} is at most {:.1f} s behind: it takes over by itself when the other server "
                                  "is lost, and what is missing is lost then",
                                  server, real_of(mirror, "max_lag_ms") / 1000), 4);
  bool shown = false;
  for (const json& copy : list_of(mirror, "copies")) {
    // Both sides report the same copy; the one that sends knows most.
    if (is_copying(copy) && !shown) {
      text += format_progress(copy, 4);
      shown = true;
    }
    std::string server = text_of(copy, "server");
    std::string waiting = text_of(copy, "waiting");
    if (!waiting.empty()) text += painter.paint(wrap_text(server + " waits: " + waiting, 4), Colour::kYellow);
    std::string slow = text_of(copy, "slow");
    if (!slow.empty()) text += painter.paint(wrap_text(server + " is slow: " + slow, 4), Colour::kYellow);
    if (uint64_t lag = bytes_of(copy, "lag_bytes"); lag > 0)
      text += wrap_text(fmt::format("{} written on {} are not on the other disk yet", short_size(lag), server), 4);
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
                        is_unknown(mirror) ? "in sync: not known since a restore (baton mirror force)"
                        : members.empty()  ? "never used" : fmt::format("in sync: {}", fmt::join(members, ", ")));
    std::vector<std::vector<Cell>> rows;
    for (const json& copy : list_of(mirror, "copies")) rows.push_back(copy_row(mirror, copy));
    text += format_table(rows, painter) + format_remarks(mirror, painter);
  }
  return text;
}

std::string format_progress(const json& copy, size_t indent) {
  const std::string blanks(indent, ' ');
  const std::string line = fmt::format(
      "{}{}  {} copy, {} of {}", blanks, progress_bar(bytes_of(copy, "copy_done_bytes"), bytes_of(copy, "copy_total_bytes")),
      text_of(copy, "copy"), short_size(bytes_of(copy, "copy_done_bytes")),
      short_size(bytes_of(copy, "copy_total_bytes")));
  const std::string speed = fmt::format("{} sent{}", short_size(bytes_of(copy, "copy_sent_bytes")), format_speed(copy));
  const bool fits = line.size() + speed.size() + 2 <= kWidth;
  return line + (fits ? ", " : "\n" + blanks) + speed + "\n";
}

bool is_copying(const json& mirror_copy) {
  return text_of(mirror_copy, "link") == "copying" && bytes_of(mirror_copy, "copy_total_bytes") > 0;
}

}  // namespace baton::cli
