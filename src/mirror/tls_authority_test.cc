// The cluster's own authority: the same on every server, and files that are kept while they are good.
#include "src/mirror/tls_authority.h"

#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>
#include <sstream>

#include "src/mirror/tls_channel.h"

namespace baton::mirror {
namespace {

namespace fs = std::filesystem;

ClusterKey key_of(uint8_t byte) {
  ClusterKey key;
  key.bytes.fill(byte);
  return key;
}

std::string text_of(const fs::path& path) {
  std::stringstream text;
  text << std::ifstream(path).rdbuf();
  return text.str();
}

class TlsAuthority : public ::testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/baton-authority-test-XXXXXX";
    ASSERT_NE(mkdtemp(name), nullptr);
    directory_ = name;
  }
  void TearDown() override { fs::remove_all(directory_); }
  void put(const ServerCertificate& made) {
    std::ofstream(directory_ / "server.pem") << made.certificate;
    std::ofstream(directory_ / "server.key") << made.private_key;
  }
  Status write() { return write_certificates(key_of(1), ServerId(2), directory_.string()); }
  std::string certificate() const { return text_of(directory_ / "server.pem"); }

  fs::path directory_;
};

TEST_F(TlsAuthority, IsTheSameOnEveryServerAndAnotherForEveryKey) {
  EXPECT_EQ(authority_certificate(key_of(1)), authority_certificate(key_of(1)));
  EXPECT_NE(authority_certificate(key_of(1)), authority_certificate(key_of(2)));
  EXPECT_NE(issue_certificate(key_of(1), ServerId(1)).private_key, issue_certificate(key_of(1), ServerId(1)).private_key);
}

TEST_F(TlsAuthority, WritesFilesForThisServerAlone) {
  const auto written = write_certificates(key_of(1), ServerId(2), (directory_ / "tls").string());
  ASSERT_TRUE(written) << written.error().message;
  for (const char* name : {"authority.pem", "server.pem", "server.key"}) {
    struct stat status {};
    ASSERT_EQ(stat((directory_ / "tls" / name).c_str(), &status), 0) << name;
    EXPECT_EQ(status.st_mode & 0777, 0600u) << name;
  }
  const TlsFiles files{directory_ / "tls/server.pem", directory_ / "tls/server.key", directory_ / "tls/authority.pem"};
  EXPECT_TRUE(TlsChannel::create(files, LinkSide::kAcceptor, ServerId(1)));
}

TEST_F(TlsAuthority, KeepsWhatIsGood) {
  ASSERT_TRUE(write());
  const std::string first = certificate();
  ASSERT_TRUE(write());
  EXPECT_EQ(certificate(), first);
}

TEST_F(TlsAuthority, RenewsWhatIsNot) {
  const auto renewed = [&](const ServerCertificate& old) {
    put(old);
    EXPECT_TRUE(write());
    return certificate() != old.certificate;
  };
  EXPECT_FALSE(renewed(issue_certificate(key_of(1), ServerId(2))));
  EXPECT_TRUE(renewed(issue_certificate(key_of(1), ServerId(2), {1, 29}))) << "ends soon";
  EXPECT_FALSE(renewed(issue_certificate(key_of(1), ServerId(2), {1, 32})));
  EXPECT_TRUE(renewed(issue_certificate(key_of(1), ServerId(2), {-1, 400}))) << "not valid yet";
  EXPECT_TRUE(renewed(issue_certificate(key_of(1), ServerId(3)))) << "another server's";
  EXPECT_TRUE(renewed(issue_certificate(key_of(9), ServerId(2)))) << "another cluster's";
  auto mixed = issue_certificate(key_of(1), ServerId(2));
  mixed.private_key = issue_certificate(key_of(1), ServerId(2)).private_key;
  EXPECT_TRUE(renewed(mixed)) << "another's key";
  EXPECT_TRUE(renewed({"", "nonsense", "nonsense"}));
  std::ofstream(directory_ / "authority.pem") << "nonsense";
  ASSERT_TRUE(write());
  EXPECT_EQ(text_of(directory_ / "authority.pem"), authority_certificate(key_of(1)));
}

TEST_F(TlsAuthority, SaysWhereItCannotWrite) {
  std::ofstream(directory_ / "file") << "x";
  const auto written = write_certificates(key_of(1), ServerId(2), (directory_ / "file").string());
  ASSERT_FALSE(written);
  EXPECT_NE(written.error().message.find("file"), std::string::npos);
}

}  // namespace
}  // namespace baton::mirror
