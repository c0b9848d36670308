// A session over two paths that break in every way: the core notices nothing, and nothing is lost, doubled or reordered.
#include <random>

#include "src/mirror/mirror_connect_test_pair.h"
#include "src/mirror/tls_authority.h"

namespace baton::mirror {
namespace {

class MirrorConnectPaths : public MirrorConnectPair {
 protected:
  void SetUp() override {
    MirrorConnectPair::SetUp();
    for (int i = 0; i < 2; ++i) {
      proxies_.push_back(
          std::make_unique<TestProxy>(fmt::format("127.0.{}.3", i), fmt::format("127.0.{}.2", i), port_));
    }
  }
  void TearDown() override {
    MirrorConnectPair::TearDown();
    proxies_.clear();
  }
  MirrorConnect::Settings two_paths(uint32_t self, uint32_t peer) const {
    MirrorConnect::Settings made = settings(self, peer);
    made.listen_addresses = {fmt::format("127.0.0.{}", self), fmt::format("127.0.1.{}", self)};
    // Server 1 connects, through the proxies.
    if (self == 1) made.peer_addresses = {"127.0.0.3", "127.0.1.3"};
    if (self == 2) made.peer_addresses = {"127.0.0.1", "127.0.1.1"};
    made.return_after = 200ms;
    return made;
  }
  bool both_up() const {
    for (const TestEnd* end : {a_.get(), b_.get()}) {
      const auto paths = end->connect->paths();
      if (!paths[0].up || !paths[1].up) return false;
    }
    return true;
  }
  bool active_at_both(size_t index) const {
    return a_->connect->paths()[index].active && b_->connect->paths()[index].active;
  }
  bool begin() {
    start(two_paths(1, 2), two_paths(2, 1));
    return connect() && until([&] { return both_up() && active_at_both(0); });
  }
  /// Streams until then, and on until everything has arrived.
  bool stream_until(TestStream& stream, const std::function<bool()>& done, Duration limit = 30s) {
    return until(
        [&] {
          stream.turn();
          return HasFatalFailure() || done();
        },
        limit);
  }
  void expect_one_session() const {
    EXPECT_EQ(a_->up, 1u) << a_->notes;
    EXPECT_EQ(b_->up, 1u) << b_->notes;
    EXPECT_FALSE(HasFailure()) << a_->notes << b_->notes;
  }

