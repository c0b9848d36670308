// The cluster's keys change under a mirror connect: the session lives on, every message comes once and in order, and what
// was made by the former key ends.
#include "src/mirror/mirror_connect_test_files.h"

namespace baton::mirror {
namespace {

/// The parameters: with TLS, over two paths.
class MirrorConnectKeys : public MirrorConnectFiles, public ::testing::WithParamInterface<std::pair<bool, bool>> {
 protected:
  void SetUp() override {
    MirrorConnectFiles::SetUp();
    start(made(1, 2), made(2, 1));
    ASSERT_TRUE(connect()) << a_->notes << b_->notes;
    stream_ = std::make_unique<TestStream>(*a_, *b_, 64);
  }
  MirrorConnect::Settings made(uint32_t self, uint32_t peer) {
    auto made = settings(self, peer);
    const std::string directory = directory_ / std::to_string(self);
    made.encrypt = GetParam().first;
    made.files = {directory + "/server.pem", directory + "/server.key", directory + "/authority.pem"};
    EXPECT_TRUE(write_certificates(key_of(1), ServerId(self), directory));
    if (!GetParam().second) return made;
    made.listen_addresses.push_back(fmt::format("127.0.1.{}", self));
    made.peer_addresses.push_back(fmt::format("127.0.1.{}", peer));
    return made;
  }
  void use(uint32_t server, uint8_t used, const std::vector<uint8_t>& others, bool anew = false) {
    ClusterKeySet keys{key_of(used), {}};
    for (const uint8_t other : others) keys.others.push_back(key_of(other));
    ASSERT_TRUE(write_certificates(keys.used, ServerId(server), (directory_ / std::to_string(server)).string(), keys.others, anew));
    (server == 1 ? a_ : b_)->connect->use_keys(keys, anew);
  }
  /// The stream goes on meanwhile.
  bool streams_until(const std::function<bool()>& done) {
    const uint64_t from = stream_->done();
    return until([&] {
      stream_->turn();
      return HasFatalFailure() || (stream_->done() > from + 300 && done());
    });
  }
  void expect_one_session() {
    EXPECT_NE(a_->up, 0u);
    EXPECT_EQ(a_->up, first_a_);
    EXPECT_EQ(b_->up, first_b_);
  }
  void remember() {
    first_a_ = a_->up;
    first_b_ = b_->up;
  }

  std::unique_ptr<TestStream> stream_;
  ConnectionId first_a_ = 0, first_b_ = 0;
};

TEST_P(MirrorConnectKeys, ARotationLosesNothing) {
  remember();
  ASSERT_TRUE(streams_until([] { return true; }));
  for (const uint32_t server : {1, 2}) use(server, 1, {2});  // staged
  ASSERT_TRUE(streams_until([] { return true; }));
  use(2, 2, {1});  // the accepting side is first
  ASSERT_TRUE(streams_until([] { return true; }));
  use(1, 2, {1});
  ASSERT_TRUE(streams_until([&] { return a_->connect->up_to_date(); })) << a_->notes << b_->notes;
  for (const uint32_t server : {2, 1}) use(server, 2, {});
  ASSERT_TRUE(streams_until([&] { return a_->connect->up_to_date(); })) << a_->notes << b_->notes;
  expect_one_session();
  EXPECT_LT(stream_->longest_gap, 1s);
  RecordProperty("longest_gap_ms", static_cast<int>(to_ms(stream_->longest_gap)));
}

TEST_P(MirrorConnectKeys, TheDialingSideMayBeFirst) {
  remember();
  for (const uint32_t server : {1, 2}) use(server, 1, {2});
  use(1, 2, {1});
  ASSERT_TRUE(streams_until([&] { return a_->connect->up_to_date(); })) << a_->notes << b_->notes;
  use(2, 2, {1});
  for (const uint32_t server : {1, 2}) use(server, 2, {});
  // What the accepting side had proved by the former key is made anew, too.
  ASSERT_TRUE(streams_until([&] { return a_->connect->up_to_date(); })) << a_->notes << b_->notes;
  expect_one_session();
}

TEST_P(MirrorConnectKeys, ACertificateAloneIsMadeAnew) {
  remember();
  for (int round = 0; round < 3; ++round) {
    use(2, 1, {}, true);
    use(1, 1, {}, true);
    ASSERT_TRUE(streams_until([&] { return a_->connect->up_to_date(); })) << a_->notes << b_->notes;
  }
  expect_one_session();
}

TEST_P(MirrorConnectKeys, WhoDidNotGetTheNewKeyIsLeftOut) {
  use(1, 2, {});
  ASSERT_TRUE(until([&] {
    stream_->turn();
    return a_->up == 0 && b_->up == 0;
  })) << "a connection that was proved by the former key lives on";
  EXPECT_TRUE(until([&] { return !a_->connect->paths()[0].problem.empty(); }));
  EXPECT_EQ(a_->up, 0u);
}

INSTANTIATE_TEST_SUITE_P(Ways, MirrorConnectKeys,
                         ::testing::Values(std::pair{false, false}, std::pair{true, false}, std::pair{true, true}));

}  // namespace
}  // namespace baton::mirror
