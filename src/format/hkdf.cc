// See hkdf.h.
#include "src/format/hkdf.h"

#include <openssl/core_names.h>
#include <openssl/kdf.h>
#include <openssl/params.h>

#include <memory>

#include "src/base/assert.h"
#include "src/base/free_with.h"

namespace baton {

namespace {

OSSL_PARAM octets(const char* name, std::string_view bytes) {
  return OSSL_PARAM_construct_octet_string(name, const_cast<char*>(bytes.data()), bytes.size());
}

}  // namespace

void hkdf_sha256(std::string_view secret, std::string_view salt, std::string_view info, std::span<uint8_t> out) {
  const std::unique_ptr<EVP_KDF, FreeWith<EVP_KDF_free>> kdf(EVP_KDF_fetch(nullptr, "HKDF", nullptr));
  const std::unique_ptr<EVP_KDF_CTX, FreeWith<EVP_KDF_CTX_free>> context(EVP_KDF_CTX_new(kdf.get()));
  const OSSL_PARAM parameters[] = {OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, const_cast<char*>("SHA256"), 0),
                                   octets(OSSL_KDF_PARAM_KEY, secret), octets(OSSL_KDF_PARAM_SALT, salt),
                                   octets(OSSL_KDF_PARAM_INFO, info), OSSL_PARAM_construct_end()};
  BATON_ASSERT(context && EVP_KDF_derive(context.get(), out.data(), out.size(), parameters) == 1);
}

}  // namespace baton
