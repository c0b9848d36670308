// The HTTP server over raw sockets: well-behaved clients, late answers, garbage, too much, too slow, gone.
#include "src/daemon/http_server.h"

#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "src/daemon/http_target.h"
#include "src/os/event_loop.h"

namespace baton {
namespace {

class Client {
 public:
  explicit Client(const std::string& path) : fd_(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::strncpy(address.sun_path, path.c_str(), sizeof address.sun_path - 1);
    EXPECT_EQ(::connect(fd_, reinterpret_cast<sockaddr*>(&address), sizeof address), 0) << std::strerror(errno);
  }
  ~Client() { close(); }
  void close() {
    if (fd_ >= 0) ::close(fd_);
    fd_ = -1;
  }
  void finish_sending() { ::shutdown(fd_, SHUT_WR); }
  bool send(const std::string& text) { return ::send(fd_, text.data(), text.size(), MSG_NOSIGNAL) == ssize_t(text.size()); }
  /// Sends as much as the server takes.
  void send_all(const std::string& text) {
    for (size_t sent = 0; sent < text.size();) {
      const auto count = ::send(fd_, text.data() + sent, text.size() - sent, MSG_NOSIGNAL);
      if (count <= 0) return;
      sent += size_t(count);
    }
  }
  bool readable() const {
    pollfd state{fd_, POLLIN, 0};
    return ::poll(&state, 1, 0) == 1;
  }
  /// Adds what is there; false at the end.
  bool receive() {
    char buffer[65536];
    const auto count = ::recv(fd_, buffer, sizeof buffer, MSG_DONTWAIT);
    if (count > 0) received_.append(buffer, size_t(count));
    return count > 0 || (count < 0 && errno == EAGAIN);
  }
  std::string& received() { return received_; }

 private:
  int fd_;
  std::string received_;
};

class HttpServerTest : public ::testing::Test {
 protected:
  HttpServerTest() {
    std::string pattern = ::testing::TempDir() + "http.XXXXXX";
    directory_ = ::mkdtemp(pattern.data());
    path_ = directory_ + "/run/api.sock";
  }
  ~HttpServerTest() override {
    server_.reset();
    std::filesystem::remove_all(directory_);
  }

  Status start(HttpLimits limits = {}) {
    auto started = HttpServer::start(
        path_, [this](std::function<void()> call) { loop_.post(std::move(call)); },
        [this](const HttpRequest& request, HttpRespond respond) { handle(request, std::move(respond)); }, limits);
    if (!started) return pass(started);
    server_ = std::move(*started);
    return {};
  }

  /// "/later" is kept; anything else is answered with what arrived.
  void handle(const HttpRequest& request, HttpRespond respond) {
    if (request.path == "/later") return kept_.push_back(std::move(respond));
    if (request.path == "/dropped") return;
    std::string text = request.method + " " + request.path;
    for (const auto& [name, value] : request.query) text += " " + name + "=" + value;
    respond({request.path == "/missing" ? 404 : 200, text + " body " + std::to_string(request.body.size())});
  }

  bool until(const std::function<bool()>& done) { return loop_.run_until(done, 20s); }

  /// Runs the loop until the client has received `text`.
  bool gets(Client& client, const std::string& text) {
    return until([&] {
      client.receive();
      return client.received().find(text) != std::string::npos;
    });
  }

  bool ends(Client& client) {
    return until([&] { return !client.receive(); });
  }

