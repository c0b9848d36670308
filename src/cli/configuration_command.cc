// `baton plan`, `apply`, `config show|check`.
#include "src/model/configuration_toml.h"

#include "src/cli/commands.h"
#include "src/cli/failover_view.h"

namespace baton::cli {
namespace {

/// A file's text, already judged here: so that its problems bear its own name.
Result<std::string> read_checked(const std::string& file) {
  auto text = read_whole_file(file);
  if (!text) return text;
  auto parsed = parse_configuration(*text, file);
  if (!parsed) return pass(parsed);
  return text;
}

/// The daemon judges a text without a name; its lines get the file's.
tl::unexpected<Error> with_file_name(const Error& error, const std::string& file) {
  std::string message;
  size_t begin = 0;
  const std::string stand_in = "cluster.toml:";
  while (begin <= error.message.size()) {
    size_t end = std::min(error.message.find('\n', begin), error.message.size());
    std::string line = error.message.substr(begin, end - begin);
    if (line.starts_with(stand_in)) line = file + line.substr(stand_in.size() - 1);
    message += (message.empty() ? "" : "\n") + line;
    begin = end + 1;
  }
  return tl::unexpected<Error>(Error{error.code, message});
}

void print_failovers(const Context& context, const json& plan) {
  for (const auto& [group, failover] : object_of(plan, "failover").items())
    print("\n" + format_failover(group, failover, context.painter));
}

Status show_steps(const Context& context) {
  auto plan = context.api.post("/v1/plan", "");
  if (!plan) return pass(plan);
  if (context.json) {
    print_json(*plan);
    return {};
  }
  for (const json& step : list_of(*plan, "steps")) {
    std::string server = text_of(step, "server");
    print(fmt::format("{}: {}{}\n", text_of(step, "group"), text_of(step, "action"),
                      server.empty() ? "" : " (" + server + ")"));
    print(wrap_text(text_of(step, "reason"), 2));
  }
  const json& waiting = object_of(*plan, "waiting");
  for (const auto& [group, why] : waiting.items()) {
    if (why.is_string()) print(group + ": waits\n" + wrap_text(why.get<std::string>(), 2));
  }
  for (const auto& [group, why] : object_of(*plan, "failback").items()) {
    if (why.is_string()) print(group + ": does not fail back\n" + wrap_text(why.get<std::string>(), 2));
  }
  if (list_of(*plan, "steps").empty() && waiting.empty()) print("nothing to do\n");
  print_failovers(context, *plan);
  return {};
}

}  // namespace

void print_changes(const Context& context, const json& plan, bool failovers) {
  for (const std::string& change : texts_of(plan, "changes")) print(change + "\n");
  if (failovers) print_failovers(context, plan);
}

Status show_plan(const Context& context, const std::string& file) {
  if (file.empty()) return show_steps(context);
  auto text = read_checked(file);
  if (!text) return pass(text);
  auto plan = context.api.post("/v1/plan", *text);
  if (!plan) return with_file_name(plan.error(), file);
  if (context.json) {
    json shown = *plan;
    shown["warning"] = warning_of(parse_configuration(*text)->np);
    print_json(shown);
  } else {
    if (list_of(*plan, "changes").empty()) print("no change\n");
    print_changes(context, *plan, true);
  }
  print_warning_of(context, parse_configuration(*text)->np);
  return {};
}

Status apply_configuration(const Context& context, const std::string& file) {
  auto text = read_checked(file);
  if (!text) return pass(text);
  auto plan = context.api.post("/v1/plan", *text);
  if (!plan) return with_file_name(plan.error(), file);
  auto applied = context.api.post("/v1/apply?author=" + ApiClient::escape(author()), *text);
  if (!applied) return with_file_name(applied.error(), file);
  if (context.json) {
    json result = *applied;
    result["changes"] = list_of(*plan, "changes");
    result["warning"] = warning_of(parse_configuration(*text)->np);
    print_json(result);
    return {};
  }
  print_changes(context, *plan, false);
  print(fmt::format("applied as version {}\n", number_of(*applied, "version")));
  print_warning_of(context, parse_configuration(*text)->np);
  return {};
}

Status show_configuration(const Context& context) {
  auto configuration = context.api.get("/v1/configuration");
  if (!configuration) return pass(configuration);
  if (context.json) {
    print_json(*configuration);
  } else {
    print(text_of(*configuration, "text"));
  }
  return {};
}

Status check_configuration_file(const Context& context, const std::string& file) {
  auto text = read_whole_file(file);
  if (!text) return pass(text);
  std::vector<ConfigurationProblem> problems = check_configuration(*text);
  if (context.json) {
    json list = json::array();
    for (const ConfigurationProblem& problem : problems) {
      list.push_back({{"line", problem.line}, {"column", problem.column}, {"message", problem.message}});
    }
    json result = {{"file", file}, {"ok", problems.empty()}, {"problems", list}};
    if (problems.empty()) result["warning"] = warning_of(parse_configuration(*text)->np);
    print_json(result);
  }
  if (!problems.empty()) return pass(parse_configuration(*text, file));
  if (!context.json) print(file + " is good\n");
  print_warning_of(context, parse_configuration(*text)->np);
  return {};
}

}  // namespace baton::cli
