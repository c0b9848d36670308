// Greeting: "BATONMC1", version (32 bits), server id (32 bits), nonce (32 bytes). Proof: HMAC-SHA-256 under the
// cluster key over what proof_of() lists. The ids in it are those that each side expects, not those on the wire.
#include "src/mirror/link_handshake.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <sstream>

#include "src/base/assert.h"

namespace baton::mirror {
namespace {

constexpr char kMagic[9] = "BATONMC1";
constexpr uint32_t kVersion = 2;
constexpr size_t kNonceOffset = 16;

int digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

}  // namespace

Result<ClusterKey> parse_cluster_key(const std::string& hex) {
  ClusterKey key;
  const size_t end = hex.find_last_not_of(" \t\r\n");
  const std::string digits = end == std::string::npos ? "" : hex.substr(0, end + 1);
  if (digits.size() != 2 * key.bytes.size() || !std::all_of(digits.begin(), digits.end(), [](char c) { return digit(c) >= 0; })) {
    return fail_as(ErrorCode::kInvalid, "it must hold {} hexadecimal digits and nothing else", 2 * key.bytes.size());
  }
  for (size_t i = 0; i < key.bytes.size(); ++i) {
    key.bytes[i] = static_cast<uint8_t>(digit(digits[2 * i]) * 16 + digit(digits[2 * i + 1]));
  }
  return key;
}

Result<ClusterKey> read_cluster_key(const std::string& path) {
  std::ifstream file(path);
  std::stringstream content;
  if (!file || !(content << file.rdbuf())) {
    return fail("cannot read the cluster key {}: {}", path, std::strerror(errno));
  }
  auto key = parse_cluster_key(content.str());
  if (!key) return fail_as(ErrorCode::kInvalid, "the cluster key {} cannot be used: {}", path, key.error().message);
  return key;
}

bool ClusterKeySet::accepts(const ClusterKey& key) const {
  return key == used || std::find(others.begin(), others.end(), key) != others.end();
}

Result<ClusterKeySet> read_cluster_keys(const std::string& path) {
  const auto used = read_cluster_key(path);
  if (!used) return pass(used);
  ClusterKeySet keys{*used, {}};
  const std::string stem = path.ends_with(".key") ? path.substr(0, path.size() - 4) : path;
  for (const char* which : {".next.key", ".old.key"}) {
    // One that is not there, or is just being put there, is not accepted: batond says when to look again.
    const auto other = read_cluster_key(stem + which);
    if (other && !keys.accepts(*other)) keys.others.push_back(*other);
  }
  return keys;
}

LinkHandshake::LinkHandshake(const ClusterKey& key, LinkSide side, std::string mirror, ServerId self, ServerId peer,
                             std::vector<ClusterKey> also_accepted)
    : key_(key), also_accepted_(std::move(also_accepted)), side_(side), mirror_(std::move(mirror)), self_(self), peer_(peer) {
  std::memcpy(greeting_.data(), kMagic, 8);
  std::memcpy(greeting_.data() + 8, &kVersion, 4);
  std::memcpy(greeting_.data() + 12, &self_.value, 4);
  BATON_ASSERT(RAND_bytes(greeting_.data() + kNonceOffset, kGreetingBytes - kNonceOffset) == 1);
}

Result<std::array<uint8_t, kProofBytes>> LinkHandshake::greeted(std::span<const uint8_t, kGreetingBytes> greeting) {
  uint32_t version = 0;
  uint32_t server = 0;
  std::memcpy(&version, greeting.data() + 8, 4);
  std::memcpy(&server, greeting.data() + 12, 4);
  if (std::memcmp(greeting.data(), kMagic, 8) != 0) return fail_as(ErrorCode::kInvalid, "it is no mirror daemon");
  if (version != kVersion) return fail_as(ErrorCode::kInvalid, "it speaks version {}, not {}", version, kVersion);
  if (server != peer_.value) return fail_as(ErrorCode::kInvalid, "it is server {}, not {}", server, peer_);
  // Our own greeting sent back would let a stranger use us as our own prover.
  if (CRYPTO_memcmp(greeting.data() + kNonceOffset, greeting_.data() + kNonceOffset, kGreetingBytes - kNonceOffset) == 0) {
    return fail_as(ErrorCode::kInvalid, "it repeats what was said to it");
  }
  std::copy(greeting.begin(), greeting.end(), peer_greeting_.begin());
  return proof_of(side_, key_);
}

const ClusterKey* LinkHandshake::proved_by(std::span<const uint8_t, kProofBytes> proof) const {
  const LinkSide other = side_ == LinkSide::kConnector ? LinkSide::kAcceptor : LinkSide::kConnector;
  const auto fits = [&](const ClusterKey& key) {
    return CRYPTO_memcmp(proof_of(other, key).data(), proof.data(), kProofBytes) == 0;
  };
  if (fits(key_)) return &key_;
  const auto found = std::find_if(also_accepted_.begin(), also_accepted_.end(), fits);
  return found == also_accepted_.end() ? nullptr : &*found;
}

uint64_t LinkHandshake::random_number() {
  uint64_t number = 0;
  BATON_ASSERT(RAND_bytes(reinterpret_cast<unsigned char*>(&number), sizeof number) == 1);
  return number;
}

std::array<uint8_t, kProofBytes> LinkHandshake::proof_of(LinkSide side, const ClusterKey& key) const {
  const bool connector = side_ == LinkSide::kConnector;
  const std::span<const uint8_t> own = std::span(greeting_).subspan(kNonceOffset);
  const std::span<const uint8_t> peers = std::span(peer_greeting_).subspan(kNonceOffset);
  Bytes content;
  ByteWriter writer(content);
  writer.put_string("baton mirror connect");
  writer.put(kVersion);
  writer.put(static_cast<uint8_t>(side));
  writer.put_bytes(connector ? own : peers);
  writer.put_bytes(connector ? peers : own);
  writer.put_string(mirror_);
  writer.put(connector ? self_.value : peer_.value);
  writer.put(connector ? peer_.value : self_.value);

  std::array<uint8_t, kProofBytes> proof{};
  unsigned size = 0;
  const auto* made = HMAC(EVP_sha256(), key.bytes.data(), static_cast<int>(key.bytes.size()), content.data(),
                          content.size(), proof.data(), &size);
  BATON_ASSERT(made != nullptr && size == kProofBytes);
  return proof;
}

}  // namespace baton::mirror
