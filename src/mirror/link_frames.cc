// On the wire, little-endian: magic 4, version 1, type 1, flags 2, body 4, data 4, sequence 8, acknowledged 8, plain 4,
// checksums of body 4 and data 4, and at last the checksum of the 44 bytes before it.
#include "src/mirror/link_frames.h"

#include "src/base/assert.h"
#include "src/base/checksum.h"
#include "src/mirror/link_messages.h"

namespace baton::mirror {
namespace {

/// The header as it lies on the wire.
struct WireHeader {
  uint32_t magic = kFrameMagic;
  uint8_t version = kFrameVersion;
  uint8_t type = 0;
  uint16_t flags = 0;
  uint32_t body_bytes = 0;
  uint32_t data_bytes = 0;
  uint64_t sequence = 0;
  uint64_t acknowledged = 0;
  uint32_t plain_bytes = 0;
  uint32_t body_checksum = 0;
  uint32_t data_checksum = 0;
  uint32_t header_checksum = 0;

  uint32_t checksum() const { return crc32c({reinterpret_cast<const uint8_t*>(this), sizeof *this - 4}); }
};
static_assert(sizeof(WireHeader) == kFrameHeaderBytes && std::has_unique_object_representations_v<WireHeader>);

/// Fills in the header in front of a body that ends `out`.
void seal(WireHeader header, size_t start, const FrameData& data, Bytes& out) {
  const auto body = std::span<const uint8_t>(out).subspan(start + kFrameHeaderBytes);
  BATON_ASSERT(body.size() <= kMaxFrameBody && data.bytes.size() <= kMaxFrameData);
  header.body_bytes = static_cast<uint32_t>(body.size());
  header.data_bytes = static_cast<uint32_t>(data.bytes.size());
  header.plain_bytes = data.plain_bytes;
  header.flags = data.bytes.size() != data.plain_bytes ? kFlagCompressed : 0;
  header.body_checksum = crc32c(body);
  header.data_checksum = data.bytes.empty() ? 0 : crc32c(data.bytes);
  header.header_checksum = header.checksum();
  std::memcpy(out.data() + start, &header, sizeof header);
}

bool sizes_fit(const FrameHeader& header) {
  if (header.body_bytes > kMaxFrameBody) return false;
  const DataRule rule = header.record() ? DataRule::kNone : data_rule(header.type);
  if (header.plain_bytes == 0) return rule != DataRule::kAlways && header.data_bytes == 0 && !header.compressed();
  if (rule == DataRule::kNone || header.plain_bytes > kMaxFrameData || header.plain_bytes % kBlockBytes != 0) return false;
  return header.compressed() ? header.data_bytes > 0 && header.data_bytes < header.plain_bytes
                             : header.data_bytes == header.plain_bytes;
}

bool known_type(uint8_t type) {
  return type < std::variant_size_v<Message> ||
         (type >= kFirstRecordType && type < kFirstRecordType + std::variant_size_v<LinkRecord>);
}

Status check_payload(const FrameHeader& header, std::span<const uint8_t> body, std::span<const uint8_t> data) {
  if (body.size() != header.body_bytes || data.size() != header.data_bytes) {
    return fail_as(ErrorCode::kInvalid, "a frame is not of the size that its header says");
  }
  if (crc32c(body) != header.body_checksum || (data.empty() ? 0 : crc32c(data)) != header.data_checksum) {
    return fail_as(ErrorCode::kInvalid, "a frame of type {} is damaged (checksum)", header.type);
  }
  return {};
}

}  // namespace

void encode_frame(const Message& message, const FrameData& data, uint64_t sequence, uint64_t acknowledged, Bytes& out) {
  const size_t start = out.size();
  out.resize(start + kFrameHeaderBytes);
  encode_message(message, out);
  WireHeader header;
  header.type = static_cast<uint8_t>(message.index());
  header.sequence = sequence;
  header.acknowledged = acknowledged;
  seal(header, start, data, out);
}

void encode_record_frame(const LinkRecord& record, uint64_t acknowledged, Bytes& out) {
  const size_t start = out.size();
  out.resize(start + kFrameHeaderBytes);
  encode_record(record, out);
  WireHeader header;
  header.type = static_cast<uint8_t>(kFirstRecordType + record.index());
  header.acknowledged = acknowledged;
  seal(header, start, {}, out);
}

Result<FrameHeader> decode_frame_header(std::span<const uint8_t> bytes) {
  if (bytes.size() < kFrameHeaderBytes) return fail_as(ErrorCode::kInvalid, "a frame's header is cut off");
  WireHeader wire;
  std::memcpy(&wire, bytes.data(), sizeof wire);
  if (wire.magic != kFrameMagic) return fail_as(ErrorCode::kInvalid, "a frame does not start as one");
  if (wire.version != kFrameVersion) {
    return fail_as(ErrorCode::kInvalid, "a frame has version {}, this program knows {}", wire.version, kFrameVersion);
  }
  if (wire.header_checksum != wire.checksum()) {
    return fail_as(ErrorCode::kInvalid, "a frame's header is damaged (checksum)");
  }
  if (!known_type(wire.type)) return fail_as(ErrorCode::kInvalid, "a frame has the unknown type {}", wire.type);
  if ((wire.flags & ~kFlagCompressed) != 0) {
    return fail_as(ErrorCode::kInvalid, "a frame of type {} has unknown flags, {:#x}", wire.type, wire.flags);
  }
  const FrameHeader header{wire.type,     wire.flags,        wire.body_bytes,    wire.data_bytes,   wire.plain_bytes,
                           wire.sequence, wire.acknowledged, wire.body_checksum, wire.data_checksum};
  if (!sizes_fit(header) || header.record() != (header.sequence == 0)) {
    return fail_as(ErrorCode::kInvalid, "a frame of type {} has impossible sizes or number: {}, {} and {} bytes, number {}",
                   header.type, header.body_bytes, header.data_bytes, header.plain_bytes, header.sequence);
  }
  return header;
}

Result<Message> decode_frame(const FrameHeader& header, std::span<const uint8_t> body, std::span<const uint8_t> data) {
  if (auto checked = check_payload(header, body, data); !checked) return pass(checked);
  Message message;
  if (!decode_message(header.type, body, message)) {
    return fail_as(ErrorCode::kInvalid, "a frame of type {} makes no sense", header.type);
  }
  if (data_bytes_of(message) != header.plain_bytes) {
    return fail_as(ErrorCode::kInvalid, "a frame of type {} came with {} bytes of data, not what it says", header.type,
                   header.plain_bytes);
  }
  return message;
}

Result<LinkRecord> decode_record_frame(const FrameHeader& header, std::span<const uint8_t> body) {
  if (auto checked = check_payload(header, body, {}); !checked) return pass(checked);
  LinkRecord record;
  if (!decode_record(static_cast<uint8_t>(header.type - kFirstRecordType), body, record)) {
    return fail_as(ErrorCode::kInvalid, "a record of type {} makes no sense", header.type);
  }
  return record;
}

}  // namespace baton::mirror
