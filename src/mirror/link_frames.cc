// Every count is checked against what is left before anything is reserved for it.
#include "src/mirror/link_frames.h"

#include <array>

#include "src/base/assert.h"
#include "src/base/checksum.h"

namespace baton::mirror {
namespace {

// The type on the wire is the place in the variant: new messages are added at its end.
static_assert(std::variant_size_v<Message> == 14);
constexpr size_t kWriteData = 3;
static_assert(std::is_same_v<std::variant_alternative_t<kWriteData, Message>, WriteData>);
constexpr uint32_t kMaxAncestors = 64;

class MessageEncoder {
 public:
  explicit MessageEncoder(Bytes& out) : writer_(out) {}

  void operator()(const Hello& hello) {
    writer_.put(hello.permit.value);
    writer_.put(hello.size_blocks);
    put(hello.generation);
    put(hello.ancestors);
    put(hello.base);
  }
  void operator()(const HelloReply& reply) {
    writer_.put(reply.permit.value);
    writer_.put(reply.incarnation.value);
    writer_.put(reply.size_blocks);
    writer_.put(static_cast<uint8_t>((reply.consistent ? 1 : 0) | (reply.all_suspect ? 2 : 0)));
    put(reply.generation);
    put(reply.ancestors);
    writer_.put(static_cast<uint32_t>(reply.suspects.size()));
    for (uint64_t extent : reply.suspects) writer_.put(extent);
  }
  void operator()(const HelloRefused& refused) {
    writer_.put(refused.newer_permit.value);
    writer_.put_string(std::string_view(refused.reason).substr(0, 4096));
  }
  void operator()(const WriteData& write) {
    writer_.put(write.sequence);
    put(write.range);
  }
  void operator()(const WriteDone& done) { put_done(done.sequence, done.ok); }
  void operator()(const FlushPeer& flush) { writer_.put(flush.sequence); }
  void operator()(const FlushPeerDone& done) { put_done(done.sequence, done.ok); }
  void operator()(const CopyBegin& begin) { writer_.put(static_cast<uint8_t>(begin.kind)); }
  void operator()(const CopyBegun&) {}
  void operator()(const HashRequest& request) {
    writer_.put(request.sequence);
    put(request.range);
  }
  void operator()(const HashReply& reply) {
    writer_.put(reply.sequence);
    writer_.put(static_cast<uint32_t>(reply.hashes.size()));
    for (const BlockHash& hash : reply.hashes) {
      writer_.put(hash.low);
      writer_.put(hash.high);
    }
  }
  void operator()(const CopyEnd& end) {
    put(end.generation);
    put(end.ancestors);
  }
  void operator()(const CopyEnded& ended) { writer_.put(ended.incarnation.value); }
  void operator()(const Ping&) {}

 private:
  void put(const Generation& generation) {
    writer_.put(generation.counter);
    writer_.put(generation.random);
  }
  void put(const std::vector<Generation>& ancestors) {
    writer_.put(static_cast<uint32_t>(ancestors.size()));
    for (const Generation& ancestor : ancestors) put(ancestor);
  }
  void put(const BlockRange& range) {
    writer_.put(range.first);
    writer_.put(range.count);
  }
  void put_done(uint64_t sequence, bool ok) {
    writer_.put(sequence);
    writer_.put(static_cast<uint8_t>(ok));
  }
  ByteWriter writer_;
};

class MessageDecoder {
 public:
  explicit MessageDecoder(std::span<const uint8_t> body) : reader_(body) {}

  /// False: the bytes were not exactly this message, or said something impossible.
  bool good() const { return !reader_.failed() && reader_.left() == 0 && !wrong_; }

