// The messages of the mirror connect as bytes: fields in the order of mirror_types.h, little-endian. Pure functions,
// robust against any input. docs/protocol.md, "Mirror connect". Any thread.
#pragma once

#include <span>

#include "src/base/bytes.h"
#include "src/core/mirror/mirror_types.h"

namespace baton::mirror {

/// How blocks go with a message of that type (its place in Message).
enum class DataRule { kNone, kAlways, kPerhaps };
DataRule data_rule(uint8_t type);

/// Appends the message's fields.
void encode_message(const Message& message, Bytes& out);

/// False: the bytes are not exactly one message of that type, or say something impossible.
bool decode_message(uint8_t type, std::span<const uint8_t> body, Message& message);

/// How many bytes of blocks belong to the message.
uint32_t data_bytes_of(const Message& message);

}  // namespace baton::mirror
