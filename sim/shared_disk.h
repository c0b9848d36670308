// The disk that two servers have in common: atomic blocks, and for each server whether it works, fails or hangs. Plain values,
// one thread. docs/protocol.md, "The arbiter on a disk".
#pragma once

#include <map>

#include "src/base/ids.h"
#include "src/core/arbiter/disk_lock.h"

namespace baton::sim {

class SharedDisk {
 public:
  enum class Access { kWorks, kFails, kHangs };

  arbiter::DiskBlock read(ServerId server) const {
    const auto found = blocks_.find(server);
    return found == blocks_.end() ? arbiter::DiskBlock{} : found->second;
  }
  void write(ServerId server, const arbiter::DiskBlock& block) { blocks_[server] = block; }
  Access access(ServerId server) const {
    const auto found = access_.find(server);
    return found == access_.end() ? Access::kWorks : found->second;
  }
  void set_access(ServerId server, Access access) { access_[server] = access; }
  void heal() { access_.clear(); }
  /// A person prepares it anew.
  void clear() { blocks_.clear(); }
  /// `server` has held its claim, and nobody has made it void.
  bool names(ServerId server) const {
    for (const auto& [other, block] : blocks_)
      if (other != server && !arbiter::claims(read(server), block)) return false;
    return read(server).held;
  }
  bool names_anybody() const {
    for (const auto& [server, block] : blocks_)
      if (block.claim != 0) return true;
    return false;
  }

 private:
  std::map<ServerId, arbiter::DiskBlock> blocks_;
  std::map<ServerId, Access> access_;
};

}  // namespace baton::sim
