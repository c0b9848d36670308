// HttpServer over Boost.Beast; the only file that includes it. Sessions and acceptor: the server's thread. An Answer
// travels to the loop's thread and back, and holds nothing but weak references, so either side may go first.
#include "src/daemon/http_server.h"

#include <poll.h>
#include <pthread.h>

#include <atomic>
#include <boost/asio/io_context.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http.hpp>
#include <optional>
#include <set>
#include <thread>

#include "src/daemon/http_listener.h"
#include "src/daemon/http_target.h"

namespace baton {

namespace asio = boost::asio;
namespace http = boost::beast::http;
using asio::local::stream_protocol;
using boost::system::error_code;

namespace {

constexpr Duration kAcceptRetry = 100ms;
constexpr size_t kBufferBytes = 64 * 1024;
constexpr std::string_view kContinue = "HTTP/1.1 100 Continue\r\n\r\n";

class Session;

/// What server, sessions and answers share. Dies on the loop's thread when the server's own thread has ended.
struct Core {
  Core(HttpServer::Post the_post, HttpServer::Handler the_handler, HttpLimits the_limits)
      : post(std::move(the_post)), handler(std::move(the_handler)), limits(the_limits) {}

  asio::io_context io{1};  // first: outlives everything that hangs on it
  HttpServer::Post post;
  HttpServer::Handler handler;
  HttpLimits limits;
  stream_protocol::acceptor acceptor{io};
  asio::steady_timer accept_timer{io};
  std::set<std::shared_ptr<Session>> sessions;
  std::weak_ptr<Core> self;

