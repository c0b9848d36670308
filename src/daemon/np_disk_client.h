// Carries out the node's rounds on the disk that two servers have in common, on a thread of its own: a disk that hangs holds up
// nothing else. The loop's thread. docs/protocol.md, "The arbiter on a disk".
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "src/core/arbiter/disk_lock.h"
#include "src/os/np_disk.h"
#include "src/os/worker_thread.h"

namespace baton {

/// Sixteen bytes that name the cluster on the disk; its key does not follow from them.
Bytes np_disk_cluster(const std::string& cluster_key);

NpRecord to_np_record(const arbiter::DiskBlock& block);
Result<arbiter::DiskBlock> from_np_record(const NpRecord& record);

class NpDiskClient {
 public:
  /// `cluster_key`: the one in use when it is asked for.
  NpDiskClient(EventLoop& loop, std::function<std::string()> cluster_key, const std::string& run_directory);
  ~NpDiskClient();

  /// `done` is called from the loop, however late.
  void run(const arbiter::Round& round, std::function<void(const arbiter::RoundDone&)> done);
  /// Prepares a disk.
  void format(const std::string& path, bool overwrite, std::function<void(Status)> done);

 private:
  struct Disk;
  LoopDoor door_;
  std::function<std::string()> cluster_key_;
  std::string lock_file_;
  std::shared_ptr<Disk> disk_;  // used by the thread only
  WorkerThread worker_;
};

}  // namespace baton
