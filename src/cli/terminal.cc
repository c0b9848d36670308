// Formatting for the terminal: see the header.
#include "src/cli/terminal.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <ctime>
#include <iostream>

namespace baton::cli {
namespace {

const char* sequence_of(Colour colour) {
  switch (colour) {
    case Colour::kGreen:
      return "\033[32m";
    case Colour::kYellow:
      return "\033[33m";
    case Colour::kRed:
      return "\033[31m";
    case Colour::kBold:
      return "\033[1m";
    case Colour::kFaint:
      return "\033[2m";
    case Colour::kNone:
      return "";
  }
  return "";
}

}  // namespace

bool colours_wanted() { return isatty(STDOUT_FILENO) && !std::getenv("NO_COLOR"); }

std::string Painter::paint(const std::string& text, Colour colour) const {
  if (!colours_ || colour == Colour::kNone || text.empty()) return text;
  return sequence_of(colour) + text + "\033[0m";
}

std::string format_table(const std::vector<std::vector<Cell>>& rows, const Painter& painter, size_t indent) {
  std::vector<size_t> widths;
  for (const auto& row : rows) {
    widths.resize(std::max(widths.size(), row.size()));
    for (size_t column = 0; column < row.size(); ++column) {
      widths[column] = std::max(widths[column], row[column].text.size());
    }
  }
  std::string text;
  for (const auto& row : rows) {
    std::string line(indent, ' ');
    size_t used = indent;
    for (size_t column = 0; column < row.size() && used < kWidth; ++column) {
      std::string shown = row[column].text;
      if (used + shown.size() > kWidth) shown = shown.substr(0, kWidth - used - 3) + "...";
      line += painter.paint(shown, row[column].colour);
      used += shown.size();
      bool last = column + 1 == row.size();
      size_t padding = last ? 0 : widths[column] - std::min(widths[column], shown.size()) + 2;
      line += std::string(padding, ' ');
      used += padding;
    }
    size_t end = line.find_last_not_of(' ');
    text += line.substr(0, end == std::string::npos ? 0 : end + 1) + "\n";
  }
  return text;
}

std::string wrap_text(const std::string& text, size_t indent, size_t width) {
  std::string wrapped;
  std::string line;
  size_t room = width > indent ? width - indent : 20;
  auto flush = [&] {
    wrapped += std::string(indent, ' ') + line + "\n";
    line.clear();
  };
  size_t begin = 0;
  while (begin < text.size()) {
    size_t end = text.find_first_of(" \n", begin);
    if (end == std::string::npos) end = text.size();
    std::string word = text.substr(begin, end - begin);
    if (!line.empty() && line.size() + 1 + word.size() > room) flush();
    if (!word.empty()) line += (line.empty() ? "" : " ") + word;
    if (end < text.size() && text[end] == '\n') flush();
    begin = end + 1;
  }
  if (!line.empty()) flush();
  return wrapped;
}

std::string progress_bar(uint64_t done, uint64_t total, size_t width) {
  uint64_t percent = total == 0 ? 0 : std::min<uint64_t>(done, total) * 100 / total;
  size_t filled = percent * width / 100;
  return fmt::format("[{}{}] {:3}%", std::string(filled, '#'), std::string(width - filled, '-'), percent);
}

std::string short_size(uint64_t bytes) {
  const char* units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
  double size = static_cast<double>(bytes);
  size_t unit = 0;
  while (size >= 1024 && unit < 4) {
    size /= 1024;
    ++unit;
  }
  bool whole = unit == 0 || size >= 100 || size == static_cast<double>(static_cast<uint64_t>(size));
  return whole ? fmt::format("{:.0f} {}", size, units[unit]) : fmt::format("{:.1f} {}", size, units[unit]);
}

Status ask_for_name(const std::string& question, const std::string& name, const std::string& instead, bool json) {
  fmt::print(stderr, "{}\n", question);
  if (json || isatty(STDIN_FILENO) == 0)
    return fail_as(ErrorCode::kInvalid, "nothing was changed: nobody can be asked here; {}", instead);
  fmt::print(stderr, "Type the server's name ({}) to go on: ", name);
  std::string typed;
  std::getline(std::cin, typed);
  if (typed != name) return fail("nothing was changed");
  return {};
}

std::string format_time(int64_t time_ms) {
  std::time_t seconds = time_ms / 1000;
  std::tm local{};
  localtime_r(&seconds, &local);
  char text[32];
  std::strftime(text, sizeof text, "%Y-%m-%d %H:%M:%S", &local);
  return fmt::format("{}.{:03}", text, time_ms % 1000);
}

}  // namespace baton::cli
