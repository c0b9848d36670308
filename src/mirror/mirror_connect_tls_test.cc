// Mirror connects with TLS: the good case, and every wrong certificate and configuration says what is wrong.
#include <fstream>

#include "src/mirror/mirror_connect_test_files.h"

namespace baton::mirror {
namespace {

class MirrorConnectTls : public MirrorConnectFiles {
 protected:
  /// A server's files, made as said.
  TlsFiles files(const std::string& name, const ServerCertificate& made) {
    const TlsFiles paths{directory_ / (name + ".pem"), directory_ / (name + ".key"), directory_ / (name + ".authority")};
    std::ofstream(paths.certificate) << made.certificate;
    std::ofstream(paths.private_key) << made.private_key;
    std::ofstream(paths.authority) << made.authority;
    return paths;
  }
  MirrorConnect::Settings encrypted(uint32_t self, uint32_t peer) {
    return encrypted(self, peer, issue_certificate(key_of(1), ServerId(self)));
  }
  MirrorConnect::Settings encrypted(uint32_t self, uint32_t peer, const ServerCertificate& certificate) {
    auto made = settings(self, peer);
    made.encrypt = true;
    made.files = files(fmt::format("server-{}", self), certificate);
    return made;
  }
  /// Server 1 connects; neither comes up, and each says something about what is wrong.
  void expect_refusal(const MirrorConnect::Settings& a, const MirrorConnect::Settings& b, const std::string& said_by_a,
                      const std::string& said_by_b) {
    start(a, b);
    a_->connect->want(true);
    EXPECT_TRUE(until([&] { return a_->noted(said_by_a) && b_->noted(said_by_b); }, 4s))
        << "server 1: " << a_->notes << "server 2: " << b_->notes;
    EXPECT_EQ(a_->up + b_->up, 0u);
    EXPECT_FALSE(a_->connect->paths()[0].problem.empty());
  }
};

TEST_F(MirrorConnectTls, CarriesDataOfEverySize) {
  start(encrypted(1, 2), encrypted(2, 1));
  ASSERT_TRUE(connect()) << a_->notes << b_->notes;
  EXPECT_EQ(a_->connect->paths()[0].encryption, "TLS 1.3");
  TestStream stream(*a_, *b_, 64);
  stream.limit = 3000;
  ASSERT_TRUE(until([&] {
    stream.turn();
    return HasFatalFailure() || stream.done() == 3000;
  }));
  ASSERT_TRUE(until([&] { return a_->pool.in_use() == 0 && b_->pool.in_use() == 0; }));
  EXPECT_EQ(a_->notes + b_->notes, "");
}

TEST_F(MirrorConnectTls, CarriesMebibytes) {
  start(encrypted(1, 2), encrypted(2, 1));
  ASSERT_TRUE(connect());
  const BufferId buffer = a_->pool.allocate(1u << 20);
  for (uint64_t i = 0; i < 40; ++i) {
    a_->connect->send(a_->up, WriteData{i, {i, 256}, 0}, buffer);
    a_->connect->send(a_->up, Ping{}, 0);
  }
  a_->pool.release(buffer);
  ASSERT_TRUE(until([&] { return b_->count<MessageReceived>() == 80; }));
  EXPECT_EQ(std::get<WriteData>(std::get<MessageReceived>(b_->events[79]).message).sequence, 39u);
}

TEST_F(MirrorConnectTls, PathsThatBreakLoseNothing) {
  TestProxy first("127.0.0.3", "127.0.0.2", port_);
  TestProxy second("127.0.1.3", "127.0.1.2", port_);
  auto a = encrypted(1, 2);
  auto b = encrypted(2, 1);
  a.listen_addresses = {"127.0.0.1", "127.0.1.1"};
  a.peer_addresses = {"127.0.0.3", "127.0.1.3"};
  b.listen_addresses = {"127.0.0.2", "127.0.1.2"};
  b.peer_addresses = {"127.0.0.1", "127.0.1.1"};
  a.return_after = b.return_after = 200ms;
  a.compress = true;
  start(a, b);
  ASSERT_TRUE(connect());
  const auto both_up = [&] {
    return a_->connect->paths()[0].up && a_->connect->paths()[1].up && b_->connect->paths()[0].up && b_->connect->paths()[1].up;
  };
  TestStream stream(*a_, *b_);
  const auto stream_until = [&](const std::function<bool()>& done) {
    return until([&] {
      stream.turn();
      return HasFatalFailure() || done();
    });
  };
  for (int round = 0; round < 6; ++round) {
    ASSERT_TRUE(stream_until(both_up));
    TestProxy& proxy = round % 2 == 0 ? first : second;
    round < 4 ? proxy.reset() : proxy.pause(true);
    const size_t index = static_cast<size_t>(round % 2);
    ASSERT_TRUE(stream_until([&] { return !a_->connect->paths()[index].up; }));
    proxy.pause(false);
  }
  const uint64_t before = stream.done();
  ASSERT_TRUE(stream_until([&] { return stream.done() > before + 300; }));
  EXPECT_EQ(a_->up, 1u) << a_->notes;
  EXPECT_EQ(b_->up, 1u) << b_->notes;
}

TEST_F(MirrorConnectTls, WhoConnectsWithoutIsToldSo) {
  expect_refusal(settings(1, 2), encrypted(2, 1), "server 2 speaks TLS, this server's configuration says encrypt = false",
                 "server 1 speaks without TLS, this server's configuration says encrypt = true");
}

TEST_F(MirrorConnectTls, WhoConnectsWithItIsToldSo) {
  expect_refusal(encrypted(1, 2), settings(2, 1), "server 2 speaks without TLS, this server's configuration says encrypt = true",
                 "server 1 speaks TLS, this server's configuration says encrypt = false");
}

TEST_F(MirrorConnectTls, AnExpiredCertificateIsNamed) {
  expect_refusal(encrypted(1, 2), encrypted(2, 1, issue_certificate(key_of(1), ServerId(2), {10, -1})),
                 "the certificate of server 2 has expired", "server 1 does not accept this server's certificate");
}

TEST_F(MirrorConnectTls, AnExpiredCertificateOfTheConnectingSideIsNamed) {
  expect_refusal(encrypted(1, 2, issue_certificate(key_of(1), ServerId(1), {10, -1})), encrypted(2, 1),
                 "server 2 does not accept this server's certificate", "the certificate of server 1 has expired");
}

TEST_F(MirrorConnectTls, ACertificateOfTheFutureIsNamed) {
  expect_refusal(encrypted(1, 2), encrypted(2, 1, issue_certificate(key_of(1), ServerId(2), {-5, 10})),
                 "the certificate of server 2 is not valid yet", "server 1 does not accept this server's certificate");
}

TEST_F(MirrorConnectTls, AnotherClustersCertificateIsNamed) {
  auto foreign = issue_certificate(key_of(9), ServerId(2));
  foreign.authority = authority_certificate(key_of(1));
  expect_refusal(encrypted(1, 2), encrypted(2, 1, foreign),
                 "the certificate of server 2 was not issued by this cluster's authority",
                 "server 1 does not accept this server's certificate");
}

TEST_F(MirrorConnectTls, AnotherServersCertificateIsNamed) {
  expect_refusal(encrypted(1, 2), encrypted(2, 1, issue_certificate(key_of(1), ServerId(3))),
                 "the certificate is not that of server 2", "server 1 does not accept this server's certificate");
}

TEST_F(MirrorConnectTls, MissingFilesAreNamed) {
  auto b = encrypted(2, 1);
  b.files.certificate = directory_ / "nothing.pem";
  expect_refusal(encrypted(1, 2), b, "closed it during the handshake", "nothing.pem cannot be used");
}

TEST_F(MirrorConnectTls, AKeyThatDoesNotBelongToTheCertificateIsNamed) {
  auto a = encrypted(1, 2);
  a.files.private_key = encrypted(2, 1).files.private_key;
  start(a, encrypted(2, 1));
  a_->connect->want(true);
  EXPECT_TRUE(until([&] { return a_->noted("private key"); })) << a_->notes;
}

TEST_F(MirrorConnectTls, AnotherClusterKeyBehindGoodCertificatesIsRefused) {
  auto b = encrypted(2, 1);
  b.key = key_of(9);
  expect_refusal(encrypted(1, 2), b, "127.0.0.2", "it does not know the cluster key");
}

TEST_F(MirrorConnectTls, StrangersThatTalkNonsenseAreCutOff) {
  start(encrypted(1, 2), encrypted(2, 1));
  std::vector<OwnedFd> strangers;
  for (const char first : {'x', '\x16'}) {
    strangers.emplace_back(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    const auto address = test_address("127.0.0.2", port_);
    ASSERT_EQ(::connect(strangers.back().get(), reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
    const std::string noise(5000, first);
    EXPECT_EQ(send(strangers.back().get(), noise.data(), noise.size(), MSG_NOSIGNAL), static_cast<ssize_t>(noise.size()));
  }
  for (OwnedFd& stranger : strangers) {
    char buffer[4096];
    ASSERT_TRUE(until([&] {
      const ssize_t size = recv(stranger.get(), buffer, sizeof buffer, MSG_DONTWAIT);
      return size == 0 || (size < 0 && errno != EAGAIN);
    }));
  }
  ASSERT_TRUE(connect());
}

}  // namespace
}  // namespace baton::mirror
