// See join_request.h.
#include "src/format/join_request.h"

#include <nlohmann/json.hpp>

namespace baton {
namespace {

using nlohmann::json;
constexpr int kVersion = 1;

std::string to_line(const json& body) { return body.dump(-1, ' ', false, json::error_handler_t::replace); }

std::string text_of(const json& body, const char* name) {
  return body.contains(name) && body[name].is_string() ? body[name].get<std::string>() : "";
}

}  // namespace

std::string write_join_request(const JoinRequest& request) {
  return to_line({{"version", kVersion},
                  {"name", request.name},
                  {"interconnects", request.interconnects},
                  {"witness", request.witness},
                  {"wall_ms", request.wall_ms}});
}

Result<JoinRequest> read_join_request(const std::string& line) {
  const json body = json::parse(line, nullptr, false);
  const auto bad = fail_as(ErrorCode::kInvalid, "the request to join is not understood");
  if (!body.is_object() || !body.contains("version") || !body["version"].is_number_integer()) return bad;
  if (body["version"] != kVersion)
    return fail_as(ErrorCode::kInvalid, "the joining server has another version of Baton: install the cluster's there");
  if (!body.contains("interconnects") || !body["interconnects"].is_array() || !body.contains("wall_ms") ||
      !body["wall_ms"].is_number_integer())
    return bad;
  JoinRequest request;
  request.name = text_of(body, "name");
  for (const auto& address : body["interconnects"]) {
    if (!address.is_string()) return bad;
    request.interconnects.push_back(address.get<std::string>());
  }
  request.witness = body.contains("witness") && body["witness"].is_boolean() && body["witness"].get<bool>();
  request.wall_ms = body["wall_ms"].get<int64_t>();
  return request;
}

std::string write_join_answer(const JoinAnswer& answer) {
  if (!answer.error.empty()) return to_line({{"error", answer.error}});
  return to_line({{"name", answer.name},
                  {"id", answer.id.value},
                  {"key", answer.key},
                  {"configuration", answer.configuration}});
}

Result<JoinAnswer> read_join_answer(const std::string& line) {
  const json body = json::parse(line, nullptr, false);
  JoinAnswer answer;
  if (body.is_object()) {
    answer.error = text_of(body, "error");
    answer.name = text_of(body, "name");
    answer.key = text_of(body, "key");
    answer.configuration = text_of(body, "configuration");
    if (body.contains("id") && body["id"].is_number_unsigned()) answer.id = ServerId{body["id"].get<uint32_t>()};
  }
  const bool complete = !answer.name.empty() && !answer.key.empty() && !answer.configuration.empty() && answer.id.value > 0;
  if (answer.error.empty() && !complete) return fail_as(ErrorCode::kInvalid, "the cluster's answer is not understood");
  return answer;
}

}  // namespace baton
