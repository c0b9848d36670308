// Asks batond over its unix socket; docs/api.md. Blocks, with a deadline. One thread.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "src/base/result.h"
#include "src/base/time.h"

namespace baton::cli {

class ApiClient {
 public:
  explicit ApiClient(std::string socket_path) : socket_path_(std::move(socket_path)) {}

  /// `path` with its query. The deadline is for the whole call.
  Result<nlohmann::json> get(const std::string& path, milliseconds deadline = 30s) const;
  Result<nlohmann::json> post(const std::string& path, const std::string& body,
                              milliseconds deadline = 60s) const;

  /// A name as part of a path or query.
  static std::string escape(const std::string& name);

 private:
  Result<nlohmann::json> call(const std::string& path, const std::string* body, milliseconds deadline) const;
  Error explain_no_answer(int curl_code, const std::string& detail, milliseconds deadline) const;

  std::string socket_path_;
};

/// BATON_API, or where batond listens.
std::string api_socket_path();

}  // namespace baton::cli
