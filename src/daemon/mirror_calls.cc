// See mirror_calls.h.
#include "src/daemon/mirror_calls.h"

#include "src/base/overloaded.h"

namespace baton {

using nlohmann::json;

namespace {

constexpr ErrorCode kCodes[] = {ErrorCode::kFailed,      ErrorCode::kNotFound, ErrorCode::kInvalid, ErrorCode::kConflict,
                                ErrorCode::kUnavailable, ErrorCode::kTimeout,  ErrorCode::kNoSpace};
constexpr Duration kMessageSlack = 5s;  // for the way there and back

/// How long a mirror daemon may take. A comparison reads both disks from begin to end.
Duration limit_of(const std::string& verb) {
  if (verb == "verify") return 24h;
  if (verb == "discard" || verb == "replace") return 1min;
  return 30s;
}

bool flag(const json& body, const char* name) {
  auto found = body.is_object() ? body.find(name) : body.end();
  return found != body.end() && found->is_boolean() && found->get<bool>();
}

Result<mirror_control::Request> make_request(const std::string& verb, const json& body) {
  if (verb == "verify") return mirror_control::Request(mirror_control::Verify{flag(body, "repair")});
  if (verb == "discard") return mirror_control::Request(mirror_control::Discard{});
  if (verb == "replace") return mirror_control::Request(mirror_control::Replace{});
  if (verb == "backup") return mirror_control::Request(mirror_control::Backup{flag(body, "wanted")});
  return fail_as(ErrorCode::kInvalid, "mirrors do not know \"{}\": upgrade Baton on the server that was asked", verb);
}

json to_json(const mirror_control::Notice& notice) {
  if (const auto* verified = std::get_if<mirror_control::Verified>(&notice))
    return {{"blocks", verified->blocks}, {"different", verified->different}, {"repaired", verified->repaired}};
  if (const auto* done = std::get_if<mirror_control::Done>(&notice)) return {{"text", done->text}};
  return json::object();
}

std::string describe_end(const std::string& verb, const Result<mirror_control::Notice>& end) {
  if (!end) return fmt::format("{} failed: {}", verb, end.error().message);
  if (const auto* verified = std::get_if<mirror_control::Verified>(&*end))
    return fmt::format("verify: {} blocks compared, {} different, {} repaired", verified->blocks, verified->different,
                       verified->repaired);
  const auto* done = std::get_if<mirror_control::Done>(&*end);
  return fmt::format("{} is done{}", verb, done == nullptr || done->text.empty() ? "" : ": " + done->text);
}

}  // namespace

const char* code_name(ErrorCode code) {
  switch (code) {
    case ErrorCode::kFailed: return "failed";
    case ErrorCode::kNotFound: return "not_found";
    case ErrorCode::kInvalid: return "invalid";
    case ErrorCode::kConflict: return "conflict";
    case ErrorCode::kUnavailable: return "unavailable";
    case ErrorCode::kTimeout: return "timeout";
    case ErrorCode::kNoSpace: return "no_space";
  }
  return "failed";
}

ErrorCode code_of(const std::string& name) {
  for (const ErrorCode code : kCodes)
    if (name == code_name(code)) return code;
  return ErrorCode::kFailed;
}

MirrorCalls::MirrorCalls(EventLoop& loop, ServerId self, Links links)
    : loop_(loop), self_(self), links_(std::move(links)) {}

void MirrorCalls::ask(ServerId server, const std::string& mirror, const std::string& verb, const json& body,
                      Answer answer) {
  if (server == self_) return carry_out(mirror, verb, body, std::move(answer));
  const uint64_t request = ++next_request_;
  Waiting& waiting = waiting_[request];
  waiting.server = server;
  waiting.answer = std::move(answer);
  waiting.deadline = loop_.after(limit_of(verb) + kMessageSlack, [this, request, verb] {
    finish(request, fail_as(ErrorCode::kTimeout, "the other server's batond did not answer the {}", verb));
  });
  links_.send(node::MirrorCall{self_, request, server, mirror, verb, body.dump()});
}

void MirrorCalls::take(const node::MirrorCall& call) {
  if (call.to != self_ || call.origin == self_) return;
  const auto answered = [this, origin = call.origin, request = call.request](const Result<json>& result) {
    node::MirrorAnswer answer;
    answer.origin = origin;
    answer.request = request;
    if (result) {
      answer.body = result->dump(-1, ' ', false, json::error_handler_t::replace);
    } else {
      answer.error_code = code_name(result.error().code);
      answer.error = result.error().message;
    }
    links_.send(answer);
  };
  const json body = json::parse(call.body, nullptr, false);
  carry_out(call.mirror, call.verb, body, answered);
}

void MirrorCalls::take(const node::MirrorAnswer& answer) {
  if (answer.origin != self_) return;
  if (!answer.error_code.empty())
    return finish(answer.request, fail_as(code_of(answer.error_code), "{}", answer.error));
  const json body = json::parse(answer.body, nullptr, false);
  finish(answer.request, body.is_object() ? body : json::object());
}

void MirrorCalls::servers_left(const std::set<ServerId>& present) {
  std::set<uint64_t> lost;
  for (const auto& [request, waiting] : waiting_)
    if (!present.contains(waiting.server)) lost.insert(request);
  for (const uint64_t request : lost)
    finish(request, fail_as(ErrorCode::kUnavailable,
                            "the server that was asked has left the cluster; ask again when it is back"));
}

void MirrorCalls::carry_out(const std::string& mirror, const std::string& verb, const json& body, Answer answer) {
  MirrorClient* client = links_.find(mirror);
  if (client == nullptr) return answer(fail_as(ErrorCode::kNotFound, "there is no mirror {} on that server", mirror));
  const auto request = make_request(verb, body);
  if (!request) return answer(pass(request));
  client->call(*request, verb, limit_of(verb),
               [this, mirror, verb, answer = std::move(answer)](const Result<mirror_control::Notice>& end) {
                 links_.note(mirror, describe_end(verb, end));
                 if (!end) return answer(pass(end));
                 answer(to_json(*end));
               });
}

void MirrorCalls::finish(uint64_t request, Result<json> result) {
  auto found = waiting_.extract(request);
  if (!found.empty()) found.mapped().answer(std::move(result));
}

}  // namespace baton
