// See join_token.h.
#include "src/format/join_token.h"

#include <openssl/sha.h>
#include <sys/random.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>

#include <fmt/ranges.h>

namespace baton {
namespace {

constexpr size_t kIdDigits = 16, kSecretDigits = 64, kFingerprintDigits = 16;
const std::string kPrefix = "baton-join-1";

std::string to_hex(const unsigned char* bytes, size_t size) {
  std::string hex;
  for (size_t place = 0; place < size; ++place) hex += fmt::format("{:02x}", bytes[place]);
  return hex;
}

bool is_hex(const std::string& text, size_t digits) {
  return text.size() == digits && text.find_first_not_of("0123456789abcdef") == std::string::npos;
}

/// The parts between `separator`s, at most `most`: the last one takes the rest.
std::vector<std::string> split(const std::string& text, char separator, size_t most) {
  std::vector<std::string> parts;
  size_t begin = 0;
  while (parts.size() + 1 < most) {
    const size_t end = text.find(separator, begin);
    if (end == std::string::npos) break;
    parts.push_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  parts.push_back(text.substr(begin));
  return parts;
}

}  // namespace

std::string write_join_token(const JoinToken& token) {
  return fmt::format("{}.{}.{}.{}.{}.{}", kPrefix, token.id, token.secret, token.fingerprint, token.port,
                     fmt::join(token.addresses, ","));
}

Result<JoinToken> read_join_token(const std::string& text) {
  const auto parts = split(text, '.', 6);
  if (parts[0].starts_with("baton-join-") && parts[0] != kPrefix)
    return fail_as(ErrorCode::kInvalid, "the token is of another version of Baton ({}): install the cluster's version here",
                   parts[0]);
  if (parts[0] != kPrefix)
    return fail_as(ErrorCode::kInvalid, "this is no join token: give the word that `baton cluster token` printed on a "
                                        "server of the cluster");
  JoinToken token;
  const bool complete = parts.size() == 6 && is_hex(parts[1], kIdDigits) && is_hex(parts[2], kSecretDigits) &&
                        is_hex(parts[3], kFingerprintDigits) && !parts[5].empty();
  const long port = complete ? std::strtol(parts[4].c_str(), nullptr, 10) : 0;
  if (port < 1 || port > 65535)
    return fail_as(ErrorCode::kInvalid, "the join token is damaged or cut off: copy the whole word");
  token.id = parts[1];
  token.secret = parts[2];
  token.fingerprint = parts[3];
  token.port = static_cast<uint16_t>(port);
  token.addresses = split(parts[5], ',', 16);
  return token;
}

Result<JoinToken> make_join_token() {
  unsigned char bytes[(kIdDigits + kSecretDigits) / 2];
  if (getrandom(bytes, sizeof bytes, 0) != sizeof bytes)
    return fail("cannot get random bytes: {}", std::strerror(errno));
  JoinToken token;
  token.id = to_hex(bytes, kIdDigits / 2);
  token.secret = to_hex(bytes + kIdDigits / 2, kSecretDigits / 2);
  return token;
}

std::string cluster_fingerprint(const std::string& key) {
  const std::string named = "baton cluster fingerprint " + key;
  unsigned char hash[SHA256_DIGEST_LENGTH];
  SHA256(reinterpret_cast<const unsigned char*>(named.data()), named.size(), hash);
  return to_hex(hash, kFingerprintDigits / 2);
}

}  // namespace baton
