// Sizes and durations as people write them, and the nearest known word to a mistyped one.
#include <algorithm>
#include <array>
#include <charconv>
#include <limits>

#include "src/model/configuration_table.h"

namespace baton {
namespace {

struct Unit {
  const char* name;
  uint64_t factor;
};

constexpr std::array<Unit, 5> kSizes{
    {{"TiB", 1ull << 40}, {"GiB", 1ull << 30}, {"MiB", 1ull << 20}, {"KiB", 1ull << 10}, {"B", 1}}};
// Decimal ones first: what is written in them is printed in them.
constexpr std::array<Unit, 8> kRates{{{"GB/s", 1000000000},
                                      {"MB/s", 1000000},
                                      {"GiB/s", 1ull << 30},
                                      {"MiB/s", 1ull << 20},
                                      {"KiB/s", 1ull << 10},
                                      {"KB/s", 1000},
                                      {"kB/s", 1000},
                                      {"B/s", 1}}};
constexpr std::array<Unit, 4> kDurations{{{"h", 3600000}, {"min", 60000}, {"s", 1000}, {"ms", 1}}};

/// "12 UNIT" or "12UNIT" of one of the units, as a multiple of the smallest one.
template <size_t count>
std::optional<uint64_t> parse_quantity(const std::string& text, const std::array<Unit, count>& units) {
  uint64_t number = 0;
  const char* end = text.data() + text.size();
  auto [rest, error] = std::from_chars(text.data(), end, number);
  if (error != std::errc() || rest == text.data()) return std::nullopt;
  while (rest != end && *rest == ' ') ++rest;
  std::string name(rest, end);
  for (const Unit& unit : units) {
    if (name != unit.name) continue;
    if (number > static_cast<uint64_t>(std::numeric_limits<int64_t>::max()) / unit.factor) return std::nullopt;
    return number * unit.factor;
  }
  return std::nullopt;
}

template <size_t count>
std::string format_quantity(uint64_t quantity, const std::array<Unit, count>& units) {
  for (const Unit& unit : units) {
    if (quantity != 0 && quantity % unit.factor == 0)
      return fmt::format("{} {}", quantity / unit.factor, unit.name);
  }
  return fmt::format("0 {}", units.back().name);
}

char lower(char letter) {
  return letter >= 'A' && letter <= 'Z' ? static_cast<char>(letter - 'A' + 'a') : letter;
}

/// How many letters must be changed, added or removed to turn one word into the other.
size_t edit_distance(const std::string& from, const std::string& to) {
  std::vector<size_t> row(to.size() + 1);
  for (size_t column = 0; column <= to.size(); ++column) row[column] = column;
  for (size_t line = 1; line <= from.size(); ++line) {
    size_t diagonal = row[0];
    row[0] = line;
    for (size_t column = 1; column <= to.size(); ++column) {
      size_t replaced = diagonal + (lower(from[line - 1]) == lower(to[column - 1]) ? 0 : 1);
      diagonal = row[column];
      row[column] = std::min({row[column] + 1, row[column - 1] + 1, replaced});
    }
  }
  return row[to.size()];
}

}  // namespace

std::string nearest_word(const std::string& word, const std::vector<std::string>& known) {
  std::string nearest;
  size_t least = std::max<size_t>(word.size() / 2, 2) + 1;  // farther words would be no help
  for (const std::string& candidate : known) {
    size_t distance = edit_distance(word, candidate);
    if (distance < least && distance < candidate.size()) {
      least = distance;
      nearest = candidate;
    }
  }
  return nearest;
}

std::optional<milliseconds> parse_duration(const std::string& text) {
  auto quantity = parse_quantity(text, kDurations);
  if (!quantity) return std::nullopt;
  return milliseconds(static_cast<int64_t>(*quantity));
}

std::optional<uint64_t> parse_size(const std::string& text) { return parse_quantity(text, kSizes); }

std::optional<uint64_t> parse_rate(const std::string& text) {
  if (text == "auto" || text == "0") return 0;
  return parse_quantity(text, kRates);
}

std::string format_rate(uint64_t bytes_per_second) {
  return bytes_per_second == 0 ? "auto" : format_quantity(bytes_per_second, kRates);
}

std::string format_size(uint64_t bytes) { return format_quantity(bytes, kSizes); }

std::string format_duration(milliseconds duration) {
  return format_quantity(static_cast<uint64_t>(duration.count()), kDurations);
}

}  // namespace baton
