// The cluster's keys on this server's disk: the one in use, one that is staged, one that was replaced. Each step leaves
// whole files after a power cut. Any thread. docs/protocol.md, "Keys"; docs/disk-format.md.
#pragma once

#include <string>

#include "src/base/bytes.h"
#include "src/base/result.h"

namespace baton {

/// As in the files: 128 hexadecimal digits. Empty: there is none.
struct ClusterKeys {
  std::string current;
  std::string next;
  std::string old;

  /// The one of that fingerprint; empty: it is not here.
  const std::string& find(const std::string& fingerprint) const;
};

/// "cluster_fingerprint()" of the key; empty for none.
std::string fingerprint_of(const std::string& key);
/// 64 random bytes.
Result<std::string> make_cluster_key();
/// Corosync's key, derived, so that there is one secret to hand out. 128 bytes.
Bytes ring_key_of(const std::string& cluster_key);

class ClusterKeyFiles {
 public:
  explicit ClusterKeyFiles(std::string directory) : directory_(std::move(directory)) {}

  /// Error: there is no key in use, or it is none.
  Result<ClusterKeys> read() const;
  /// Each is on disk when it returns; repeating it is harmless.
  Status stage(const std::string& key) const;
  Status adopt() const;  // REQUIRES: one is staged
  Status drop_old() const;
  Status drop_next() const;

 private:
  std::string path(const char* name) const { return directory_ + "/" + name; }
  Status write(const std::string& path, const std::string& key) const;
  Status remove(const std::string& path) const;
  Status sync_directory() const;

  std::string directory_;
};

}  // namespace baton
