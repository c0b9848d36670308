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
    def do_POST(self):
        said = self.rfile.read(int(self.headers["Content-Length"])).decode()
        body = f"{self.headers['Content-Type']} {self.headers['Authorization']} {said}".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *_): pass
class Mail(socketserver.StreamRequestHandler):
    def handle(self):
        say = lambda text: self.wfile.write(text.encode() + b"\r\n")
        heard = []
        say("220 mail")
        for line in self.rfile:
            word = line.decode().strip()
            heard.append(word)
            if word.startswith("EHLO"): say("250 mail")
            elif word.startswith("RCPT TO:<nobody"): say("550 no such user")
            elif word == "DATA":
                say("354 go on")
                for line in self.rfile:
                    if line == b".\r\n": break
                    heard.append(line.decode().strip())
                say("250 taken as " + "|".join(heard))
            elif word == "QUIT":
                say("221 bye")
                return
            else: say("250 well")
mail = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Mail)
mail.daemon_threads = True
threading.Thread(target=mail.serve_forever, daemon=True).start()
class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = True
server = Server(("127.0.0.1", 0), Handler)
with open(sys.argv[1] + ".new", "w") as file: file.write(f"{server.server_address[1]} {mail.server_address[1]}")
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
    std::ifstream(directory_ + "/port") >> port_ >> mail_port_;
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
  int mail_port_ = 0;
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

TEST_F(WebRequestsTest, JsonIsPosted) {
  WebRequest request{url("/hook"), "", false, 5s};
  request.json = "{\"a\": 1}";
  EXPECT_EQ(ask(request).body, "application/json None {\"a\": 1}");
  request.user = "baton";
  request.password = "secret";
  EXPECT_EQ(ask(request).body, "application/json Basic YmF0b246c2VjcmV0 {\"a\": 1}");
}

TEST_F(WebRequestsTest, MailIsTakenOrRefused) {
  WebRequest request{fmt::format("smtp://127.0.0.1:{}", mail_port_), "", false, 5s};
  request.mail = WebMail{"me@example.org", {"a@example.org", "b@example.org"}, "Subject: test\r\n\r\n.dot\r\nend\r\n", false};
  const auto taken = ask(request);
  EXPECT_EQ(taken.end, End::kAnswered) << taken.error;
  EXPECT_NE(taken.body.find("250 taken as"), std::string::npos) << taken.body;
  EXPECT_NE(taken.body.find("|MAIL FROM:<me@example.org>|RCPT TO:<a@example.org>|RCPT TO:<b@example.org>|"), std::string::npos)
      << taken.body;
  EXPECT_NE(taken.body.find("|Subject: test||..dot|end"), std::string::npos) << taken.body;
  request.mail->to = {"nobody@example.org"};
  const auto refused = ask(request);
  EXPECT_EQ(refused.end, End::kNoAnswer);
  EXPECT_NE(refused.error.find("550"), std::string::npos) << refused.error;
  request.mail->start_tls = true;
  EXPECT_EQ(ask(request).end, End::kNoAnswer) << "without TLS nothing is sent";
}

TEST_F(WebRequestsTest, WhoIsGoneHearsNothing) {
  auto requests = std::make_unique<WebRequests>(loop_);
  requests->ask({url("/"), "", false, 5s}, [](const WebAnswer&) { FAIL(); });
  requests.reset();
  EXPECT_EQ(ask({url("/"), "", false, 5s}).status, 200);
}

}  // namespace
}  // namespace baton