  std::string directory_, path_;
  EventLoop loop_;
  std::vector<HttpRespond> kept_;
  std::unique_ptr<HttpServer> server_;
};

TEST_F(HttpServerTest, AnswersAndKeepsTheConnection) {
  ASSERT_TRUE(start().has_value());
  struct stat found {};
  ASSERT_EQ(::stat(path_.c_str(), &found), 0);
  EXPECT_EQ(found.st_mode & 0777, 0600u);
  Client client(path_);
  client.send("GET /v1/events?after=17&group=a%20b+c HTTP/1.1\r\nHost: x\r\n\r\n");
  ASSERT_TRUE(gets(client, "GET /v1/events after=17 group=a b c body 0")) << client.received();
  EXPECT_EQ(client.received().find("HTTP/1.1 200 OK\r\n"), 0u);
  EXPECT_NE(client.received().find("Content-Type: application/json"), std::string::npos);
  client.received().clear();
  client.send("POST /missing HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello");
  ASSERT_TRUE(gets(client, "POST /missing body 5"));
  EXPECT_EQ(client.received().find("HTTP/1.1 404"), 0u);
  client.send("GET /one HTTP/1.1\r\nHost: x\r\n\r\nGET /two HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
  EXPECT_TRUE(gets(client, "GET /one body 0"));
  EXPECT_TRUE(gets(client, "GET /two body 0"));
  EXPECT_TRUE(ends(client));
}

TEST_F(HttpServerTest, AnswersLater) {
  ASSERT_TRUE(start().has_value());
  Client first(path_), second(path_);
  first.send("GET /later HTTP/1.1\r\nHost: x\r\n\r\n");
  ASSERT_TRUE(until([&] { return kept_.size() == 1; }));
  second.send("GET /now HTTP/1.1\r\nHost: x\r\n\r\n");
  EXPECT_TRUE(gets(second, "GET /now"));
  EXPECT_FALSE(first.readable());
  first.finish_sending();  // has nothing more to ask, but still listens
  kept_[0]({200, "at last"});
  kept_[0]({200, "and once more"});
  EXPECT_TRUE(gets(first, "at last"));
  EXPECT_TRUE(ends(first));
  EXPECT_EQ(first.received().find("once more"), std::string::npos);
}

TEST_F(HttpServerTest, ClientGoneBeforeTheAnswerFreesItsPlace) {
  HttpLimits limits;
  limits.connections = 1;
  ASSERT_TRUE(start(limits).has_value());
  Client client(path_);
  client.send("GET /later HTTP/1.1\r\nHost: x\r\n\r\n");
  ASSERT_TRUE(until([&] { return kept_.size() == 1; }));
  client.close();
  ASSERT_TRUE(until([&] {
    Client next(path_);
    next.send("GET /now HTTP/1.1\r\nHost: x\r\n\r\n");
    return loop_.run_until([&] {
      next.receive();
      return next.received().find("GET /now") != std::string::npos;
    }, 100ms);
  }));
  kept_[0]({200, "nobody hears it"});
  Client last(path_);
  last.send("GET /still HTTP/1.1\r\nHost: x\r\n\r\n");
  (void)loop_.run_until([&] { return false; }, 20ms);
}

TEST_F(HttpServerTest, RequestWithoutAnswerIsTold) {
  ASSERT_TRUE(start().has_value());
  Client client(path_);
  client.send("GET /dropped HTTP/1.1\r\nHost: x\r\n\r\n");
  EXPECT_TRUE(gets(client, "HTTP/1.1 500"));
}

TEST_F(HttpServerTest, GarbageIsRefused) {
  ASSERT_TRUE(start().has_value());
  for (const std::string text : {"\x16\x03\x01\x02 hello there\r\n\r\n", "GET /%zz HTTP/1.1\r\nHost: x\r\n\r\n",
                                 "GET / HTTP/1.1\r\nContent-Length: -1\r\n\r\n", "\r\n\r\n\r\n\r\n"}) {
    Client client(path_);
    client.send(text);
    client.finish_sending();
    EXPECT_TRUE(ends(client));
    EXPECT_EQ(client.received().find("HTTP/1.1 400"), 0u) << text << "->" << client.received();
  }
  Client head(path_);
  head.send("HEAD / HTTP/1.1\r\nHost: x\r\n\r\n");
  EXPECT_TRUE(gets(head, "HTTP/1.1 405"));
}

TEST_F(HttpServerTest, TooMuchIsRefused) {
  ASSERT_TRUE(start().has_value());
  Client body(path_);
  body.send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1048577\r\n\r\n");
  EXPECT_TRUE(gets(body, "HTTP/1.1 413"));
  Client chunked(path_);
  std::string text = "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n";
  for (int i = 0; i < 20; ++i) text += "10000\r\n" + std::string(65536, 'x') + "\r\n";
  chunked.send_all(text);
  EXPECT_TRUE(gets(chunked, "HTTP/1.1 413"));
  Client header(path_);
  header.send_all("GET / HTTP/1.1\r\nHost: x\r\nLong: " + std::string(17000, 'x') + "\r\n\r\n");
  EXPECT_TRUE(gets(header, "HTTP/1.1 431"));
  Client full(path_);
  full.send_all("POST /full HTTP/1.1\r\nHost: x\r\nContent-Length: 1048576\r\n\r\n" + std::string(1048576, 'x'));
  EXPECT_TRUE(gets(full, "POST /full body 1048576"));
}

TEST_F(HttpServerTest, ExpectContinueIsMet) {
  ASSERT_TRUE(start().has_value());
  Client client(path_);
  client.send("POST /slow HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n");
  ASSERT_TRUE(gets(client, "HTTP/1.1 100 Continue\r\n\r\n"));
  client.send("ab");
  EXPECT_TRUE(gets(client, "POST /slow body 2"));
}

TEST_F(HttpServerTest, SlowClientIsCutOff) {
  HttpLimits limits;
  limits.request_time = 200ms;
  limits.idle_time = 400ms;
  ASSERT_TRUE(start(limits).has_value());
  Client slow(path_), idle(path_), waiting(path_);
  waiting.send("GET /later HTTP/1.1\r\nHost: x\r\n\r\n");
  const Instant begin = EventLoop::now();
  Instant next = begin;
  std::string rest = "GET / HTTP/1.1\r\nHost: this one comes byte by byte\r\n";
  ASSERT_TRUE(until([&] {
    if (EventLoop::now() >= next && !rest.empty()) {
      slow.send(rest.substr(0, 1));
      rest.erase(0, 1);
      next += 20ms;
    }
    return !slow.receive();
  }));
  EXPECT_LT(EventLoop::now() - begin, 2s);
  EXPECT_FALSE(rest.empty());
  EXPECT_TRUE(ends(idle));
  kept_.at(0)({200, "no hurry here"});
  EXPECT_TRUE(gets(waiting, "no hurry here"));
}

TEST_F(HttpServerTest, TooManyConnectionsAreTurnedAway) {
  HttpLimits limits;
  limits.connections = 2;
  ASSERT_TRUE(start(limits).has_value());
  Client first(path_), second(path_), third(path_);
  EXPECT_TRUE(gets(third, "HTTP/1.1 503"));
  EXPECT_TRUE(ends(third));
  first.send("GET /now HTTP/1.1\r\nHost: x\r\n\r\n");
  EXPECT_TRUE(gets(first, "GET /now"));
}

TEST_F(HttpServerTest, SocketIsTakenOverFromTheDeadOnly) {
  ASSERT_TRUE(start().has_value());
  const auto first = std::move(server_);
  const auto second = start();
  ASSERT_FALSE(second.has_value());
  EXPECT_EQ(second.error().code, ErrorCode::kConflict);
}

TEST_F(HttpServerTest, StaleSocketIsReplacedAndRemovedAtTheEnd) {
  std::filesystem::create_directories(directory_ + "/run");
  const int dead = ::socket(AF_UNIX, SOCK_STREAM, 0);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::strncpy(address.sun_path, path_.c_str(), sizeof address.sun_path - 1);
  ASSERT_EQ(::bind(dead, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  ::close(dead);
  ASSERT_TRUE(start().has_value());
  Client client(path_);
  client.send("GET /now HTTP/1.1\r\nHost: x\r\n\r\n");
  EXPECT_TRUE(gets(client, "GET /now"));
  server_.reset();
  EXPECT_FALSE(std::filesystem::exists(path_));
  std::ofstream(path_) << "a file of somebody";
  EXPECT_FALSE(start().has_value());
  EXPECT_TRUE(std::filesystem::exists(path_));
  path_ = directory_ + "/" + std::string(120, 'x');
  EXPECT_EQ(start().error().code, ErrorCode::kInvalid);
}

TEST_F(HttpServerTest, ServerMayEndWithRequestsUnderWay) {
  ASSERT_TRUE(start().has_value());
  Client client(path_), half(path_);
  half.send("GET / HT");
  client.send("GET /later HTTP/1.1\r\nHost: x\r\n\r\n");
  ASSERT_TRUE(until([&] { return kept_.size() == 1; }));
  server_.reset();
  kept_[0]({200, "too late"});
  kept_.clear();
  EXPECT_TRUE(ends(client));
  EXPECT_TRUE(ends(half));
}

TEST(HttpTarget, IsTakenApart) {
  const auto parsed = parse_http_target("/v1/groups/a%2Fb?x=1&y&=&z=%41%c3%a4");
  ASSERT_TRUE(parsed.has_value());
  EXPECT_EQ(parsed->path, "/v1/groups/a/b");
  EXPECT_EQ(parsed->query.at("x"), "1");
  EXPECT_EQ(parsed->query.at("y"), "");
  EXPECT_EQ(parsed->query.at("z"), "A\xc3\xa4");
  for (const char* wrong : {"", "x", "*", "/%", "/%4", "/%4g", "/%00", "/?a=%", "http://x/"})
    EXPECT_FALSE(parse_http_target(wrong).has_value()) << wrong;
}

}  // namespace
}  // namespace baton
