// `baton tune`: watches the machine and recommends a timing profile. What is watched is in src/survey. docs/operations.md.
#include "src/survey/tune.h"

#include "src/cli/commands.h"
#include "src/cli/own_server.h"

namespace baton::cli {
namespace {

using survey::Distribution;

std::string microseconds(int64_t time) {
  if (time < 1000) return fmt::format("{} us", time);
  return time < 1000000 ? fmt::format("{:.1f} ms", static_cast<double>(time) / 1000)
                        : fmt::format("{:.2f} s", static_cast<double>(time) / 1e6);
}

json distribution_json(const Distribution& times) {
  json powers = json::array();
  for (const auto& [end, number] : times.powers()) powers.push_back({{"below_us", end}, {"count", number}});
  return {{"count", times.count()},
          {"median_us", times.quantile_us(0.5)},
          {"p99_us", times.quantile_us(0.99)},
          {"p999_us", times.quantile_us(0.999)},
          {"max_us", times.worst_us()},
          {"histogram", powers}};
}

/// A line of figures, and a line for each power of two.
std::string format_distribution(const std::string& what, const Distribution& times) {
  if (times.count() == 0) return what + ": nothing seen\n";
  std::string text = fmt::format("{}: median {}, 99% {}, 99.9% {}, worst {} ({} times)\n", what,
                                 microseconds(times.quantile_us(0.5)), microseconds(times.quantile_us(0.99)),
                                 microseconds(times.quantile_us(0.999)), microseconds(times.worst_us()), times.count());
  for (const auto& [end, number] : times.powers()) {
    // Rare ones matter most: what there is at all gets a mark.
    const uint64_t length = (number * 50 + times.count() - 1) / times.count();
    text += fmt::format("  < {:>8} {:50} {}\n", microseconds(end), std::string(length, '#'), number);
  }
  return text;
}

json to_json(const survey::TuneFigures& figures, const survey::Recommendation& made) {
  json network = json::array();
  for (const auto& way : figures.network)
    network.push_back({{"peer", way.peer}, {"link", way.link}, {"sent", way.sent}, {"lost", way.lost},
                       {"round_trip", distribution_json(way.round_trip)}});
  return {{"seconds", figures.watched.count()},
          {"lateness", {{"normal", distribution_json(figures.normal)},
                        {"real_time", figures.has_real_time ? distribution_json(figures.real_time) : json(nullptr)}}},
          {"network", network},
          {"flush", distribution_json(figures.flush)},
          {"recommendation",
           {{"profile", made.profile}, {"token_ms", made.token.count()}, {"needed_token_ms", made.needed.count()},
            {"reasons", made.reasons}, {"warnings", made.warnings}}}};
}

void print_text(const survey::TuneFigures& figures, const survey::Recommendation& made, const Painter& painter) {
  print(format_distribution("Timers at ordinary priority, late by", figures.normal));
  if (figures.has_real_time) print(format_distribution("Timers at real-time priority, late by", figures.real_time));
  for (const auto& way : figures.network)
    print(format_distribution(fmt::format("Round trip to {} on link {} ({} of {} lost)", way.peer, way.link, way.lost, way.sent),
                              way.round_trip));
  print(format_distribution("Write and flush in " + figures.flush_directory, figures.flush));
  for (const auto& reason : made.reasons) print(wrap_text("- " + reason, 0));
  for (const auto& warning : made.warnings) print(painter.paint(wrap_text("! " + warning, 0), Colour::kYellow));
  const std::string line = made.profile == "custom"
                               ? fmt::format("timing = {{ profile = \"wan\", token = \"{} ms\" }}", made.token.count())
                               : fmt::format("timing = \"{}\"", made.profile);
  print(painter.paint("Recommended: " + line, Colour::kBold) + "\n");
  print(wrap_text(fmt::format("from {} seconds: watch when the machines are busiest, on every server, and take the longest",
                              figures.watched.count()), 0));
  print(wrap_text("the timing is set when a cluster is created: a running one keeps its own", 0));
}

}  // namespace

Status tune_timing(const Context& context, const PreflightOptions& place, int duration_s) {
  auto own = find_own_server(place);
  // Without a configuration the machine alone can be watched; one that was named must be right.
  if (!own && !place.file.empty()) return pass(own);
  survey::TuneOptions options;
  if (own) options.configuration = &own->configuration;
  if (own) options.self = own->self;
  options.state_directory = place.state_directory;
  options.duration = seconds(duration_s);
  if (!context.json) fmt::print(stderr, "watching for {} s\n", duration_s);
  const auto figures = survey::watch(options);
  const auto made = survey::recommend(figures);
  if (context.json) {
    print_json(to_json(figures, made));
  } else {
    print_text(figures, made, context.painter);
  }
  return {};
}

}  // namespace baton::cli
