// Text for people: colours (on a terminal only), tables, wrapped lines, progress bars; 80 columns. One thread.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "src/base/result.h"

namespace baton::cli {

inline constexpr size_t kWidth = 80;

enum class Colour { kNone, kGreen, kYellow, kRed, kBold, kFaint };

/// Whether paint() colours; standard output is a terminal, and NO_COLOR is not set.
bool colours_wanted();

class Painter {
 public:
  explicit Painter(bool colours) : colours_(colours) {}
  std::string paint(const std::string& text, Colour colour) const;

 private:
  bool colours_;
};

struct Cell {
  std::string text;
  Colour colour = Colour::kNone;
};

/// Rows in columns as wide as their widest cell; lines longer than the width are cut.
std::string format_table(const std::vector<std::vector<Cell>>& rows, const Painter& painter, size_t indent = 0);

/// The text in lines of at most `width`, each behind `indent` blanks.
std::string wrap_text(const std::string& text, size_t indent, size_t width = kWidth);

/// "[#####-----]  43%".
std::string progress_bar(uint64_t done, uint64_t total, size_t width = 20);

/// "1.5 GiB": for people, rounded.
std::string short_size(uint64_t bytes);

/// The person types a server's name to go on: a "y" comes too easily. Errors: another answer; nobody can be asked (no
/// terminal, or `json` is wanted): kInvalid, with what to say `instead`.
Status ask_for_name(const std::string& question, const std::string& name, const std::string& instead, bool json);

/// Local time of a moment, to the millisecond: "2024-05-01 12:00:00.123".
std::string format_time(int64_t time_ms);

}  // namespace baton::cli
