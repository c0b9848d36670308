// Sealed: the sender's public key (32 bytes), the ciphertext, the tag (16 bytes). Key and nonce of AES-256-GCM come from
// HKDF-SHA-256 of the X25519 secret, salted with the shared key; both sides' names and public keys are in its info, and
// authenticated. Each exchange has keys of its own, so the nonce may be derived, too.
#include "src/format/key_envelope.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>

#include <array>
#include <cstdint>

#include "src/base/assert.h"
#include "src/base/free_with.h"
#include "src/format/hkdf.h"

namespace baton {

namespace {

constexpr size_t kPublicBytes = 32;
constexpr size_t kTagBytes = 16;
constexpr size_t kNonceBytes = 12;
using Derived = std::array<uint8_t, 32 + kNonceBytes>;

using Key = std::unique_ptr<EVP_PKEY, FreeWith<EVP_PKEY_free>>;
using KeyContext = std::unique_ptr<EVP_PKEY_CTX, FreeWith<EVP_PKEY_CTX_free>>;
using Cipher = std::unique_ptr<EVP_CIPHER_CTX, FreeWith<EVP_CIPHER_CTX_free>>;

const uint8_t* bytes_of(const std::string& text) { return reinterpret_cast<const uint8_t*>(text.data()); }

std::string public_part(EVP_PKEY* key) {
  std::string part(kPublicBytes, '\0');
  size_t size = part.size();
  BATON_ASSERT(EVP_PKEY_get_raw_public_key(key, reinterpret_cast<uint8_t*>(part.data()), &size) == 1 && size == kPublicBytes);
  return part;
}

void put_text(std::string& out, const std::string& text) { out += std::to_string(text.size()) + ":" + text; }

std::string info_of(const KeyEnvelopeContext& context, const std::string& asker, const std::string& sender) {
  std::string info = "baton key envelope 1";
  put_text(info, context.fingerprint);
  put_text(info, std::to_string(context.from.value));
  put_text(info, std::to_string(context.to.value));
  put_text(info, asker);
  put_text(info, sender);
  return info;
}

/// Empty: the other side's public key is no good one.
std::string exchange(EVP_PKEY* own, const std::string& other) {
  if (other.size() != kPublicBytes) return {};
  const Key peer(EVP_PKEY_new_raw_public_key(EVP_PKEY_X25519, nullptr, bytes_of(other), other.size()));
  const KeyContext context(EVP_PKEY_CTX_new(own, nullptr));
  BATON_ASSERT(context != nullptr);
  std::string secret(kPublicBytes, '\0');
  size_t size = secret.size();
  if (!peer || EVP_PKEY_derive_init(context.get()) != 1 || EVP_PKEY_derive_set_peer(context.get(), peer.get()) != 1 ||
      EVP_PKEY_derive(context.get(), reinterpret_cast<uint8_t*>(secret.data()), &size) != 1)
    return {};
  return secret;
}

Derived derive(std::string& secret, const std::string& salt, const std::string& info) {
  Derived out{};
  hkdf_sha256(secret, salt, info, out);
  OPENSSL_cleanse(secret.data(), secret.size());
  return out;
}

}  // namespace

struct KeyAsker::Secret {
  Key key;
};

KeyAsker::KeyAsker() = default;
KeyAsker::~KeyAsker() = default;
KeyAsker::KeyAsker(KeyAsker&&) noexcept = default;
KeyAsker& KeyAsker::operator=(KeyAsker&&) noexcept = default;

Result<KeyAsker> KeyAsker::make() {
  KeyAsker asker;
  asker.secret_ = std::make_unique<Secret>();
  asker.secret_->key.reset(EVP_PKEY_Q_keygen(nullptr, nullptr, "X25519"));
  if (!asker.secret_->key) return fail("OpenSSL can make no X25519 key");
  asker.public_key_ = public_part(asker.secret_->key.get());
  return asker;
}

Result<std::string> KeyAsker::open(const std::string& sealed, const KeyEnvelopeContext& context) const {
  const auto damaged = [&] {
    return fail_as(ErrorCode::kInvalid, "the new key from server {} cannot be opened: it is damaged, of another exchange, or that "
                   "server has another present key", context.from);
  };
  if (sealed.size() < kPublicBytes + kTagBytes) return damaged();
  const std::string sender = sealed.substr(0, kPublicBytes);
  std::string secret = exchange(secret_->key.get(), sender);
  if (secret.empty()) return damaged();
  const std::string info = info_of(context, public_key_, sender);
  Derived keys = derive(secret, context.shared_key, info);
  const size_t size = sealed.size() - kPublicBytes - kTagBytes;
  std::string tag = sealed.substr(kPublicBytes + size);
  std::string key(size, '\0');
  const Cipher cipher(EVP_CIPHER_CTX_new());
  int done = 0;
  const bool ok =
      EVP_DecryptInit_ex(cipher.get(), EVP_aes_256_gcm(), nullptr, keys.data(), keys.data() + 32) == 1 &&
      EVP_DecryptUpdate(cipher.get(), nullptr, &done, bytes_of(info), static_cast<int>(info.size())) == 1 &&
      EVP_DecryptUpdate(cipher.get(), reinterpret_cast<uint8_t*>(key.data()), &done, bytes_of(sealed) + kPublicBytes,
                        static_cast<int>(size)) == 1 &&
      EVP_CIPHER_CTX_ctrl(cipher.get(), EVP_CTRL_GCM_SET_TAG, kTagBytes, tag.data()) == 1 &&
      EVP_DecryptFinal_ex(cipher.get(), nullptr, &done) == 1;
  OPENSSL_cleanse(keys.data(), keys.size());
  if (!ok) return damaged();
  return key;
}

Result<std::string> seal_key(const std::string& key, const std::string& public_key, const KeyEnvelopeContext& context) {
  const Key own(EVP_PKEY_Q_keygen(nullptr, nullptr, "X25519"));
  if (!own) return fail("OpenSSL can make no X25519 key");
  std::string secret = exchange(own.get(), public_key);
  if (secret.empty()) return fail_as(ErrorCode::kInvalid, "what server {} sent is no X25519 key", context.to);
  std::string sealed = public_part(own.get());
  const std::string info = info_of(context, public_key, sealed);
  Derived keys = derive(secret, context.shared_key, info);
  sealed.resize(kPublicBytes + key.size() + kTagBytes);
  auto* out = reinterpret_cast<uint8_t*>(sealed.data()) + kPublicBytes;
  const Cipher cipher(EVP_CIPHER_CTX_new());
  int done = 0;
  BATON_ASSERT(EVP_EncryptInit_ex(cipher.get(), EVP_aes_256_gcm(), nullptr, keys.data(), keys.data() + 32) == 1 &&
               EVP_EncryptUpdate(cipher.get(), nullptr, &done, bytes_of(info), static_cast<int>(info.size())) == 1 &&
               EVP_EncryptUpdate(cipher.get(), out, &done, bytes_of(key), static_cast<int>(key.size())) == 1 &&
               EVP_EncryptFinal_ex(cipher.get(), nullptr, &done) == 1 &&
               EVP_CIPHER_CTX_ctrl(cipher.get(), EVP_CTRL_GCM_GET_TAG, kTagBytes, out + key.size()) == 1);
  OPENSSL_cleanse(keys.data(), keys.size());
  return sealed;
}

}  // namespace baton
