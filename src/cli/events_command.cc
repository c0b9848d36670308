// `baton explain GROUP`, `baton events` and `baton alert test`.
#include <thread>

#include "src/cli/commands.h"

namespace baton::cli {
namespace {

constexpr milliseconds kFollowWait{25000};
constexpr milliseconds kTestWait{310000};  // longer than an alert's timeout can be

std::string format_took(int64_t took_us) {
  return took_us >= 10'000'000 ? fmt::format("{:.1f} s", took_us / 1e6)
                               : fmt::format("{:.1f} ms", took_us / 1e3);
}

std::string format_transition(const json& transition, const Painter& painter) {
  std::string text = painter.paint(format_time(number_of(transition, "time_ms")), Colour::kBold);
  text += fmt::format("  (entry {})\n", number_of(transition, "index"));
  text += wrap_text(text_of(transition, "text"), 2);
  std::string reason = text_of(transition, "reason");
  if (!reason.empty() && text_of(transition, "text").find(reason) == std::string::npos) {
    text += wrap_text("reason: " + reason, 2);
  }
  for (const std::string& cause : texts_of(transition, "causes")) text += wrap_text("cause: " + cause, 4);
  std::vector<std::vector<Cell>> rows;
  for (const json& step : list_of(transition, "steps")) {
    std::string outcome = text_of(step, "outcome");
    rows.push_back({{text_of(step, "action")},
                    {text_of(step, "resource")},
                    {format_took(number_of(step, "took_us"))},
                    {outcome, outcome == "ok" ? Colour::kGreen : Colour::kRed}});
  }
  return text + format_table(rows, painter, 4);
}

/// How it is now, and what is waited for: no transition tells that.
std::string format_now(const json& answer, const Painter& painter) {
  const auto now = answer.find("now");
  if (now == answer.end() || !now->is_object()) return "";
  const std::string owner = text_of(*now, "owner");
  std::string text = painter.paint("now", Colour::kBold) + "  (as " + text_of(*now, "server") + " knows it)\n";
  text += wrap_text(text_of(*now, "phase") + (owner.empty() ? "" : " on " + owner), 2);
  for (const std::string& why : texts_of(*now, "waiting")) text += wrap_text("waits: " + why, 2);
  return text;
}

std::string format_event(const json& event, const Painter& painter) {
  std::string kind = text_of(event, "kind");
  Colour colour = kind == "problem" || kind == "alert" ? Colour::kRed : kind == "transition" ? Colour::kGreen : Colour::kNone;
  std::string line =
      fmt::format("{}  {}  {}", painter.paint(format_time(number_of(event, "time_ms")), Colour::kFaint),
                  text_of(event, "server"), painter.paint(kind, colour));
  std::string group = text_of(event, "group");
  if (!group.empty()) line += "  " + group;
  line += ": " + text_of(event, "text");
  if (int64_t took = number_of(event, "took_us"); took > 0) line += " (" + format_took(took) + ")";
  line += "\n";
  for (const std::string& cause : texts_of(event, "causes")) line += "    cause: " + cause + "\n";
  return line;
}

void print_events(const Context& context, const json& events) {
  for (const json& event : events) {
    if (context.json) {
      print_json_line(event);
    } else {
      print(format_event(event, context.painter));
    }
  }
}

Status follow_events(const Context& context, int64_t last) {
  while (true) {
    auto answer =
        context.api.get(fmt::format("/v1/events?after={}&limit=1000&timeout_ms={}", last, kFollowWait.count()),
                        kFollowWait + 10s);
    if (!answer) {
      fmt::print(stderr, "baton: {}; trying again\n", answer.error().message);
      std::this_thread::sleep_for(1s);
      continue;
    }
    print_events(context, list_of(*answer, "events"));
    last = std::max(last, number_of(*answer, "last"));
  }
}

}  // namespace

Status explain_group(const Context& context, const std::string& group) {
  auto answer = context.api.get("/v1/explain?group=" + ApiClient::escape(group));
  if (!answer) return pass(answer);
  if (context.json) {
    print_json(*answer);
    return {};
  }
  const json& transitions = list_of(*answer, "transitions");
  if (transitions.empty()) print(fmt::format("nothing has happened to group {} yet\n", group));
  for (const json& transition : transitions) print(format_transition(transition, context.painter));
  print(format_now(*answer, context.painter));
  return {};
}

Status show_events(const Context& context, bool follow, int limit) {
  auto answer = context.api.get(fmt::format("/v1/events?limit={}", limit));
  if (!answer) return pass(answer);
  if (context.json && !follow) {
    print_json(*answer);
    return {};
  }
  print_events(context, list_of(*answer, "events"));
  return follow ? follow_events(context, number_of(*answer, "last")) : Status{};
}

Status test_alert(const Context& context, const std::string& name) {
  const auto answer =
      context.api.post(fmt::format("/v1/alerts/{}/test", ApiClient::escape(name)), json{{"author", author()}}.dump(), kTestWait);
  if (!answer) return pass(answer);
  if (context.json) print_json(*answer);
  else print(fmt::format("{}: {}: {}\n", text_of(*answer, "alert"), text_of(*answer, "target"), text_of(*answer, "answer")));
  return {};
}

}  // namespace baton::cli
