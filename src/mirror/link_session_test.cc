// A session's bookkeeping without any socket: what is kept, what is given back, what counts as new.
#include "src/mirror/link_session.h"

#include <gtest/gtest.h>

#include <cstring>
#include <random>

namespace baton::mirror {
namespace {

constexpr SessionId kId{1, 2};

/// What the other side makes of a frame.
FrameHeader header_of(const LinkSession::Frame& frame) {
  auto header = decode_frame_header(frame.head);
  EXPECT_TRUE(header) << header.error().message;
  return *header;
}

TEST(LinkSession, KeepsWhatIsNotAcknowledged) {
  BufferPool pool;
  {
    LinkSession session(pool, kId, true, false);
    const BufferId buffer = pool.allocate(4096);
    for (uint64_t i = 1; i <= 500; ++i) EXPECT_EQ(header_of(session.add(WriteData{i, {i, 1}, 0}, buffer)).sequence, i);
    pool.release(buffer);
    EXPECT_EQ(pool.in_use(), 1u);
    EXPECT_TRUE(session.acknowledged(320));
    EXPECT_TRUE(session.acknowledged(100));  // late news
    uint64_t next = 321;
    session.for_each_unacknowledged([&](const LinkSession::Frame& frame) { EXPECT_EQ(header_of(frame).sequence, next++); });
    EXPECT_EQ(next, 501u);
    EXPECT_FALSE(session.acknowledged(501));
    EXPECT_GT(session.unacknowledged_bytes(), 180u * 4096);
    EXPECT_TRUE(session.acknowledged(500));
    EXPECT_EQ(session.unacknowledged_bytes(), 0u);
    EXPECT_EQ(pool.in_use(), 0u);
    const BufferId last = pool.allocate(4096);
    session.add(WriteData{1, {1, 1}, 0}, last);
    pool.release(last);
  }
  EXPECT_EQ(pool.in_use(), 0u) << "a session that ends lets go of everything";
}

TEST(LinkSession, EachMessageArrivesOnce) {
  BufferPool pool;
  LinkSession from(pool, kId, true, false);
  LinkSession to(pool, kId, false, false);
  std::vector<FrameHeader> headers;
  for (int i = 0; i < 10; ++i) headers.push_back(header_of(from.add(Ping{}, 0)));
  for (int i = 0; i < 6; ++i) EXPECT_EQ(to.arrived(headers[static_cast<size_t>(i)]), LinkSession::Arrival::kNew);
  for (int i = 3; i < 6; ++i) EXPECT_EQ(to.arrived(headers[static_cast<size_t>(i)]), LinkSession::Arrival::kRepeated);
  EXPECT_EQ(to.arrived(headers[7]), LinkSession::Arrival::kImpossible);
  EXPECT_EQ(to.arrived(headers[6]), LinkSession::Arrival::kNew);
  EXPECT_EQ(to.received(), 7u);
}

TEST(LinkSession, TellsThePeerNowAndThen) {
  BufferPool pool;
  LinkSession from(pool, kId, true, false);
  LinkSession to(pool, kId, false, false);
  int told = 0;
  for (int i = 0; i < 1000; ++i) {
    EXPECT_EQ(to.arrived(header_of(from.add(Ping{}, 0))), LinkSession::Arrival::kNew);
    if (!to.acknowledgement_due()) continue;
    to.acknowledgement_sent();
    ++told;
    EXPECT_TRUE(from.acknowledged(to.received()));
  }
  EXPECT_GE(told, 10);
  EXPECT_LT(from.unacknowledged(), 100u);
}

TEST(LinkSession, CompressesWhatGetsSmaller) {
  BufferPool pool;
  LinkSession session(pool, kId, true, true);
  const BufferId text = pool.allocate(65536);
  std::memset(pool.data(text), 'a', 65536);
  const auto& small = session.add(WriteData{1, {0, 16}, 0}, text);
  FrameHeader header = header_of(small);
  EXPECT_TRUE(header.compressed());
  EXPECT_LT(header.data_bytes, 1000u);
  Bytes expanded(header.plain_bytes);
  EXPECT_TRUE(decompress({pool.data(small.buffer), small.data_bytes}, expanded));
  EXPECT_EQ(std::memcmp(expanded.data(), pool.data(text), expanded.size()), 0);
  Bytes shorter(expanded.size() - kBlockBytes);
  EXPECT_FALSE(decompress({pool.data(small.buffer), small.data_bytes}, shorter));
  Bytes longer(expanded.size() + kBlockBytes);
  EXPECT_FALSE(decompress({pool.data(small.buffer), small.data_bytes}, longer));

  std::mt19937_64 random(1);
  for (size_t i = 0; i < 65536; i += 8) {
    const uint64_t number = random();
    std::memcpy(pool.data(text) + i, &number, 8);
  }
  const auto& plain = session.add(WriteData{2, {0, 16}, 0}, text);
  EXPECT_FALSE(header_of(plain).compressed());
  EXPECT_EQ(plain.buffer, text);
  pool.release(text);
  EXPECT_TRUE(session.acknowledged(2));
  EXPECT_EQ(pool.in_use(), 0u);
}

TEST(LinkSession, GivesUpOnAPeerThatTakesNothing) {
  BufferPool pool;
  LinkSession session(pool, kId, true, false);
  const BufferId buffer = pool.allocate(1u << 20);
  for (uint64_t i = 0; i < 200; ++i) session.add(WriteData{i, {0, 256}, 0}, buffer);
  EXPECT_FALSE(session.overflown());
  for (uint64_t i = 0; i < 100; ++i) session.add(WriteData{i, {0, 256}, 0}, buffer);
  EXPECT_TRUE(session.overflown());
  EXPECT_TRUE(session.acknowledged(300));
  EXPECT_FALSE(session.overflown());
  pool.release(buffer);
}

}  // namespace
}  // namespace baton::mirror
