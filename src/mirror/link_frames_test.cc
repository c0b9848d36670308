// Every message survives the wire; cut, mutated and invented frames are refused without harm.
#include "src/mirror/link_frames.h"

#include <gtest/gtest.h>

#include <random>

#include "src/base/checksum.h"

namespace baton::mirror {
namespace {

std::vector<Message> samples() {
  HelloReply reply{Permit(4), Incarnation(2), 1000, false, {3, 33}, {{2, 22}, {1, 11}}, {0, 5, 77}, true};
  return {Hello{MirrorProtocol::kB, Permit(9), 1000, {5, 55}, {{4, 44}, {3, 33}}, {4, 44}},
          reply,
          HelloRefused{Permit(10), "a newer permit"},
          WriteData{17, {100, 2}, 7},
          WriteDone{17, true},
          FlushPeer{18},
          FlushPeerDone{18, false},
          CopyBegin{CopyKind::kFull},
          CopyBegun{},
          HashRequest{19, {0, 64}},
          HashReply{19, {{1, 2}, {3, 4}}},
          CopyEnd{{5, 55}, {{4, 44}}},
          CopyEnded{Incarnation(6)},
          Ping{},
          ZeroData{20, {7, kMaxZeroBlocks}, 8, true},
          WriteReceived{21},
          ReadPeer{22, {9, 3}},
          PeerData{22, 2, true},
          Detach{},
          Detached{{6, 66}, {{5, 55}}},
          PeerData{23, 0, false}};
}

const std::vector<LinkRecord> kRecords = {Join{{1, 2}, 1, true}, Joined{JoinResult::kRefused, 9, "not now"}, Beat{1, 2, 3},
                                          Acknowledge{}, Goodbye{"the end"}};

struct Frame {
  Bytes bytes;  // header, body, data
  size_t data_bytes = 0;
};

Bytes data_of(const Message& message) {
  const auto* data = std::get_if<PeerData>(&message);
  const bool some = std::holds_alternative<WriteData>(message) || (data != nullptr && data->ok);
  return Bytes(some ? 2 * kBlockBytes : 0, 0xC3);
}

Frame frame_of(const Message& message) {
  Frame frame;
  const Bytes data = data_of(message);
  encode_frame(message, {data, static_cast<uint32_t>(data.size())}, 41, 40, frame.bytes);
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

/// What a header with these fields comes to, behind a correct checksum.
bool accepted(uint8_t type, uint16_t flags, uint32_t body, uint32_t data, uint32_t plain, uint64_t sequence) {
  Bytes bytes;
  ByteWriter writer(bytes);
  writer.put(kFrameMagic);
  writer.put(kFrameVersion);
  writer.put(type);
  writer.put(flags);
  writer.put(body);
  writer.put(data);
  writer.put(sequence);
  writer.put(uint64_t{0});
  writer.put(plain);
  writer.put(uint32_t{0});
  writer.put(uint32_t{0});
  writer.put(crc32c(bytes));
  return decode_frame_header(bytes).has_value();
}

TEST(LinkFrames, EveryMessageSurvives) {
  for (const Message& message : samples()) {
    const Frame frame = frame_of(message);
    auto header = decode_frame_header(frame.bytes);
    ASSERT_TRUE(header) << header.error().message;
    EXPECT_EQ(header->sequence, 41u);
    EXPECT_EQ(header->acknowledged, 40u);
    EXPECT_EQ(header->data_bytes, frame.data_bytes);
    auto decoded = decode(frame.bytes);
    ASSERT_TRUE(decoded) << message.index() << ": " << decoded.error().message;
    EXPECT_EQ(decoded->index(), message.index());
    Bytes data(frame.bytes.end() - static_cast<ptrdiff_t>(frame.data_bytes), frame.bytes.end());
    Bytes again;
    encode_frame(*decoded, {data, static_cast<uint32_t>(data.size())}, 41, 40, again);
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
  const auto messages = samples();
  for (int round = 0; round < 20000; ++round) {
    FrameHeader header;
    header.type = static_cast<uint8_t>(random() % std::variant_size_v<Message>);
    const Frame frame = frame_of(messages[random() % messages.size()]);
    Bytes body(frame.bytes.begin() + kFrameHeaderBytes, frame.bytes.end() - static_cast<ptrdiff_t>(frame.data_bytes));
    for (uint64_t i = random() % 4; i > 0 && !body.empty(); --i) body[random() % body.size()] = static_cast<uint8_t>(random());
    if (random() % 4 == 0) body.resize(random() % 300);
    Bytes data(header.type == 3 ? 2 * kBlockBytes : 0);
    header.body_bytes = static_cast<uint32_t>(body.size());
    header.data_bytes = header.plain_bytes = static_cast<uint32_t>(data.size());
    header.body_checksum = crc32c(body);
    header.data_checksum = data.empty() ? 0 : crc32c(data);
    auto decoded = decode_frame(header, body, data);
    if (decoded && header.type == 3) {
      EXPECT_EQ(std::get<WriteData>(*decoded).range.count, 2u);
    }
  }
}

TEST(LinkFrames, ImpossibleHeadersAreRefused) {
  EXPECT_TRUE(accepted(3, 0, 32, 4096, 4096, 1));
  EXPECT_FALSE(accepted(3, 0, 32, 0, 0, 1));
  EXPECT_FALSE(accepted(3, 0, 32, 100, 100, 1));
  EXPECT_FALSE(accepted(3, 0, 32, 2 * kMaxFrameData, 2 * kMaxFrameData, 1));
  EXPECT_FALSE(accepted(3, 0, UINT32_MAX, 4096, 4096, 1));
  EXPECT_FALSE(accepted(3, 0, 32, 4096, 4096, 0)) << "a message without a number";
  EXPECT_FALSE(accepted(3, 2, 32, 4096, 4096, 1)) << "an unknown flag";
  EXPECT_TRUE(accepted(3, 1, 32, 100, 4096, 1)) << "compressed";
  EXPECT_FALSE(accepted(3, 0, 32, 100, 4096, 1)) << "smaller, but not compressed";
  EXPECT_FALSE(accepted(3, 1, 32, 4096, 4096, 1)) << "compressed to nothing less";
  EXPECT_FALSE(accepted(3, 1, 32, 0, 4096, 1));
  EXPECT_TRUE(accepted(17, 0, 17, 0, 0, 1));
  EXPECT_TRUE(accepted(17, 0, 17, 8192, 8192, 1));
  EXPECT_FALSE(accepted(4, 0, 9, 4096, 4096, 1));
  EXPECT_FALSE(accepted(20, 0, 0, 0, 0, 1));
  EXPECT_TRUE(accepted(0x83, 0, 0, 0, 0, 0));
  EXPECT_FALSE(accepted(0x83, 0, 0, 0, 0, 1)) << "a record with a number";
  EXPECT_FALSE(accepted(0x85, 0, 0, 0, 0, 0));
}

TEST(LinkFrames, DataMustBelongToTheMessage) {
  FrameHeader header;
  header.type = 17;
  Bytes body;
  ByteWriter writer(body);
  writer.put(uint64_t{22});
  writer.put(uint64_t{1});
  writer.put(uint8_t{0});  // not ok, but with data
  const Bytes data(kBlockBytes, 1);
  header.body_bytes = static_cast<uint32_t>(body.size());
  header.data_bytes = header.plain_bytes = kBlockBytes;
  header.body_checksum = crc32c(body);
  header.data_checksum = crc32c(data);
  EXPECT_FALSE(decode_frame(header, body, data));
  body.back() = 1;
  header.body_checksum = crc32c(body);
  EXPECT_TRUE(decode_frame(header, body, data));
  body[8] = 2;  // two blocks, with the data of one
  header.body_checksum = crc32c(body);
  EXPECT_FALSE(decode_frame(header, body, data));
}

TEST(LinkFrames, EveryRecordSurvivesAndNoneIsTakenCut) {
  for (const LinkRecord& record : kRecords) {
    Bytes bytes;
    encode_record_frame(record, 12, bytes);
    auto header = decode_frame_header(bytes);
    ASSERT_TRUE(header) << header.error().message;
    EXPECT_EQ(header->acknowledged, 12u);
    auto decoded = decode_record_frame(*header, std::span(bytes).subspan(kFrameHeaderBytes));
    ASSERT_TRUE(decoded) << decoded.error().message;
    Bytes again;
    encode_record_frame(*decoded, 12, again);
    EXPECT_EQ(again, bytes);
    const auto place = static_cast<uint8_t>(record.index());
    const auto body = std::span<const uint8_t>(bytes).subspan(kFrameHeaderBytes);
    for (size_t size = 0; size < body.size(); ++size) {
      LinkRecord cut;
      EXPECT_FALSE(decode_record(place, body.first(size), cut)) << record.index() << " of " << size;
    }
  }
}

}  // namespace
}  // namespace baton::mirror