  std::vector<std::unique_ptr<TestProxy>> proxies_;
};

TEST_F(MirrorConnectPaths, BothPathsAreUpAndTheFirstCarriesTheData) {
  ASSERT_TRUE(begin());
  ASSERT_TRUE(until([&] { return a_->connect->paths()[1].round_trip_ms > 0 && b_->connect->paths()[0].round_trip_ms > 0; }));
  const auto paths = a_->connect->paths();
  EXPECT_EQ(paths[0].address, "127.0.0.3");
  EXPECT_EQ(paths[0].encryption, "none");
  EXPECT_TRUE(paths[0].active);
  EXPECT_FALSE(paths[1].active);
  EXPECT_LT(paths[1].round_trip_ms, 1000);
}

TEST_F(MirrorConnectPaths, ASilentPathIsLeftWithinASecondAndComesBack) {
  ASSERT_TRUE(begin());
  TestStream stream(*a_, *b_);
  ASSERT_TRUE(stream_until(stream, [&] { return stream.done() > 500; }));
  proxies_[0]->pause(true);
  ASSERT_TRUE(stream_until(stream, [&] { return active_at_both(1); }));
  const uint64_t before = stream.done();
  ASSERT_TRUE(stream_until(stream, [&] { return stream.done() > before + 500; }));
  EXPECT_LT(to_ms(stream.longest_gap), 900);
  ASSERT_TRUE(until([&] { return a_->noted("path 2 (127.0.1.3) takes over from path 1 (127.0.0.3): nothing was heard"); }));
  EXPECT_FALSE(a_->connect->paths()[0].problem.empty());
  proxies_[0]->pause(false);
  ASSERT_TRUE(stream_until(stream, [&] { return active_at_both(0) && both_up(); }));
  EXPECT_TRUE(a_->noted("path 1 (127.0.0.3) is back")) << a_->notes;
  EXPECT_TRUE(a_->noted("path 1 (127.0.0.3) carries the data again")) << a_->notes;
  stream.limit = 0;
  ASSERT_TRUE(stream_until(stream, [&] { return stream.quiet(); }));
  expect_one_session();
}

TEST_F(MirrorConnectPaths, AResetPathIsLeftAtOnce) {
  ASSERT_TRUE(begin());
  TestStream stream(*a_, *b_);
  for (int round = 0; round < 10; ++round) {
    const uint64_t before = stream.done();
    ASSERT_TRUE(stream_until(stream, [&] { return stream.done() > before + 200; }));
    proxies_[0]->reset();
    ASSERT_TRUE(stream_until(stream, [&] { return active_at_both(1); }));
    ASSERT_TRUE(stream_until(stream, [&] { return active_at_both(0) && both_up(); }));
  }
  EXPECT_LT(to_ms(stream.longest_gap), 900);  // in fact a few milliseconds, on a machine that is not busy
  expect_one_session();
}

TEST_F(MirrorConnectPaths, PathsThatFlapLoseNothing) {
  auto a = two_paths(1, 2);
  auto b = two_paths(2, 1);
  a.compress = true;
  a.link_timeout = b.link_timeout = 5s;  // here both may be down for a while
  start(a, b);
  ASSERT_TRUE(connect());
  std::mt19937 random(42);
  TestStream stream(*a_, *b_, 64);
  for (int round = 0; round < 60; ++round) {
    TestProxy& proxy = *proxies_[random() % 2];
    switch (random() % 3) {
      case 0:
        proxy.reset();
        break;
      case 1:
        proxy.pause(true);
        break;
      default:
        proxies_[0]->pause(false);
        proxies_[1]->pause(false);
    }
    const Instant end = Ring::now() + milliseconds(random() % 150);
    ASSERT_TRUE(stream_until(stream, [&] { return Ring::now() >= end; }));
    if (a_->up != 1) break;
  }
  proxies_[0]->pause(false);
  proxies_[1]->pause(false);
  const uint64_t before = stream.done();
  ASSERT_TRUE(stream_until(stream, [&] { return stream.done() > before + 500; }));
  stream.limit = 0;
  ASSERT_TRUE(stream_until(stream, [&] { return stream.quiet(); }));
  expect_one_session();
  ASSERT_TRUE(until([&] { return a_->pool.in_use() == 0 && b_->pool.in_use() == 0; }));
}

TEST_F(MirrorConnectPaths, ABusyPathIsNotTakenForASilentOne) {
  ASSERT_TRUE(begin());
  const Instant end = Ring::now() + 1s;
  const BufferId buffer = a_->pool.allocate(1u << 20);
  uint64_t sent = 0;
  ASSERT_TRUE(until([&] {
    for (; a_->connect->unacknowledged_bytes() < (32u << 20); ++sent) {
      a_->connect->send(a_->up, WriteData{sent, {0, 256}, 0}, buffer);
    }
    for (const Event& event : std::exchange(b_->events, {})) {
      if (const auto* message = std::get_if<MessageReceived>(&event)) b_->pool.release(message->buffer);
    }
    return Ring::now() > end;
  }));
  a_->pool.release(buffer);
  EXPECT_EQ(a_->notes + b_->notes, "");
}

TEST_F(MirrorConnectPaths, WithNoPathLeftItEndsAfterTheLinkTimeout) {
  ASSERT_TRUE(begin());
  proxies_[0]->pause(true);
  ASSERT_TRUE(until([&] { return active_at_both(1); }));
  proxies_[1]->reset();  // and as both are paused it does not come back
  proxies_[1]->pause(true);
  const Instant cut = Ring::now();
  ASSERT_TRUE(until([&] { return a_->up == 0 && b_->up == 0; }));
  EXPECT_LT(to_ms(Ring::now() - cut), 2500);
  proxies_[0]->pause(false);
  proxies_[1]->pause(false);
  ASSERT_TRUE(until([&] { return a_->up == 2 && b_->up == 2; }));
}

TEST_F(MirrorConnectPaths, ItLivesThroughAMomentWithoutAnyPath) {
  ASSERT_TRUE(begin());
  TestStream stream(*a_, *b_);
  ASSERT_TRUE(stream_until(stream, [&] { return stream.done() > 100; }));
  proxies_[1]->reset();
  ASSERT_TRUE(stream_until(stream, [&] { return !a_->connect->paths()[1].up; }));
  const Instant later = Ring::now() + 40ms;
  proxies_[1]->pause(true);
  ASSERT_TRUE(stream_until(stream, [&] { return Ring::now() > later; }));
  proxies_[0]->reset();
  ASSERT_TRUE(stream_until(stream, [&] { return !a_->connect->paths()[0].up || stream.quiet(); }));
  proxies_[1]->pause(false);
  const uint64_t before = stream.done();
  ASSERT_TRUE(stream_until(stream, [&] { return stream.done() > before + 500; }));
  expect_one_session();
}

TEST_F(MirrorConnectPaths, AProcessThatEndsEndsTheSessionAtOnce) {
  ASSERT_TRUE(begin());
  b_->connect.reset();
  ASSERT_TRUE(until([&] { return a_->up == 0; }, 300ms));
  EXPECT_EQ(a_->notes.find("takes over"), std::string::npos) << a_->notes;
  b_ = std::make_unique<TestEnd>(*ring_, two_paths(2, 1));
  b_->connect->listen();
  ASSERT_TRUE(until([&] { return a_->up == 2 && b_->up == 1 && both_up(); }));
  a_->connect.reset();
  ASSERT_TRUE(until([&] { return b_->up == 0; }, 300ms));
}

TEST_F(MirrorConnectPaths, ANewProcessDoesNotGoOnWithAnOldSession) {
  ASSERT_TRUE(begin());
  a_->connect->send(a_->up, Ping{}, 0);
  proxies_[0]->pause(true);
  proxies_[1]->pause(true);
  b_->connect.reset();  // the end of it does not reach the other side
  b_ = std::make_unique<TestEnd>(*ring_, two_paths(2, 1));
  b_->connect->listen();
  proxies_[0]->reset();
  proxies_[1]->reset();
  proxies_[0]->pause(false);
  proxies_[1]->pause(false);
  ASSERT_TRUE(until([&] { return a_->count<LinkDown>() == 1 && a_->up == 2 && b_->up == 1; }));
  EXPECT_EQ(b_->count<MessageReceived>(), 0u);
}

TEST_F(MirrorConnectPaths, TheLastWordArrivesBeforeTheEnd) {
  ASSERT_TRUE(begin());
  for (uint64_t i = 0; i < 50; ++i) b_->connect->send(b_->up, WriteReceived{i}, 0);
  b_->connect->close(b_->up, "enough");
  ASSERT_TRUE(until([&] { return a_->up == 0; }));
  EXPECT_EQ(a_->count<MessageReceived>(), 50u);
  EXPECT_TRUE(std::get<LinkDown>(a_->events.back()).reason.find("enough") != std::string::npos);
  EXPECT_EQ(a_->notes.find("takes over"), std::string::npos) << a_->notes;
}

TEST_F(MirrorConnectPaths, ASecondPathThatIsMissingIsShownAndJoinsLater) {
  proxies_[1]->pause(true);
  start(two_paths(1, 2), two_paths(2, 1));
  ASSERT_TRUE(connect());
  ASSERT_TRUE(until([&] { return !a_->connect->paths()[1].problem.empty(); }));
  EXPECT_FALSE(a_->connect->paths()[1].up);
  proxies_[1]->pause(false);
  ASSERT_TRUE(until([&] { return both_up(); }));
  EXPECT_EQ(a_->up, 1u);
}

}  // namespace
}  // namespace baton::mirror
