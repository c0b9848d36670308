// The token with which one server joins a cluster: where to ask, and a secret that both sides prove to each other before
// anything is said (join_channel.h). Used once, for minutes. docs/protocol.md, "Joining". Plain values, any thread.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "src/base/result.h"

namespace baton {

struct JoinToken {
  std::vector<std::string> addresses;  // of the member that gave it out, each worth a try
  uint16_t port = 0;
  std::string id;           // names the token, not secret: 8 bytes as hexadecimal digits
  std::string secret;       // 32 bytes as hexadecimal digits
  std::string fingerprint;  // of the cluster's key (cluster_fingerprint())
};

/// "baton-join-1.ID.SECRET.FINGERPRINT.PORT.ADDRESS[,ADDRESS]": one word for a shell.
std::string write_join_token(const JoinToken& token);
/// Errors (kInvalid) say whether it is no token at all, cut off, or of another version.
Result<JoinToken> read_join_token(const std::string& text);

/// A new id and secret.
Result<JoinToken> make_join_token();

/// Eight bytes that name a cluster's key without telling it.
std::string cluster_fingerprint(const std::string& key);

}  // namespace baton
