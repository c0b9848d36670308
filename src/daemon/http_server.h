// HttpServer: HTTP/1.1 on a unix socket for the control API (docs/api.md). Connections live on a thread of its own; the
// handler and its answers belong to the event loop's thread, which owns the server.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>

#include "src/base/result.h"
#include "src/base/time.h"

namespace baton {

struct HttpRequest {
  std::string method;                        // "GET", "POST", "PUT" or "DELETE"
  std::string path;                          // percent-decoded: "/v1/groups/db/move"
  std::map<std::string, std::string> query;  // percent-decoded; a name without "=" has an empty value
  std::string body;
};

struct HttpResponse {
  int status = 200;
  std::string body;  // JSON
};

/// Sends the answer; to be called once, now or later; further calls do nothing, nor does one after the client or the
/// server has gone. If all copies are destroyed without a call, the client is told that nobody answered (500).
using HttpRespond = std::function<void(HttpResponse)>;

struct HttpLimits {
  size_t header_bytes = 16 * 1024;
  size_t body_bytes = 1024 * 1024;
  size_t connections = 64;               // one more is told so (503) and closed
  Duration request_time = 10s;           // from the first byte of a request to its last; also to take an answer
  Duration idle_time = 60s;              // between two requests on a connection
};

class HttpServer {
 public:
  /// Runs a function soon on the event loop's thread. Must work for as long as the server lives.
  using Post = std::function<void(std::function<void()>)>;
  using Handler = std::function<void(const HttpRequest& request, HttpRespond respond)>;

  /// Listens on `socket_path` (mode 0600; its directory is created) and serves until destroyed. A socket that nobody
  /// listens on any more is replaced; one that somebody listens on is an error (kConflict).
  static Result<std::unique_ptr<HttpServer>> start(const std::string& socket_path, Post post, Handler handler,
                                                   HttpLimits limits = {});
  /// Closes all connections and removes the socket. The handler is not called any more.
  ~HttpServer();
  HttpServer(const HttpServer&) = delete;
  HttpServer& operator=(const HttpServer&) = delete;

 private:
  struct Implementation;
  explicit HttpServer(std::unique_ptr<Implementation> implementation);
  std::unique_ptr<Implementation> implementation_;
};

}  // namespace baton
