// The first bytes of a mirror connect: each side proves that it knows the cluster key. Pure but for the nonce's
// randomness. docs/protocol.md, "Mirror connect". Any thread.
#pragma once

#include <array>
#include <span>
#include <string>
#include <vector>

#include "src/base/bytes.h"
#include "src/base/ids.h"
#include "src/base/result.h"

namespace baton::mirror {

enum class LinkSide : uint8_t { kConnector = 'C', kAcceptor = 'A' };

constexpr size_t kGreetingBytes = 48;  // what each side sends first
constexpr size_t kProofBytes = 32;     // then

/// The cluster's secret, read from its file of 128 hexadecimal digits.
struct ClusterKey {
  std::array<uint8_t, 64> bytes{};
  bool operator==(const ClusterKey&) const = default;
};
/// While the cluster's key is replaced there are more than one (docs/protocol.md, "Keys").
struct ClusterKeySet {
  ClusterKey used;                 // to prove oneself by
  std::vector<ClusterKey> others;  // also accepted: staged, or replaced
  bool accepts(const ClusterKey& key) const;
  bool operator==(const ClusterKeySet&) const = default;
};
/// `path` is the used one's; "x.next.key" and "x.old.key" may be beside "x.key".
Result<ClusterKeySet> read_cluster_keys(const std::string& path);
Result<ClusterKey> read_cluster_key(const std::string& path);
Result<ClusterKey> parse_cluster_key(const std::string& hex);

/// One side of one handshake.
class LinkHandshake {
 public:
  LinkHandshake(const ClusterKey& key, LinkSide side, std::string mirror, ServerId self, ServerId peer,
                std::vector<ClusterKey> also_accepted = {});

  const std::array<uint8_t, kGreetingBytes>& greeting() const { return greeting_; }

  /// The peer's greeting, and what to send as proof. An error: it speaks another language, or is another server.
  Result<std::array<uint8_t, kProofBytes>> greeted(std::span<const uint8_t, kGreetingBytes> greeting);

  /// SAFETY: docs/protocol.md, "Mirror connect": not a byte more is read from one who cannot prove itself.
  bool proves(std::span<const uint8_t, kProofBytes> proof) const { return proved_by(proof) != nullptr; }
  /// By which key; nullptr: by none that is accepted.
  const ClusterKey* proved_by(std::span<const uint8_t, kProofBytes> proof) const;

  /// That nobody can guess: names a session.
  static uint64_t random_number();

 private:
  std::array<uint8_t, kProofBytes> proof_of(LinkSide side, const ClusterKey& key) const;

  ClusterKey key_;
  std::vector<ClusterKey> also_accepted_;
  LinkSide side_;
  std::string mirror_;
  ServerId self_;
  ServerId peer_;
  std::array<uint8_t, kGreetingBytes> greeting_{};
  std::array<uint8_t, kGreetingBytes> peer_greeting_{};
};

}  // namespace baton::mirror
