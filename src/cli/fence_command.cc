// `baton server fence`: switches a server's power off by its agent, or records that a person has seen it off. Asks first.
#include <chrono>

#include "src/cli/commands.h"

namespace baton::cli {
namespace {

using Clock = std::chrono::steady_clock;

/// What would stop with the server.
std::string consequences(const json& status, const std::string& server) {
  std::string groups;
  for (const json& group : list_of(status, "groups"))
    if (text_of(group, "owner") == server) groups += (groups.empty() ? "" : ", ") + text_of(group, "name");
  return groups.empty() ? "No group runs there." : "It owns: " + groups + ".";
}

std::string question_for(const FenceOptions& options, const json& status, const json& server, const std::string& name) {
  if (options.confirm)
    return fmt::format("You say that you have seen {} off. If it is not, its groups may run twice.", name);
  return fmt::format("{} is {}; its power is cut by {}. {}", name, text_of(server, "state"),
                     text_of(object_of(server, "fence"), "agent"), consequences(status, name));
}

/// Until the record of this version or a later one has ended.
Result<json> wait_for_outcome(const Context& context, const FenceOptions& options, const std::string& name,
                              int64_t version) {
  const auto end = Clock::now() + options.timeout;
  std::string cursor;
  std::string shown;
  while (true) {
    const auto left = std::chrono::duration_cast<milliseconds>(end - Clock::now());
    if (left <= 0ms)
      return fail_as(ErrorCode::kTimeout, "{} is not known to be off after {} s: last seen: {}; it goes on: `baton events`",
                     name, options.timeout.count() / 1000, shown.empty() ? "nothing" : shown);
    const milliseconds wait = std::min<milliseconds>(left, 5000ms);
    const std::string query =
        cursor.empty() ? "" : fmt::format("?after={}&timeout_ms={}", ApiClient::escape(cursor), wait.count());
    const auto status = context.api.get("/v1/status" + query, wait + 5s);
    if (!status) return pass(status);
    cursor = text_of(*status, "cursor");
    const auto server = find_named(*status, "servers", name);
    if (!server) return pass(server);
    const json& fence = object_of(*server, "fence");
    if (number_of(fence, "version") < version) continue;
    const std::string state = text_of(fence, "state");
    if (state != shown && !context.json) print(fmt::format("{}: {} ({})\n", name, state, text_of(fence, "text")));
    shown = state;
    if (state == "fencing failed") return fail("{}: {}", name, text_of(fence, "text"));
    if (state != "being fenced") return fence;
  }
}

}  // namespace

Status fence_server(const Context& context, const FenceOptions& options) {
  const auto status = context.api.get("/v1/status");
  if (!status) return pass(status);
  const auto server = find_named(*status, "servers", options.server);
  if (!server) return pass(server);
  const std::string name = text_of(*server, "name");
  if (!options.confirm && text_of(object_of(*server, "fence"), "agent").empty())
    return fail_as(ErrorCode::kInvalid, "{} has no fence agent: add [server.{}.fence] with agent = \"...\" (baton apply)", name,
                   name);
  if (!options.yes) {
    const std::string question = question_for(options, *status, *server, name);
    if (auto agreed = ask_for_name(question, name, "if it is meant, say --yes", false); !agreed) return agreed;
  }
  const auto answer = context.api.post(fmt::format("/v1/servers/{}/fence", ApiClient::escape(name)),
                                       json{{"confirm", options.confirm}, {"author", author()}}.dump());
  if (!answer) return pass(answer);
  const auto outcome = wait_for_outcome(context, options, name, number_of(*answer, "version"));
  if (!outcome) return pass(outcome);
  if (context.json) print_json({{"server", name}, {"fence", *outcome}});
  return {};
}

}  // namespace baton::cli
