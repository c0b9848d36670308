// Commands as protobuf bytes (cluster.proto), for the cluster database's disk and for messages. Pure functions, any
// thread. Bytes written by an older version stay readable; a kind of command from a newer one is refused by name,
// because a voter that skipped it would reach another state than the rest.
#pragma once

#include <string>
#include <string_view>

#include "src/base/result.h"
#include "src/model/command.h"

namespace baton {

/// The bytes of a command. They may differ between two encodings of equal commands: never compare or hash them.
std::string encode_command(const Command& command);

/// Reads what encode_command() wrote. Any bytes are safe; what cannot be a command is an error (kInvalid).
Result<Command> decode_command(std::string_view bytes);

}  // namespace baton
