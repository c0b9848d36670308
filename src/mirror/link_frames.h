// The frames of the mirror connect as bytes: a 48-byte header, an encoded message or record, and perhaps blocks of
// data. Pure functions, robust against any input. docs/protocol.md, "Mirror connect". Any thread.
#pragma once

#include <span>

#include "src/base/bytes.h"
#include "src/base/result.h"
#include "src/core/mirror/mirror_types.h"
#include "src/mirror/link_records.h"

namespace baton::mirror {

constexpr size_t kFrameHeaderBytes = 48;
constexpr uint32_t kFrameMagic = 0x314B4C42;  // "BLK1"
constexpr uint8_t kFrameVersion = 2;
constexpr uint32_t kMaxFrameBody = 64 * 1024;
constexpr uint32_t kMaxFrameData = 1u << 20;
constexpr uint8_t kFirstRecordType = 0x80;     // from here on: records of the transport, see link_records.h
constexpr uint16_t kFlagCompressed = 1;        // the data is one lz4 block

/// What a header says; on the wire in another order, see link_frames.cc.
struct FrameHeader {
  uint8_t type = 0;             // place in Message, or kFirstRecordType + place in LinkRecord
  uint16_t flags = 0;
  uint32_t body_bytes = 0;      // the encoded message
  uint32_t data_bytes = 0;      // after it, as sent
  uint32_t plain_bytes = 0;     // the data as it was before compression: whole blocks
  uint64_t sequence = 0;        // counts a session's messages of one direction from 1; 0 in records
  uint64_t acknowledged = 0;    // the newest message of the other direction that the sender has received
  uint32_t body_checksum = 0;   // CRC32C
  uint32_t data_checksum = 0;

  bool record() const { return type >= kFirstRecordType; }
  bool compressed() const { return (flags & kFlagCompressed) != 0; }
};

/// Data as it is sent. Compressed when that is not `plain_bytes` long.
struct FrameData {
  std::span<const uint8_t> bytes;
  uint32_t plain_bytes = 0;
};

/// Appends header and message to `out`; the data follows on the wire. Data is only looked at for its checksum.
void encode_frame(const Message& message, const FrameData& data, uint64_t sequence, uint64_t acknowledged, Bytes& out);
void encode_record_frame(const LinkRecord& record, uint64_t acknowledged, Bytes& out);

/// Checks magic, version, checksum, type, flags and sizes: what it accepts may be waited for.
Result<FrameHeader> decode_frame_header(std::span<const uint8_t> bytes);

/// REQUIRES: a message's header. Checks sizes and checksums and that the message makes sense.
Result<Message> decode_frame(const FrameHeader& header, std::span<const uint8_t> body, std::span<const uint8_t> data);
/// REQUIRES: a record's header.
Result<LinkRecord> decode_record_frame(const FrameHeader& header, std::span<const uint8_t> body);

}  // namespace baton::mirror
