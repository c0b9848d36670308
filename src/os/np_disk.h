// The disk that two servers without a witness have in common: a header that names the cluster, and for each server two sectors that
// it alone writes, by turns. Every read and write passes all caches. Blocks, for as long as the disk likes: for a thread of its own.
// docs/disk-format.md, "The disk between two servers"; docs/protocol.md, "The arbiter on a disk".
#pragma once

#include <cstdint>
#include <string>

#include "src/base/bytes.h"
#include "src/base/result.h"
#include "src/os/owned_fd.h"

namespace baton {

/// What a server wrote there last. `sequence` rises by one with each write; 0: never written.
struct NpRecord {
  uint64_t sequence = 0;
  Bytes payload;
};

class NpDisk {
 public:
  /// `cluster`: 16 bytes; a disk of another one is refused. `lock_file`: held for as long as this object, so that no two processes
  /// of this server write: what a dying one has under way comes before that.
  static Result<NpDisk> open(const std::string& path, const Bytes& cluster, const std::string& lock_file);
  /// Durable when it returns. Errors: it may have been written or not.
  Status write(uint32_t server, const NpRecord& record);
  Result<NpRecord> read(uint32_t server) const;

  /// Makes a device, or a file that need not be there, such a disk. Refused if it holds anything, unless `overwrite`.
  static Status format(const std::string& path, const Bytes& cluster, bool overwrite);

 private:
  std::string path_;
  OwnedFd disk_;
  OwnedFd lock_;
};

}  // namespace baton
