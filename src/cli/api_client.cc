// The HTTP calls, and what their failures mean for a person.
#include "src/cli/api_client.h"

#include <curl/curl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <memory>

#include "src/cli/json_access.h"

namespace baton::cli {
namespace {

constexpr const char* kDefaultSocket = "/run/baton/api.sock";

size_t take_answer(char* data, size_t size, size_t count, void* into) {
  static_cast<std::string*>(into)->append(data, size * count);
  return size * count;
}

ErrorCode code_of(const std::string& name) {
  if (name == "not_found") return ErrorCode::kNotFound;
  if (name == "invalid") return ErrorCode::kInvalid;
  if (name == "conflict") return ErrorCode::kConflict;
  if (name == "unavailable") return ErrorCode::kUnavailable;
  if (name == "timeout") return ErrorCode::kTimeout;
  if (name == "no_space") return ErrorCode::kNoSpace;
  return ErrorCode::kFailed;
}

Result<json> read_answer(long status, const std::string& answer) {
  json parsed = json::parse(answer, nullptr, false);
  if (status >= 400) {
    const json& error = object_of(parsed, "error");
    std::string message = text_of(error, "message");
    if (message.empty()) message = fmt::format("batond answered with HTTP status {}", status);
    return fail_as(code_of(text_of(error, "code")), "{}", message);
  }
  if (parsed.is_discarded()) return fail("batond's answer is no JSON; is {} its socket?", api_socket_path());
  return parsed;
}

}  // namespace

std::string api_socket_path() {
  const char* given = std::getenv("BATON_API");
  return given && *given ? given : kDefaultSocket;
}

Result<json> ApiClient::get(const std::string& path, milliseconds deadline) const {
  return call(path, nullptr, deadline);
}

Result<json> ApiClient::post(const std::string& path, const std::string& body, milliseconds deadline) const {
  return call(path, &body, deadline);
}

std::string ApiClient::escape(const std::string& name) {
  char* escaped = curl_easy_escape(nullptr, name.c_str(), static_cast<int>(name.size()));
  std::string text = escaped ? escaped : "";
  curl_free(escaped);
  return text;
}

Result<json> ApiClient::call(const std::string& path, const std::string* body, milliseconds deadline) const {
  std::unique_ptr<CURL, decltype(&curl_easy_cleanup)> curl(curl_easy_init(), curl_easy_cleanup);
  if (!curl) return fail("libcurl cannot be used");
  std::string url = "http://localhost" + path;
  std::string answer;
  char detail[CURL_ERROR_SIZE] = "";
  curl_easy_setopt(curl.get(), CURLOPT_URL, url.c_str());
  curl_easy_setopt(curl.get(), CURLOPT_UNIX_SOCKET_PATH, socket_path_.c_str());
  curl_easy_setopt(curl.get(), CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(curl.get(), CURLOPT_TIMEOUT_MS, static_cast<long>(deadline.count()));
  curl_easy_setopt(curl.get(), CURLOPT_WRITEFUNCTION, take_answer);
  curl_easy_setopt(curl.get(), CURLOPT_WRITEDATA, &answer);
  curl_easy_setopt(curl.get(), CURLOPT_ERRORBUFFER, detail);
  curl_easy_setopt(curl.get(), CURLOPT_PROXY, "");  // never through a proxy of the environment
  // Without "Expect", which some servers leave unanswered for a second.
  std::unique_ptr<curl_slist, decltype(&curl_slist_free_all)> headers(curl_slist_append(nullptr, "Expect:"),
                                                                      curl_slist_free_all);
  curl_easy_setopt(curl.get(), CURLOPT_HTTPHEADER, headers.get());
  if (body) {
    curl_easy_setopt(curl.get(), CURLOPT_POST, 1L);
    curl_easy_setopt(curl.get(), CURLOPT_POSTFIELDS, body->c_str());
    curl_easy_setopt(curl.get(), CURLOPT_POSTFIELDSIZE, static_cast<long>(body->size()));
  }
  CURLcode code = curl_easy_perform(curl.get());
  if (code != CURLE_OK) return tl::unexpected<Error>(explain_no_answer(code, detail, deadline));
  long status = 0;
  curl_easy_getinfo(curl.get(), CURLINFO_RESPONSE_CODE, &status);
  return read_answer(status, answer);
}

Error ApiClient::explain_no_answer(int curl_code, const std::string& detail, milliseconds deadline) const {
  constexpr const char* kHowToStart =
      "start it with `systemctl start batond`; a server that is in no cluster yet is set up by "
      "`baton cluster create FILE --as NAME`";
  if (curl_code == CURLE_COULDNT_CONNECT) {
    struct stat facts {};
    if (stat(socket_path_.c_str(), &facts) != 0 && errno == ENOENT) {
      return {ErrorCode::kUnavailable,
              fmt::format("batond does not run here (there is no {}): {}", socket_path_, kHowToStart)};
    }
    if (access(socket_path_.c_str(), W_OK) != 0) {
      return {ErrorCode::kFailed,
              fmt::format("{} cannot be used: {}; Baton is steered as root", socket_path_, strerror(errno))};
    }
    return {ErrorCode::kUnavailable,
            fmt::format("batond does not run here (nobody listens at {}): {}", socket_path_, kHowToStart)};
  }
  if (curl_code == CURLE_OPERATION_TIMEDOUT) {
    return {ErrorCode::kTimeout, fmt::format("batond has not answered within {} s", deadline.count() / 1000.0)};
  }
  return {ErrorCode::kUnavailable,
          fmt::format("the connection to batond at {} failed: {}", socket_path_, detail)};
}

}  // namespace baton::cli