  void take(Hello& hello) {
    hello.permit = Permit(number());
    hello.size_blocks = number();
    hello.generation = generation();
    hello.ancestors = generations();
    hello.base = generation();
  }
  void take(HelloReply& reply) {
    reply.permit = Permit(number());
    reply.incarnation = Incarnation(number());
    reply.size_blocks = number();
    const auto flags = reader_.take<uint8_t>();
    reply.consistent = (flags & 1) != 0;
    reply.all_suspect = (flags & 2) != 0;
    if (flags > 3) wrong_ = true;
    reply.generation = generation();
    reply.ancestors = generations();
    const uint32_t count = counted(sizeof(uint64_t));
    reply.suspects.reserve(count);
    for (uint32_t i = 0; i < count; ++i) reply.suspects.push_back(number());
  }
  void take(HelloRefused& refused) {
    refused.newer_permit = Permit(number());
    refused.reason = reader_.take_string();
  }
  void take(WriteData& write) {
    write.sequence = number();
    write.range = range();
  }
  void take(WriteDone& done) { take_done(done.sequence, done.ok); }
  void take(FlushPeer& flush) { flush.sequence = number(); }
  void take(FlushPeerDone& done) { take_done(done.sequence, done.ok); }
  void take(CopyBegin& begin) {
    const auto kind = reader_.take<uint8_t>();
    if (kind > static_cast<uint8_t>(CopyKind::kFull)) wrong_ = true;
    begin.kind = static_cast<CopyKind>(kind);
  }
  void take(CopyBegun&) {}
  void take(HashRequest& request) {
    request.sequence = number();
    request.range = range();
  }
  void take(HashReply& reply) {
    reply.sequence = number();
    const uint32_t count = counted(2 * sizeof(uint64_t));
    reply.hashes.reserve(count);
    for (uint32_t i = 0; i < count; ++i) {
      BlockHash hash;
      hash.low = number();
      hash.high = number();
      reply.hashes.push_back(hash);
    }
  }
  void take(CopyEnd& end) {
    end.generation = generation();
    end.ancestors = generations();
  }
  void take(CopyEnded& ended) { ended.incarnation = Incarnation(number()); }
  void take(Ping&) {}

 private:
  uint64_t number() { return reader_.take<uint64_t>(); }
  Generation generation() {
    Generation generation;
    generation.counter = number();
    generation.random = number();
    return generation;
  }
  /// A count of elements that can still follow; 0 if they cannot.
  uint32_t counted(size_t element_bytes) {
    const auto count = reader_.take<uint32_t>();
    if (count <= reader_.left() / element_bytes) return count;
    wrong_ = true;
    return 0;
  }
  std::vector<Generation> generations() {
    const uint32_t count = counted(2 * sizeof(uint64_t));
    std::vector<Generation> all;
    if (count > kMaxAncestors) {
      wrong_ = true;
      return all;
    }
    for (uint32_t i = 0; i < count; ++i) all.push_back(generation());
    return all;
  }
  /// Of 1 block to the most that a frame carries, without overflow.
  BlockRange range() {
    BlockRange range;
    range.first = number();
    range.count = number();
    if (range.count == 0 || range.count > kMaxFrameData / kBlockBytes || range.first > UINT64_MAX / kBlockBytes - range.count) {
      wrong_ = true;
    }
    return range;
  }
  void take_done(uint64_t& sequence, bool& ok) {
    sequence = number();
    const auto flag = reader_.take<uint8_t>();
    ok = flag == 1;
    if (flag > 1) wrong_ = true;
  }

