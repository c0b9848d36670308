// What web servers and ports answer, against small servers of this test in a process of their own.
#include "src/os/web_requests.h"

#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/resource.h>

#include <filesystem>
#include <fstream>
#include <optional>
#include <sstream>

#include "src/os/child_process.h"

namespace baton {
namespace {

constexpr Duration kLimit = 20s;

// Answers by path, never those of /silent and not to the end those of /endless; says its port in a file.
const char* const kServer = R"(
import http.server, os, socketserver, sys, threading
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path == "/silent": threading.Event().wait()
        if self.path == "/other":
            self.wfile.write(b"220 this is a server of mail\r\n")
            return
        body = b"y" * (3 << 20) if self.path == "/large" else b"all is well"
        self.send_response(503 if self.path == "/broken" else 302 if self.path == "/moved" else 200)
        if self.path == "/moved": self.send_header("Location", "/")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        try: self.wfile.write(body[:3] if self.path == "/endless" else body)
        except OSError: pass
        if self.path == "/endless": threading.Event().wait()
    def log_message(self, *_): pass
class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = True
server = Server(("127.0.0.1", 0), Handler)
with open(sys.argv[1] + ".new", "w") as file: file.write(str(server.server_address[1]))
os.rename(sys.argv[1] + ".new", sys.argv[1])
server.serve_forever()
)";

class WebRequestsTest : public testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/baton-web-XXXXXX";
    ASSERT_NE(mkdtemp(name), nullptr);
    directory_ = name;
    ChildOptions options;
    options.argv = {"/usr/bin/python3", "-c", kServer, directory_ + "/port"};
    auto server = ChildProcess::spawn(loop_, options, [](const ChildEnd&) {});
    ASSERT_TRUE(server.has_value()) << server.error().message;
    server_ = std::move(*server);
    ASSERT_TRUE(loop_.run_until([&] { return std::filesystem::exists(directory_ + "/port"); }, kLimit));
    std::ifstream(directory_ + "/port") >> port_;
  }
  void TearDown() override {
    server_.kill_all();
    std::filesystem::remove_all(directory_);
  }

  WebAnswer ask(WebRequest request) {
    std::optional<WebAnswer> answer;
    requests_.ask(request, [&](const WebAnswer& given) { answer = given; });
    EXPECT_TRUE(loop_.run_until([&] { return answer.has_value(); }, kLimit));
    return answer.value_or(WebAnswer{});
  }
  std::string url(const std::string& path) const { return fmt::format("http://127.0.0.1:{}{}", port_, path); }

  EventLoop loop_;
  std::string directory_;
  ChildProcess server_;
  int port_ = 0;
  WebRequests requests_{loop_};
};

using End = WebAnswer::End;

TEST_F(WebRequestsTest, StatusAndBody) {
  const auto well = ask({url("/"), "", false, 5s});
  EXPECT_EQ(well.end, End::kAnswered) << well.error;
  EXPECT_EQ(well.status, 200);
  EXPECT_EQ(well.body, "all is well");
  EXPECT_EQ(ask({url("/broken"), "", false, 5s}).status, 503);
  EXPECT_EQ(ask({url("/moved"), "", false, 5s}).status, 302) << "it was followed";
}

TEST_F(WebRequestsTest, OnlyTheFirstMebibyteIsRead) {
  const auto large = ask({url("/large"), "", false, 5s});
  EXPECT_EQ(large.end, End::kAnswered) << large.error;
  EXPECT_EQ(large.status, 200);
  EXPECT_EQ(large.body.size(), size_t{1} << 20U);
}

TEST_F(WebRequestsTest, OneThatIsSilentHoldsUpNobody) {
  std::vector<std::string> order;
  requests_.ask({url("/silent"), "", false, 700ms}, [&](const WebAnswer& answer) { order.push_back(answer.error); });
  requests_.ask({url("/"), "", false, 5s}, [&](const WebAnswer& answer) { order.push_back(answer.body); });
  ASSERT_TRUE(loop_.run_until([&] { return order.size() == 2; }, kLimit));
  EXPECT_EQ(order, (std::vector<std::string>{"all is well", "no answer within 700 ms"}));
}

TEST_F(WebRequestsTest, ABodyThatNeverEndsIsNoAnswer) {
  const auto endless = ask({url("/endless"), "", false, 500ms});
  EXPECT_EQ(endless.end, End::kNoAnswer);
  EXPECT_EQ(endless.error, "no answer within 500 ms");
}

TEST_F(WebRequestsTest, PortsAreConnectedTo) {
  const std::string open = fmt::format("http://127.0.0.1:{}", port_);
  const auto well = ask({open, "", true, 5s});
  EXPECT_EQ(well.end, End::kAnswered) << well.error;
  EXPECT_EQ(well.status, 0);
  server_.kill_all();
  WebAnswer refused;
  ASSERT_TRUE(loop_.run_until([&] { return (refused = ask({open, "", true, 5s})).end != End::kAnswered; }, kLimit));
  EXPECT_EQ(refused.end, End::kNoAnswer);
  EXPECT_NE(refused.error.find("refused"), std::string::npos) << refused.error;
}

TEST_F(WebRequestsTest, AServerOfAnotherKindHasAnswered) {
  const auto other = ask({url("/other"), "", false, 5s});
  EXPECT_EQ(other.end, End::kNoAnswer) << other.error;
}

TEST_F(WebRequestsTest, WithoutDescriptorsNothingIsKnown) {
  EXPECT_EQ(ask({url("/"), "", false, 5s}).end, End::kAnswered);
  rlimit before{};
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &before), 0);
  const rlimit none{0, before.rlim_max};
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &none), 0);
  const auto refused = ask({url("/"), "", false, 5s});
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &before), 0);
  EXPECT_EQ(refused.end, End::kNotAsked);
  EXPECT_EQ(refused.error, "Too many open files");
}

TEST_F(WebRequestsTest, WhatCannotBeAskedIsNoAnswerOfTheServer) {
  EXPECT_EQ(ask({"http://there-is-no-such-name.invalid/", "", false, 15s}).end, End::kNotAsked);
  EXPECT_EQ(ask({"ftp://127.0.0.1/", "", false, 5s}).end, End::kNotAsked);
  EXPECT_EQ(ask({fmt::format("https://127.0.0.1:{}/", port_), directory_ + "/none.pem", false, 5s}).end, End::kNotAsked);
  const auto plain = ask({fmt::format("https://127.0.0.1:{}/", port_), "", false, 5s});
  EXPECT_EQ(plain.end, End::kNoAnswer) << "it speaks no TLS: " << plain.error;
}

TEST_F(WebRequestsTest, WhoIsGoneHearsNothing) {
  auto requests = std::make_unique<WebRequests>(loop_);
  requests->ask({url("/"), "", false, 5s}, [](const WebAnswer&) { FAIL(); });
  requests.reset();
  EXPECT_EQ(ask({url("/"), "", false, 5s}).status, 200);
}

}  // namespace
}  // namespace baton
