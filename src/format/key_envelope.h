// A new key of the cluster on its way from one server to another: sealed for one asker, by an exchange that leaves nothing
// to those who only watch, and by a key that both have already. docs/protocol.md, K2. Any thread.
#pragma once

#include <memory>
#include <string>

#include "src/base/ids.h"
#include "src/base/result.h"

namespace baton {

/// What both sides must agree upon, or nothing can be opened.
struct KeyEnvelopeContext {
  std::string shared_key;   // the present cluster key
  std::string fingerprint;  // of the key inside
  ServerId from;
  ServerId to;
};

/// The asker's half: good for one exchange.
class KeyAsker {
 public:
  static Result<KeyAsker> make();
  ~KeyAsker();
  KeyAsker(KeyAsker&&) noexcept;
  KeyAsker& operator=(KeyAsker&&) noexcept;

  const std::string& public_key() const { return public_key_; }
  /// The key inside. Errors (kInvalid): changed on the way, of another exchange, or by somebody without the shared key.
  Result<std::string> open(const std::string& sealed, const KeyEnvelopeContext& context) const;

 private:
  struct Secret;
  KeyAsker();
  std::unique_ptr<Secret> secret_;
  std::string public_key_;
};

/// For who has that public key. Error (kInvalid): it is none.
Result<std::string> seal_key(const std::string& key, const std::string& public_key, const KeyEnvelopeContext& context);

}  // namespace baton
