// The frames of the mirror connect as bytes: a 32-byte header, an encoded message, and for a write its data. Pure
// functions, robust against any input. docs/protocol.md, "Mirror connect". Any thread.
#pragma once

#include <span>

#include "src/base/bytes.h"
#include "src/base/result.h"
#include "src/core/mirror/mirror_types.h"

namespace baton::mirror {

constexpr size_t kFrameHeaderBytes = 32;
constexpr uint32_t kFrameMagic = 0x314B4C42;  // "BLK1"
constexpr uint8_t kFrameVersion = 1;
constexpr uint32_t kMaxFrameBody = 64 * 1024;
constexpr uint32_t kMaxFrameData = 1u << 20;

/// Little-endian, in this order; then the checksum of the 28 bytes before it.
struct FrameHeader {
  uint8_t type = 0;            // place in Message
  uint32_t body_bytes = 0;     // the encoded message
  uint32_t data_bytes = 0;     // after it: blocks of a WriteData
  uint64_t sequence = 0;       // counts the frames of one direction from 1
  uint32_t payload_checksum = 0;  // CRC32C over the body's and the data's CRC32C, see payload_checksum()
};

/// Appends header and message to `out`; the data follows on the wire. `data` is only looked at for its checksum.
void encode_frame(const Message& message, std::span<const uint8_t> data, uint64_t sequence, Bytes& out);

/// Checks magic, version, checksum, type and sizes: what it accepts may be waited for.
Result<FrameHeader> decode_frame_header(std::span<const uint8_t> bytes);

/// REQUIRES: `body` and `data` have the header's sizes. Checks their checksum and that the message makes sense.
Result<Message> decode_frame(const FrameHeader& header, std::span<const uint8_t> body, std::span<const uint8_t> data);

/// Checksum of a payload in two places, without copying them together.
uint32_t payload_checksum(std::span<const uint8_t> body, std::span<const uint8_t> data);

}  // namespace baton::mirror