  void accept();
  void turn_away(stream_protocol::socket socket);
};

HttpResponse error_response(int status, const char* code, const char* message) {
  return {status, std::string(R"({"error": {"code": ")") + code + R"(", "message": ")" + message + R"("}})"};
}

http::response<http::string_body> to_beast(const HttpResponse& from, unsigned version, bool keep_alive) {
  http::response<http::string_body> response;
  response.version(version);
  response.result(from.status >= 200 && from.status <= 599 ? static_cast<unsigned>(from.status) : 500u);
  response.set(http::field::content_type, "application/json");
  response.set(http::field::cache_control, "no-store");
  response.keep_alive(keep_alive);
  response.body() = from.body;
  response.prepare_payload();
  return response;
}

/// The way back from the handler: one answer for one request. Any thread.
class Answer {
 public:
  Answer(std::weak_ptr<Core> core, std::weak_ptr<Session> session)
      : core_(std::move(core)), session_(std::move(session)) {}
  ~Answer() { send(error_response(500, "failed", "batond dropped this request without an answer: please report it")); }
  Answer(const Answer&) = delete;
  Answer& operator=(const Answer&) = delete;
  void send(HttpResponse response);

 private:
  std::weak_ptr<Core> core_;
  std::weak_ptr<Session> session_;
  std::atomic<bool> used_ = false;
};

/// One connection: reads a request, waits for its answer, writes it, and again.
class Session : public std::enable_shared_from_this<Session> {
 public:
  Session(Core& core, stream_protocol::socket socket)
      : core_(core), socket_(std::move(socket)), timer_(core.io), buffer_(kBufferBytes) {}

  void await_request() {
    parser_.emplace();
    parser_->header_limit(static_cast<uint32_t>(core_.limits.header_bytes));
    parser_->body_limit(core_.limits.body_bytes);
    if (buffer_.size() > 0) return read_header();
    set_deadline(core_.limits.idle_time);
    socket_.async_wait(stream_protocol::socket::wait_read, [self = shared_from_this()](error_code error) {
      if (error) return self->close();
      self->read_header();
    });
  }

  void answer(const HttpResponse& response) {
    if (!waiting_) return;
    waiting_ = false;
    error_code ignored;
    socket_.cancel(ignored);  // the watch for a client that goes
    write(response);
  }

  void close() {
    error_code ignored;
    timer_.cancel();
    socket_.close(ignored);
    core_.sessions.erase(shared_from_this());
  }

 private:
  /// Closes the connection if the next step does not come in time.
  void set_deadline(Duration limit) {
    timer_.expires_after(limit);
    timer_.async_wait([self = shared_from_this()](error_code error) {
      // A timer set anew may have fired just before.
      if (!error && self->timer_.expiry() <= std::chrono::steady_clock::now()) self->close();
    });
  }

  void read_header() {
    set_deadline(core_.limits.request_time);
    http::async_read_header(socket_, buffer_, *parser_, [self = shared_from_this()](error_code error, size_t) {
      if (error) return self->refuse(error);
      if (self->parser_->get()[http::field::expect] == "100-continue") return self->tell_to_continue();
      self->read_body();
    });
  }

  void tell_to_continue() {
    asio::async_write(socket_, asio::buffer(kContinue), [self = shared_from_this()](error_code error, size_t) {
      if (error) return self->close();
      self->read_body();
    });
  }

  void read_body() {
    http::async_read(socket_, buffer_, *parser_, [self = shared_from_this()](error_code error, size_t) {
      if (error) return self->refuse(error);
      self->timer_.cancel();
      self->dispatch(self->parser_->release());
    });
  }

  /// Answers what is no request, where there is somebody to answer, and closes.
  void refuse(error_code error) {
    static const auto& http_errors = http::make_error_code(http::error::end_of_stream).category();
    if (error == http::error::end_of_stream || error.category() != http_errors) return close();
    keep_alive_ = false;
    version_ = 11;
    if (error == http::error::body_limit)
      return write(error_response(413, "invalid", "the request's body is too long: at most 1 MiB is read"));
    if (error == http::error::header_limit || error == http::error::buffer_overflow)
      return write(error_response(431, "invalid", "the request's header is too long: at most 16 KiB are read"));
    write(error_response(400, "invalid", "not a request in HTTP/1.1"));
  }

  void dispatch(http::request<http::string_body> request) {
    keep_alive_ = request.keep_alive();
    version_ = request.version();
    switch (request.method()) {
      case http::verb::get:
      case http::verb::post:
      case http::verb::put:
      case http::verb::delete_: break;
      default:
        keep_alive_ = false;  // an answer to HEAD has no body: better not to be understood wrongly
        return write(error_response(405, "invalid", "the method must be GET, POST, PUT or DELETE"));
    }
    const auto target = request.target();
    auto parsed = parse_http_target({target.data(), target.size()});
    if (!parsed) return write(error_response(400, "invalid", "the request's path is not well formed"));
    const auto method = request.method_string();
    auto given = std::make_shared<HttpRequest>(HttpRequest{std::string(method.data(), method.size()),
                                                           std::move(parsed->path), std::move(parsed->query),
                                                           std::move(request.body())});
    waiting_ = true;
    watch_client();
    auto answer = std::make_shared<Answer>(core_.self, weak_from_this());
    core_.post([core = core_.self, given, answer] {
      const auto alive = core.lock();
      if (alive == nullptr) return;
      alive->handler(*given, [answer](HttpResponse response) { answer->send(std::move(response)); });
    });
  }

  /// A client that goes away frees its place at once, not when the answer comes. (One that only has sent all it wants
  /// to send, shutdown(SHUT_WR), still waits for the answer.)
  void watch_client() {
    socket_.async_wait(stream_protocol::socket::wait_error, [self = shared_from_this()](error_code error) {
      if (error || !self->waiting_) return;
      pollfd state{self->socket_.native_handle(), 0, 0};
      if (::poll(&state, 1, 0) == 1 && (state.revents & (POLLHUP | POLLERR)) != 0) {
        self->waiting_ = false;
        self->close();
      }
    });
  }

  void write(const HttpResponse& response) {
    set_deadline(core_.limits.request_time);
    response_ = to_beast(response, version_, keep_alive_);
    http::async_write(socket_, response_, [self = shared_from_this()](error_code error, size_t) {
      if (error || !self->keep_alive_) return self->close();
      self->await_request();
    });
  }

  Core& core_;
  stream_protocol::socket socket_;
  asio::steady_timer timer_;
  boost::beast::flat_buffer buffer_;
  std::optional<http::request_parser<http::string_body>> parser_;
  http::response<http::string_body> response_;
  bool waiting_ = false;  // for the handler's answer
  bool keep_alive_ = false;
  unsigned version_ = 11;
};

void Answer::send(HttpResponse response) {
  if (used_.exchange(true)) return;
  const auto core = core_.lock();
  if (core == nullptr) return;
  asio::post(core->io, [session = session_, response = std::move(response)] {
    if (const auto alive = session.lock()) alive->answer(response);
  });
}

void Core::accept() {
  acceptor.async_accept([this](error_code error, stream_protocol::socket socket) {
    if (error == asio::error::operation_aborted) return;
    if (error) {
      // Out of descriptors, most likely: some will be closed.
      accept_timer.expires_after(kAcceptRetry);
      accept_timer.async_wait([this](error_code cancelled) {
        if (!cancelled) accept();
      });
      return;
    }
    if (sessions.size() >= limits.connections) {
      turn_away(std::move(socket));
    } else {
      auto session = std::make_shared<Session>(*this, std::move(socket));
      sessions.insert(session);
      session->await_request();
    }
    accept();
  });
}

void Core::turn_away(stream_protocol::socket socket) {
  error_code ignored;
  const auto response = to_beast(
      error_response(503, "unavailable", "too many connections to batond: close some and try again"), 11, false);
  std::ostringstream text;
  text << response;
  const std::string bytes = text.str();
  socket.non_blocking(true, ignored);
  socket.write_some(asio::buffer(bytes), ignored);
}

}  // namespace

struct HttpServer::Implementation {
  std::string path;
  ino_t inode = 0;
  std::shared_ptr<Core> core;
  std::thread thread;
};

HttpServer::HttpServer(std::unique_ptr<Implementation> implementation) : implementation_(std::move(implementation)) {}

HttpServer::~HttpServer() {
  auto& self = *implementation_;
  remove_http_socket(self.path, self.inode);
  self.core->io.stop();
  self.thread.join();
  self.core->self.reset();  // what is on its way to or from the handler finds nobody
}

Result<std::unique_ptr<HttpServer>> HttpServer::start(const std::string& socket_path, Post post, Handler handler,
                                                      HttpLimits limits) {
  auto listener = open_http_listener(socket_path);
  if (!listener) return pass(listener);
  auto implementation = std::make_unique<Implementation>();
  implementation->path = socket_path;
  implementation->inode = listener->inode;
  implementation->core = std::make_shared<Core>(std::move(post), std::move(handler), limits);
  auto& core = *implementation->core;
  core.self = implementation->core;
  core.acceptor.assign(stream_protocol(), listener->fd);
  core.accept();
  implementation->thread = std::thread([&core] { core.io.run(); });
  ::pthread_setname_np(implementation->thread.native_handle(), "http-server");
  return std::unique_ptr<HttpServer>(new HttpServer(std::move(implementation)));
}

}  // namespace baton
