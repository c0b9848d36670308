// See cluster_keys.h.
#include "src/daemon/cluster_keys.h"

#include <fcntl.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>

#include "src/format/join_token.h"
#include "src/os/file_text.h"
#include "src/os/owned_fd.h"

namespace baton {

namespace {

constexpr size_t kKeyBytes = 64;
constexpr const char* kCurrent = "cluster.key";
constexpr const char* kNext = "cluster.next.key";
constexpr const char* kOld = "cluster.old.key";

std::string trimmed(std::string text) {
  while (!text.empty() && std::isspace(static_cast<unsigned char>(text.back()))) text.pop_back();
  return text;
}

std::string read_key(const std::string& path) {
  const auto text = read_text_file(path);
  return text ? trimmed(*text) : std::string();
}

}  // namespace

const std::string& ClusterKeys::find(const std::string& fingerprint) const {
  static const std::string none;
  for (const std::string* key : {&current, &next, &old})
    if (!key->empty() && fingerprint_of(*key) == fingerprint) return *key;
  return none;
}

std::string fingerprint_of(const std::string& key) { return key.empty() ? std::string() : cluster_fingerprint(key); }

Result<std::string> make_cluster_key() {
  unsigned char bytes[kKeyBytes];
  if (RAND_bytes(bytes, sizeof bytes) != 1) return fail("there is no randomness for a new key");
  std::string key;
  for (const unsigned char byte : bytes) key += fmt::format("{:02x}", byte);
  return key;
}

Bytes ring_key_of(const std::string& cluster_key) {
  Bytes key;
  for (const std::string label : {"baton corosync key 1", "baton corosync key 2"}) {
    uint8_t part[64];
    unsigned length = 0;
    HMAC(EVP_sha512(), cluster_key.data(), static_cast<int>(cluster_key.size()),
         reinterpret_cast<const uint8_t*>(label.data()), label.size(), part, &length);
    key.insert(key.end(), part, part + length);
  }
  return key;
}

Result<ClusterKeys> ClusterKeyFiles::read() const {
  ClusterKeys keys{read_key(path(kCurrent)), read_key(path(kNext)), read_key(path(kOld))};
  if (keys.current.empty())
    return fail_as(ErrorCode::kNotFound, "cannot read {} (the cluster's key): run `baton cluster create` or `baton cluster join` on "
                   "this server first", path(kCurrent));
  if (keys.current.size() < kKeyBytes)
    return fail_as(ErrorCode::kInvalid, "{} is too short: 64 random bytes as hexadecimal digits are expected", path(kCurrent));
  // SAFETY: K4. A crash between the two steps of adopt(): nothing was replaced.
  if (keys.old == keys.current) keys.old.clear();
  if (keys.next == keys.current) keys.next.clear();
  return keys;
}

Status ClusterKeyFiles::stage(const std::string& key) const { return write(path(kNext), key); }

Status ClusterKeyFiles::adopt() const {
  const std::string present = read_key(path(kCurrent));
  if (present.empty() || read_key(path(kNext)).empty())
    return fail_as(ErrorCode::kNotFound, "there is no staged key in {}", directory_);
  if (auto kept = write(path(kOld), present); !kept) return kept;
  if (std::rename(path(kNext).c_str(), path(kCurrent).c_str()) != 0)
    return fail("cannot put {} in force: {}", path(kNext), errno_text());
  return sync_directory();
}

Status ClusterKeyFiles::drop_old() const { return remove(path(kOld)); }

Status ClusterKeyFiles::drop_next() const { return remove(path(kNext)); }

Status ClusterKeyFiles::write(const std::string& target, const std::string& key) const {
  const std::string temporary = target + ".new";
  const std::string text = key + "\n";
  ::unlink(temporary.c_str());
  OwnedFd file(::open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
  if (!file || ::write(file.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size()) || ::fsync(file.get()) != 0 ||
      ::rename(temporary.c_str(), target.c_str()) != 0) {
    const auto failed = fail("cannot write {}: {}", target, errno_text());
    ::unlink(temporary.c_str());
    return failed;
  }
  return sync_directory();
}

Status ClusterKeyFiles::remove(const std::string& target) const {
  if (::unlink(target.c_str()) != 0 && errno != ENOENT) return fail("cannot remove {}: {}", target, errno_text());
  return sync_directory();
}

Status ClusterKeyFiles::sync_directory() const {
  const OwnedFd directory(::open(directory_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!directory || ::fsync(directory.get()) != 0) return fail("cannot sync {}: {}", directory_, errno_text());
  return {};
}

}  // namespace baton
