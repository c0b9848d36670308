// The sums over many seeds. One thread.
#include "sim/report.h"

#include <algorithm>
#include <cstdlib>

#include <fmt/format.h>

namespace baton::sim {

namespace {

std::vector<std::string> split(const std::string& text, char at) {
  std::vector<std::string> parts(1);
  for (const char letter : text) {
    if (letter == at) {
      parts.emplace_back();
    } else {
      parts.back() += letter;
    }
  }
  return parts;
}

/// Of our own texts: no control letters but these.
std::string on_one_line(std::string text) {
  for (char& letter : text)
    if (letter == '\n' || letter == '\t') letter = ' ';
  return text;
}

std::string quoted(const std::string& text) {
  std::string made = "\"";
  for (const char letter : text) {
    if (letter == '"' || letter == '\\') made += '\\';
    made += letter;
  }
  return made + '"';
}

template <class Map, class Value>
std::string object_of(const Map& map, const Value& value) {
  std::string text;
  for (const auto& [key, what] : map) {
    if (!text.empty()) text += ", ";
    if constexpr (requires { quoted(key); }) {
      text += fmt::format("{}: {}", quoted(key), value(what));
    } else {
      text += fmt::format("\"{}\": {}", key, value(what));
    }
  }
  return "{" + text + "}";
}

uint64_t number(const std::string& text) { return std::strtoull(text.c_str(), nullptr, 10); }

}  // namespace

std::string encode(const SeedResult& result) {
  const Outcome& outcome = result.outcome;
  std::string line = fmt::format("{}\t{}\t{}\t{}\t{}\t{}\t{}\t{}\t{}", outcome.ok ? 1 : 0, result.seed, outcome.hash, outcome.events,
                                 outcome.committed, outcome.simulated.count(), result.cpu_us, outcome.weather,
                                 on_one_line(outcome.violation));
  for (const auto& [kind, count] : outcome.counts) line += fmt::format("\t{}={}", kind, count);
  return line;
}

SeedResult decode(const std::string& line) {
  const auto parts = split(line, '\t');
  SeedResult result;
  if (parts.size() < 9) return result;
  result.outcome.ok = parts[0] == "1";
  result.seed = number(parts[1]);
  result.outcome.hash = number(parts[2]);
  result.outcome.events = number(parts[3]);
  result.outcome.committed = number(parts[4]);
  result.outcome.simulated = Duration{static_cast<int64_t>(number(parts[5]))};
  result.cpu_us = static_cast<int64_t>(number(parts[6]));
  result.outcome.weather = parts[7];
  result.outcome.violation = parts[8];
  for (size_t place = 9; place < parts.size(); ++place) {
    const auto pair = split(parts[place], '=');
    if (pair.size() == 2) result.outcome.counts[pair[0]] = number(pair[1]);
  }
  return result;
}

void Report::add(const SeedResult& result) {
  ++seeds_;
  events_ += result.outcome.events;
  committed_ += result.outcome.committed;
  cpu_us_ += result.cpu_us;
  simulated_ += result.outcome.simulated;
  ++weathers_[result.outcome.weather];
  for (const auto& [kind, count] : result.outcome.counts) counts_[kind] += count;
  if (!result.outcome.ok) failed_[result.seed] = result.outcome.violation;
}

double Report::per_second() const {
  return cpu_us_ == 0 ? 0 : static_cast<double>(events_) * 1e6 / static_cast<double>(cpu_us_);
}

double Report::per_minute(uint64_t count) const {
  return simulated_.count() == 0 ? 0 : static_cast<double>(count) * 60e9 / static_cast<double>(simulated_.count());
}

std::string Report::text() const {
  const double hours = static_cast<double>(simulated_.count()) / 3600e9;
  std::string text = fmt::format("{} seeds, {:.1f} hours of simulated time, {:.1f} s of one core\n", seeds_, hours,
                                 static_cast<double>(cpu_us_) / 1e6);
  text += fmt::format("{} events, each checked: {:.0f} per second of one core; {} log entries committed\n", events_,
                      per_second(), committed_);
  text += "weathers\n";
  for (const auto& [weather, count] : weathers_) text += fmt::format("  {:<34}{:>12}\n", weather, count);
  text += fmt::format("{:<36}{:>12}{:>16}\n", "what happened", "times", "per minute");
  for (const auto& [kind, count] : counts_) text += fmt::format("  {:<34}{:>12}{:>16.3f}\n", kind, count, per_minute(count));
  return text;
}

std::string Report::json() const {
  const auto plain = [](uint64_t count) { return std::to_string(count); };
  return fmt::format(
      "{{\"seeds\": {}, \"violations\": {}, \"failed\": {}, \"events\": {}, \"events_per_core_second\": {:.0f}, "
      "\"entries_committed\": {}, \"simulated_s\": {:.3f}, \"cpu_s\": {:.3f}, \"weathers\": {}, \"counts\": {}, "
      "\"per_simulated_minute\": {}}}\n",
      seeds_, violations(), object_of(failed_, quoted), events_, per_second(), committed_,
      static_cast<double>(simulated_.count()) / 1e9, static_cast<double>(cpu_us_) / 1e6, object_of(weathers_, plain),
      object_of(counts_, plain), object_of(counts_, [&](uint64_t count) { return fmt::format("{:.4f}", per_minute(count)); }));
}

}  // namespace baton::sim
