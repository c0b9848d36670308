// The files of a volatile disk: backing inodes with their unsynced pages, and the operations on their data.
// Names and directories pass through to the backing directory at once and are no part of this. Thread-safe: the
// table has one lock, each file another; the table's is never waited for while a file's is held.
#pragma once

#include <sys/stat.h>

#include <atomic>
#include <map>
#include <memory>
#include <mutex>
#include <shared_mutex>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "src/lab/volatile_overlay.h"

namespace baton::lab {

/// More than this unsynced: the file with the oldest unsynced page is written through, as a real disk would.
inline constexpr uint64_t kMaximumUnsynced = 512ull << 20;

/// One inode of the backing directory that the kernel knows or that has unsynced data.
struct VolatileNode {
  ~VolatileNode();

  int path = -1;     // O_PATH: keeps the inode, and so its number, from being reused
  int backing = -1;  // O_RDWR, from the first open of a regular file on
  dev_t device = 0;
  ino_t inode = 0;
  uint64_t lookups = 0;  // the table's lock guards it
  std::atomic<bool> failing = false;
  std::atomic<bool> losing = false;

  std::shared_mutex lock;  // guards what follows, and `backing`
  VolatileOverlay overlay;
  uint64_t size = 0;
  uint64_t synced_size = 0;               // the size that a power cut cannot take back
  std::atomic<uint64_t> dirty_since = 0;  // order of the oldest unsynced write; 0: none
};

class VolatileNodes {
 public:
  /// Takes the backing directory. Errors are errno values, here and below; 0 is success.
  int open_root(const std::string& directory);
  VolatileNode* root() { return root_.get(); }

  /// The node of an O_PATH descriptor, which it takes over; its lookup count rises by one.
  VolatileNode* adopt(int path, const struct stat& attributes);
  void forget(VolatileNode* node, uint64_t lookups);

  int open_backing(VolatileNode& node);
  /// Reads into `into`; `count` is how much there was.
  int read(VolatileNode& node, uint64_t offset, std::span<char> into, size_t& count);
  int write(VolatileNode& node, uint64_t offset, std::span<const char> data);
  /// Writes the file's unsynced pages to the backing file and syncs that.
  int sync(VolatileNode& node, bool data_only);
  int sync_all();
  int truncate(VolatileNode& node, uint64_t size);
  int allocate(VolatileNode& node, int mode, uint64_t offset, uint64_t length);

  /// The power goes: every unsynced page's fate is drawn from the seed.
  Losses lose(uint64_t seed);

  /// Fault switches.
  std::atomic<bool> full = false;
  std::atomic<unsigned> slow_ms = 0;  // each write and each sync takes that much longer
  /// Makes reads, writes and syncs of one file fail with EIO; `name` is below the disk's root.
  int set_failing(const std::string& name, bool on);
  /// Makes syncs of one file fail with EIO; what was not synced is gone, as after a write-back that failed.
  int set_losing(const std::string& name, bool on);

  uint64_t unsynced_bytes() const { return unsynced_; }
  /// Every node that the kernel may have cached something of.
  std::vector<VolatileNode*> known();

 private:
  int set_fault(const std::string& name, std::atomic<bool> VolatileNode::*fault, bool on);
  using Key = std::pair<dev_t, ino_t>;

  std::vector<std::shared_ptr<VolatileNode>> all();
  /// REQUIRES: the node's lock. Counts what `change` does to the overlay's memory.
  template <class Change>
  int change_overlay(VolatileNode& node, Change change);
  int flush_locked(VolatileNode& node);
  void relieve();

  std::mutex lock_;
  std::map<Key, std::shared_ptr<VolatileNode>> nodes_;
  std::shared_ptr<VolatileNode> root_;
  std::atomic<uint64_t> unsynced_ = 0;
  std::atomic<uint64_t> order_ = 0;
};

}  // namespace baton::lab
