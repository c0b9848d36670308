// See api_answers.h.
#include "src/daemon/api_answers.h"

#include "src/daemon/mirror_calls.h"

namespace baton {

using nlohmann::json;

namespace {

int http_status(ErrorCode code) {
  switch (code) {
    case ErrorCode::kNotFound: return 404;
    case ErrorCode::kInvalid: return 400;
    case ErrorCode::kConflict: return 409;
    case ErrorCode::kUnavailable: return 503;
    case ErrorCode::kTimeout: return 504;
    case ErrorCode::kNoSpace: return 507;
    case ErrorCode::kFailed: return 500;
  }
  return 500;
}

/// Texts of programs may be no UTF-8: shown as far as they are.
std::string to_text(const json& body) { return body.dump(-1, ' ', false, json::error_handler_t::replace); }

}  // namespace

void answer(const HttpRespond& respond, const json& body) { respond(HttpResponse{200, to_text(body)}); }

void refuse(const HttpRespond& respond, const Error& error, const json& problems) {
  json body{{"error", {{"code", code_name(error.code)}, {"message", error.message}}}};
  if (!problems.is_null()) body["error"]["problems"] = problems;
  respond(HttpResponse{http_status(error.code), to_text(body)});
}

Result<json> read_body(const HttpRequest& request) {
  if (request.body.empty()) return json::object();
  json body = json::parse(request.body, nullptr, false);
  if (!body.is_object()) return fail_as(ErrorCode::kInvalid, "the body is not a JSON object");
  return body;
}

std::string text_member(const json& body, const char* name) {
  return body.contains(name) && body[name].is_string() ? body[name].get<std::string>() : "";
}

bool flag_member(const json& body, const char* name) {
  return body.contains(name) && body[name].is_boolean() && body[name].get<bool>();
}

std::string person(const std::string& name) {
  if (name.empty()) return "local root";
  return name == kOwnAuthor ? "user " + name : name;
}

std::string author_of(const json& body) {
  return person(text_member(body, "author"));
}

void commit(Daemon& daemon, const Command& command, const HttpRespond& respond,
            std::function<uint64_t()> version_after) {
  // A takeover is for a server on which nothing serves.
  if (!daemon.node().standing().serving && !std::holds_alternative<TakeOver>(command))
    return refuse(respond, {ErrorCode::kUnavailable,
                            "the cluster database does not serve now: " + daemon.node().standing().waiting});
  daemon.request(command, [respond, version_after](bool decided, const Applied& outcome) {
    if (!decided)
      return refuse(respond, {ErrorCode::kUnavailable,
                              "it is not known whether the command was committed (the majority was lost meanwhile): "
                              "look at `baton status`, then repeat it if needed"});
    if (!outcome.applied) return refuse(respond, {ErrorCode::kConflict, outcome.refusal});
    answer(respond, {{"version", version_after()}});
  });
}

}  // namespace baton
