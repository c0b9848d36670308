// See failover_view.h; docs/operations.md, "Timing".
#include "src/cli/failover_view.h"

#include <fmt/format.h>

namespace baton::cli {
namespace {

/// A time that does not count for the sum stands in brackets.
std::string counted(int64_t duration_ms, bool counts) {
  return counts ? short_duration(duration_ms) : "(" + short_duration(duration_ms) + ")";
}

}  // namespace

std::string short_duration(int64_t duration_ms) {
  if (duration_ms < 1000) return fmt::format("{} ms", duration_ms);
  if (duration_ms < 120000) return fmt::format("{:.3g} s", static_cast<double>(duration_ms) / 1000);
  const int64_t seconds = (duration_ms + 500) / 1000;
  return fmt::format("{} min{}", seconds / 60, seconds % 60 == 0 ? "" : fmt::format(" {} s", seconds % 60));
}

std::string failover_line(const json& failover) {
  if (!failover.contains("expected_ms")) return "";
  return fmt::format("if its server is lost: back after about {}, at worst {}",
                     short_duration(number_of(failover, "expected_ms")), short_duration(number_of(failover, "worst_ms")));
}

std::string format_failover(const std::string& group, const json& failover, const Painter& painter) {
  if (!failover.contains("expected_ms")) return "";
  std::vector<std::vector<Cell>> rows;
  rows.push_back({{"PART", Colour::kFaint}, {"EXPECTED", Colour::kFaint}, {"AT WORST", Colour::kFaint},
                  {"FROM", Colour::kFaint}});
  for (const json& part : list_of(failover, "parts")) {
    const std::string kind = text_of(part, "kind");
    rows.push_back({{(kind.empty() ? "" : kind + " ") + text_of(part, "name")},
                    {counted(number_of(part, "expected_ms"), flag_of(part, "in_expected"))},
                    {counted(number_of(part, "worst_ms"), flag_of(part, "in_worst"))},
                    {text_of(part, "text"), Colour::kFaint}});
  }
  rows.push_back({{"sum", Colour::kBold},
                  {short_duration(number_of(failover, "expected_ms")), Colour::kBold},
                  {short_duration(number_of(failover, "worst_ms")), Colour::kBold},
                  {""}});
  return painter.paint("Failover of " + group, Colour::kBold) + ", when its server is lost\n" +
         format_table(rows, painter, 2);
}

}  // namespace baton::cli
