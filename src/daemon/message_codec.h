// Messages between servers as bytes: a magic, a version, then protobuf (src/format/cluster.proto). Pure functions, any
// thread. Fields that a newer version added are ignored; a kind of message it added is an error, which the caller
// may treat like a lost message.
#pragma once

#include <string>
#include <string_view>

#include "src/base/result.h"
#include "src/core/node/node_types.h"

namespace baton {

std::string encode_message(const node::Message& message, Epoch lineage = {});

/// Reads what encode_message() wrote on any server. Any bytes are safe; what cannot be a message is an error (kInvalid).
/// ENSURES: remaining leases are between zero and a day, so that adding them to an instant cannot overflow.
Result<node::Message> decode_message(std::string_view bytes, Epoch* lineage = nullptr);

}  // namespace baton
