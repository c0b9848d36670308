// JoinChannel: lines of text between a server that joins and a member, over TLS 1.3 with the join token's secret as the
// shared key: each side has proved that it has the token before a byte of theirs is read, and nothing that is recorded can
// be read later. Blocking, every wait has a deadline; one thread at a time. docs/protocol.md, "Joining".
#pragma once

#include <openssl/types.h>

#include <functional>
#include <memory>
#include <string>

#include "src/base/result.h"
#include "src/base/time.h"
#include "src/format/join_token.h"

namespace baton {

class JoinChannel {
 public:
  /// The secret of the token with that id; empty: there is none.
  using FindSecret = std::function<std::string(const std::string& id)>;

  /// Tries the token's addresses one after the other. Errors: nobody there (kUnavailable), or the token is not known
  /// there (kInvalid).
  static Result<std::unique_ptr<JoinChannel>> connect(const JoinToken& token, Duration limit);
  /// A connection that was accepted. Takes the descriptor over.
  static Result<std::unique_ptr<JoinChannel>> accept(int descriptor, FindSecret find, Duration limit);
  ~JoinChannel();
  JoinChannel(const JoinChannel&) = delete;
  JoinChannel& operator=(const JoinChannel&) = delete;

  /// One line; the text must not contain the line's end.
  Status send(const std::string& line);
  Result<std::string> receive();
  /// Whose token the other side has: for the one who accepted.
  const std::string& token_id() const { return token_id_; }

 private:
  JoinChannel() = default;
  static Result<std::unique_ptr<JoinChannel>> open(int descriptor, Duration limit);
  Status shake_hands(bool as_client);

  int descriptor_ = -1;
  SSL_CTX* context_ = nullptr;
  SSL* ssl_ = nullptr;
  std::string token_id_;
  std::string secret_;
  FindSecret find_;
};

}  // namespace baton
