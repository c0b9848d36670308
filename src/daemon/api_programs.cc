// See api_programs.h.
#include "src/daemon/api_programs.h"

#include <algorithm>

#include "src/daemon/api_answers.h"
#include "src/model/configuration_toml.h"

namespace baton {

using nlohmann::json;

namespace {

constexpr size_t kLongestId = 40;
constexpr int64_t kMostRestarts = 1000;
constexpr int64_t kLongestWindowMs = 366LL * 24 * 3600 * 1000;

Status check_id(const std::string& id) {
  const bool fits = !id.empty() && id.size() <= kLongestId && id.front() != '.' && id.front() != '-' &&
                    std::all_of(id.begin(), id.end(), [](unsigned char letter) { return isalnum(letter) != 0 || letter == '_' || letter == '-' || letter == '.'; });
  if (fits) return {};
  return fail_as(ErrorCode::kInvalid, "\"{}\" is no name of a program: use at most {} letters, digits, '-', '_' and '.'", id, kLongestId);
}

Result<int64_t> number_member(const json& body, const char* name, int64_t most, int64_t otherwise) {
  if (!body.contains(name) || body[name].is_null()) return otherwise;
  if (!body[name].is_number_integer() || body[name].get<int64_t>() < 0 || body[name].get<int64_t>() > most)
    return fail_as(ErrorCode::kInvalid, "\"{}\" is no whole number from 0 to {}", name, most);
  return body[name].get<int64_t>();
}

Status read_final_action(const std::string& text, FinalAction& into) {
  if (text.empty()) return {};
  const auto action = final_action(text);
  if (!action) return fail_as(ErrorCode::kInvalid, "unknown action \"{}\": use failover, shutdown, reboot, stop or nothing", text);
  into = *action;
  return {};
}

Status read_command(const json& body, std::vector<std::string>& argv) {
  const bool listed = body.contains("command") && body["command"].is_array() && !body["command"].empty();
  const bool texts = listed && std::all_of(body["command"].begin(), body["command"].end(), [](const json& word) { return word.is_string(); });
  if (!texts) return fail_as(ErrorCode::kInvalid, "\"command\" has to be the program and its arguments, a list of texts");
  argv = body["command"].get<std::vector<std::string>>();
  if (argv.front().empty() || argv.front().front() != '/')
    return fail_as(ErrorCode::kInvalid, "program \"{}\" is not absolute: write its whole path, beginning with /", argv.front());
  return {};
}

Result<ProgramRequest> read_request(const std::string& id, const json& body) {
  ProgramRequest wanted;
  wanted.policy.id = id;
  if (const auto fits = check_id(id); !fits) return pass(fits);
  if (const auto read = read_command(body, wanted.argv); !read) return pass(read);
  if (const auto read = read_final_action(text_member(body, "on_failure"), wanted.policy.on_failure); !read) return pass(read);
  const auto restarts = number_member(body, "restarts", kMostRestarts, 0);
  if (!restarts) return pass(restarts);
  const auto window = number_member(body, "window_ms", kLongestWindowMs, 0);
  if (!window) return pass(window);
  wanted.policy.restarts = static_cast<uint32_t>(*restarts);
  wanted.policy.window = milliseconds(*window);
  wanted.policy.watched = !flag_member(body, "unwatched");
  wanted.policy.with_script = flag_member(body, "with_script");
  wanted.group = text_member(body, "group");
  wanted.resource = text_member(body, "script");
  wanted.user = text_member(body, "user");
  wanted.directory = text_member(body, "directory");
  return wanted;
}

ScriptRunner::Answer answer_to(const HttpRespond& respond) {
  return [respond](const Result<json>& result) {
    if (!result) return refuse(respond, result.error());
    answer(respond, *result);
  };
}

}  // namespace

void post_program(Daemon& daemon, const HttpRequest& request, const std::string& id, const HttpRespond& respond) {
  const auto body = read_body(request);
  if (!body) return refuse(respond, body.error());
  const auto wanted = read_request(id, *body);
  if (!wanted) return refuse(respond, wanted.error());
  daemon.scripts().supervise(*wanted, answer_to(respond));
}

void end_program(Daemon& daemon, const HttpRequest& request, const std::string& id, const HttpRespond& respond) {
  const auto body = read_body(request);
  if (!body) return refuse(respond, body.error());
  daemon.scripts().end_program(text_member(*body, "group"), id, answer_to(respond));
}

}  // namespace baton
