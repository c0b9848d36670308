// Every message survives the wire; cut, mutated and invented frames are refused without harm.
#include "src/mirror/link_frames.h"

#include <gtest/gtest.h>

#include <random>

#include "src/base/checksum.h"

namespace baton::mirror {
namespace {

std::vector<Message> samples() {
  HelloReply reply{Permit(4), Incarnation(2), 1000, false, {3, 33}, {{2, 22}, {1, 11}}, {0, 5, 77}, true};
  return {Hello{Permit(9), 1000, {5, 55}, {{4, 44}, {3, 33}}, {4, 44}},
          reply,
          HelloRefused{Permit(10), "a newer permit"},
          WriteData{17, {100, 2}},
          WriteDone{17, true},
          FlushPeer{18},
          FlushPeerDone{18, false},
          CopyBegin{CopyKind::kFull},
          CopyBegun{},
          HashRequest{19, {0, 64}},
          HashReply{19, {{1, 2}, {3, 4}}},
          CopyEnd{{5, 55}, {{4, 44}}},
          CopyEnded{Incarnation(6)},
          Ping{}};
}

struct Frame {
  Bytes bytes;  // header, body, data
  size_t data_bytes = 0;
};

Frame frame_of(const Message& message) {
  Frame frame;
  Bytes data;
  if (std::holds_alternative<WriteData>(message)) data.assign(2 * kBlockBytes, 0xC3);
  encode_frame(message, data, 41, frame.bytes);
  frame.bytes.insert(frame.bytes.end(), data.begin(), data.end());
  frame.data_bytes = data.size();
  return frame;
}

Result<Message> decode(std::span<const uint8_t> bytes) {
  auto header = decode_frame_header(bytes);
  if (!header) return pass(header);
  auto rest = bytes.subspan(kFrameHeaderBytes);
  if (rest.size() < header->body_bytes + header->data_bytes) return fail("cut off");
  return decode_frame(*header, rest.first(header->body_bytes), rest.subspan(header->body_bytes, header->data_bytes));
}

TEST(LinkFrames, EveryMessageSurvives) {
  for (const Message& message : samples()) {
    const Frame frame = frame_of(message);
    auto header = decode_frame_header(frame.bytes);
    ASSERT_TRUE(header) << header.error().message;
    EXPECT_EQ(header->sequence, 41u);
    EXPECT_EQ(header->data_bytes, frame.data_bytes);
    auto decoded = decode(frame.bytes);
    ASSERT_TRUE(decoded) << message.index() << ": " << decoded.error().message;
    EXPECT_EQ(decoded->index(), message.index());
    Bytes data(frame.bytes.end() - static_cast<ptrdiff_t>(frame.data_bytes), frame.bytes.end());
    Bytes again;
    encode_frame(*decoded, data, 41, again);
    again.insert(again.end(), data.begin(), data.end());
    EXPECT_EQ(again, frame.bytes);
  }
}

TEST(LinkFrames, NoSingleBitIsMissed) {
  for (const Message& message : samples()) {
    Frame frame = frame_of(message);
    for (size_t bit = 0; bit < frame.bytes.size() * 8; bit += frame.bytes.size() > 4096 ? 61 : 1) {
      frame.bytes[bit / 8] ^= static_cast<uint8_t>(1u << (bit % 8));
      EXPECT_FALSE(decode(frame.bytes)) << message.index() << " bit " << bit;
      frame.bytes[bit / 8] ^= static_cast<uint8_t>(1u << (bit % 8));
    }
  }
}

TEST(LinkFrames, CutFramesAreRefused) {
  for (const Message& message : samples()) {
    const Frame frame = frame_of(message);
    for (size_t size = 0; size < std::min<size_t>(frame.bytes.size(), 200); ++size) {
      EXPECT_FALSE(decode(std::span(frame.bytes).first(size)));
    }
  }
}

// Mutations behind correct checksums: what a faulty or hostile peer could send.
TEST(LinkFrames, BodiesOfAnyContentAreHarmless) {
  std::mt19937_64 random(7);
  for (int round = 0; round < 20000; ++round) {
    FrameHeader header;
    header.type = static_cast<uint8_t>(random() % 14);
    const Message message = samples()[random() % 14];
    const Frame frame = frame_of(message);
    Bytes body(frame.bytes.begin() + kFrameHeaderBytes, frame.bytes.end() - static_cast<ptrdiff_t>(frame.data_bytes));
    for (uint64_t i = random() % 4; i > 0 && !body.empty(); --i) body[random() % body.size()] = static_cast<uint8_t>(random());
    if (random() % 4 == 0) body.resize(random() % 300);
    Bytes data(header.type == 3 ? 2 * kBlockBytes : 0);
    header.body_bytes = static_cast<uint32_t>(body.size());
    header.data_bytes = static_cast<uint32_t>(data.size());
    header.payload_checksum = payload_checksum(body, data);
    auto decoded = decode_frame(header, body, data);
    if (decoded && header.type == 3) {
      EXPECT_EQ(std::get<WriteData>(*decoded).range.count, 2u);
    }
  }
}

TEST(LinkFrames, ImpossibleSizesAreRefusedInTheHeader) {
  const auto header_with = [](uint8_t type, uint32_t body, uint32_t data) {
    Bytes bytes;
    ByteWriter writer(bytes);
    writer.put(kFrameMagic);
    writer.put(kFrameVersion);
    writer.put(type);
    writer.put(uint16_t{0});
    writer.put(body);
    writer.put(data);
    writer.put(uint64_t{1});
    writer.put(uint32_t{0});
    writer.put(crc32c(bytes));
    return decode_frame_header(bytes).has_value();
  };
  EXPECT_TRUE(header_with(3, 24, 4096));
  EXPECT_FALSE(header_with(3, 24, 0));
  EXPECT_FALSE(header_with(3, 24, 100));
  EXPECT_FALSE(header_with(3, 24, 2 * kMaxFrameData));
  EXPECT_FALSE(header_with(3, UINT32_MAX, 4096));
  EXPECT_FALSE(header_with(4, 9, 4096));
  EXPECT_FALSE(header_with(14, 0, 0));
}

}  // namespace
}  // namespace baton::mirror