  ByteReader reader_;
  bool wrong_ = false;
};

template <size_t type>
bool decode_as(std::span<const uint8_t> body, Message& message) {
  std::variant_alternative_t<type, Message> decoded;
  MessageDecoder decoder(body);
  decoder.take(decoded);
  message = std::move(decoded);
  return decoder.good();
}

template <size_t... types>
bool decode_type(size_t type, std::span<const uint8_t> body, Message& message, std::index_sequence<types...>) {
  using Decode = bool (*)(std::span<const uint8_t>, Message&);
  constexpr std::array<Decode, sizeof...(types)> kDecoders = {&decode_as<types>...};
  return kDecoders[type](body, message);
}

}  // namespace

uint32_t payload_checksum(std::span<const uint8_t> body, std::span<const uint8_t> data) {
  const uint32_t sums[2] = {crc32c(body), crc32c(data)};
  return crc32c({reinterpret_cast<const uint8_t*>(sums), sizeof sums});
}

void encode_frame(const Message& message, std::span<const uint8_t> data, uint64_t sequence, Bytes& out) {
  const size_t start = out.size();
  out.resize(start + kFrameHeaderBytes);
  std::visit(MessageEncoder(out), message);
  const std::span<const uint8_t> body = std::span<const uint8_t>(out).subspan(start + kFrameHeaderBytes);
  BATON_ASSERT(body.size() <= kMaxFrameBody && data.size() <= kMaxFrameData);

  Bytes header;
  header.reserve(kFrameHeaderBytes);
  ByteWriter writer(header);
  writer.put(kFrameMagic);
  writer.put(kFrameVersion);
  writer.put(static_cast<uint8_t>(message.index()));
  writer.put(uint16_t{0});  // flags, none known
  writer.put(static_cast<uint32_t>(body.size()));
  writer.put(static_cast<uint32_t>(data.size()));
  writer.put(sequence);
  writer.put(payload_checksum(body, data));
  writer.put(crc32c(header));
  std::copy(header.begin(), header.end(), out.begin() + static_cast<ptrdiff_t>(start));
}

Result<FrameHeader> decode_frame_header(std::span<const uint8_t> bytes) {
  if (bytes.size() < kFrameHeaderBytes) return fail_as(ErrorCode::kInvalid, "a frame's header is cut off");
  bytes = bytes.first(kFrameHeaderBytes);
  ByteReader reader(bytes);
  if (reader.take<uint32_t>() != kFrameMagic) return fail_as(ErrorCode::kInvalid, "a frame does not start as one");
  const auto version = reader.take<uint8_t>();
  if (version != kFrameVersion) {
    return fail_as(ErrorCode::kInvalid, "a frame has version {}, this program knows {}", version, kFrameVersion);
  }
  FrameHeader header;
  header.type = reader.take<uint8_t>();
  reader.take<uint16_t>();
  header.body_bytes = reader.take<uint32_t>();
  header.data_bytes = reader.take<uint32_t>();
  header.sequence = reader.take<uint64_t>();
  header.payload_checksum = reader.take<uint32_t>();
  if (reader.take<uint32_t>() != crc32c(bytes.first(kFrameHeaderBytes - 4))) {
    return fail_as(ErrorCode::kInvalid, "a frame's header is damaged (checksum)");
  }
  if (header.type >= std::variant_size_v<Message>) {
    return fail_as(ErrorCode::kInvalid, "a frame has the unknown type {}", header.type);
  }
  const bool write = header.type == kWriteData;
  const bool data_fits = write ? header.data_bytes > 0 && header.data_bytes <= kMaxFrameData &&
                                     header.data_bytes % kBlockBytes == 0
                               : header.data_bytes == 0;
  if (header.body_bytes > kMaxFrameBody || !data_fits) {
    return fail_as(ErrorCode::kInvalid, "a frame of type {} has impossible sizes, {} and {} bytes", header.type,
                   header.body_bytes, header.data_bytes);
  }
  return header;
}

Result<Message> decode_frame(const FrameHeader& header, std::span<const uint8_t> body, std::span<const uint8_t> data) {
  if (body.size() != header.body_bytes || data.size() != header.data_bytes ||
      header.type >= std::variant_size_v<Message>) {
    return fail_as(ErrorCode::kInvalid, "a frame is not of the size that its header says");
  }
  if (payload_checksum(body, data) != header.payload_checksum) {
    return fail_as(ErrorCode::kInvalid, "a frame of type {} is damaged (checksum)", header.type);
  }
  Message message;
  if (!decode_type(header.type, body, message, std::make_index_sequence<std::variant_size_v<Message>>())) {
    return fail_as(ErrorCode::kInvalid, "a frame of type {} makes no sense", header.type);
  }
  if (const auto* write = std::get_if<WriteData>(&message); write != nullptr) {
    if (write->range.count * kBlockBytes != data.size()) {
      return fail_as(ErrorCode::kInvalid, "a write of {} blocks came with {} bytes", write->range.count, data.size());
    }
  }
  return message;
}

}  // namespace baton::mirror
