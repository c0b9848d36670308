// WebRequests: what a web server, a server of mail or a TCP port answers. libcurl on a thread of its own, any number of requests at once;
// each ends by its limit. Owned by the loop's thread, answers come from the loop.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "src/os/worker_thread.h"

namespace baton {

/// To a server of mail, in place of a request to one of the web.
struct WebMail {
  std::string from;
  std::vector<std::string> to;
  std::string text;       // header and body, lines ended by CR LF
  bool start_tls = false; // or nothing is sent
};

struct WebRequest {
  std::string url;         // http://, https://; smtp://, smtps:// with `mail`
  std::string authority;   // file with the certificates to trust; empty: the system's
  bool only_connect = false;  // TCP: nothing is sent
  Duration limit = 5s;
  std::string user;        // empty: nobody
  std::string password;
  std::optional<std::string> json;  // is posted; nothing: the page is asked for
  std::optional<WebMail> mail;
};

struct WebAnswer {
  enum class End {
    kAnswered,
    kNoAnswer,   // refused, silent, a certificate that is not trusted: `error` says what
    kNotAsked,   // it could not be asked: name not found, no such file of certificates, no descriptors left here
  };
  End end = End::kNotAsked;
  std::string error;
  int64_t status = 0;  // of HTTP or SMTP
  std::string body;    // its first MiB; of a mail what the server said when it took it
  Duration took{};
};

class WebRequests {
 public:
  using Callback = std::function<void(const WebAnswer&)>;

  /// The thread starts with the first request.
  explicit WebRequests(EventLoop& loop);
  /// Requests under way are dropped; their callbacks are not called.
  ~WebRequests();
  WebRequests(const WebRequests&) = delete;
  WebRequests& operator=(const WebRequests&) = delete;

  void ask(const WebRequest& request, Callback callback);

 private:
  struct Shared;
  std::shared_ptr<Shared> shared_;
  std::unique_ptr<WorkerThread> thread_;
};

}  // namespace baton
