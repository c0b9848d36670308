// The files of a volatile disk; see volatile_nodes.h. Thread-safe.
#include "src/lab/volatile_nodes.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/falloc.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

namespace baton::lab {

VolatileNode::~VolatileNode() {
  if (path >= 0) close(path);
  if (backing >= 0) close(backing);
}

int VolatileNodes::open_root(const std::string& directory) {
  int path = open(directory.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC);
  struct stat attributes {};
  if (path < 0 || fstat(path, &attributes) != 0) return errno;
  auto* node = adopt(path, attributes);
  std::lock_guard guard(lock_);
  root_ = nodes_.at({node->device, node->inode});
  return 0;
}

VolatileNode* VolatileNodes::adopt(int path, const struct stat& attributes) {
  std::lock_guard guard(lock_);
  auto& node = nodes_[{attributes.st_dev, attributes.st_ino}];
  if (!node) {
    node = std::make_shared<VolatileNode>();
    node->path = path;
    node->device = attributes.st_dev;
    node->inode = attributes.st_ino;
  } else {
    close(path);
  }
  node->lookups++;
  return node.get();
}

void VolatileNodes::forget(VolatileNode* node, uint64_t lookups) {
  std::shared_ptr<VolatileNode> last;  // destroyed after the table's lock is released
  std::lock_guard guard(lock_);
  node->lookups -= std::min(node->lookups, lookups);
  if (node->lookups > 0 || node == root_.get()) return;
  struct stat attributes {};
  bool unlinked = fstat(node->path, &attributes) != 0 || attributes.st_nlink == 0;
  // Closed is not synced: unsynced pages of a file that still has a name stay, and so does a fault.
  if (!unlinked && (node->dirty_since != 0 || node->failing || node->losing)) return;
  auto found = nodes_.find({node->device, node->inode});
  if (found == nodes_.end()) return;
  last = found->second;
  std::unique_lock file(node->lock);
  unsynced_ -= node->overlay.bytes();
  node->overlay.resize(0);
  nodes_.erase(found);
}

int VolatileNodes::open_backing(VolatileNode& node) {
  std::unique_lock guard(node.lock);
  if (node.backing >= 0) return 0;
  int backing = open(fmt::format("/proc/self/fd/{}", node.path).c_str(), O_RDWR | O_CLOEXEC);
  struct stat attributes {};
  if (backing < 0) return errno;
  if (fstat(backing, &attributes) != 0) {
    int error = errno;
    close(backing);
    return error;
  }
  node.backing = backing;
  node.size = node.synced_size = uint64_t(attributes.st_size);
  return 0;
}

int VolatileNodes::read(VolatileNode& node, uint64_t offset, std::span<char> into, size_t& count) {
  count = 0;
  if (node.failing) return EIO;
  std::shared_lock guard(node.lock);
  while (count < into.size()) {
    ssize_t got = pread(node.backing, into.data() + count, into.size() - count, off_t(offset + count));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return errno;
    if (got == 0) break;
    count += size_t(got);
  }
  node.overlay.cover(offset, into.first(count));
  return 0;
}

template <class Change>
int VolatileNodes::change_overlay(VolatileNode& node, Change change) {
  uint64_t before = node.overlay.bytes();
  int error = change();
  unsynced_ += node.overlay.bytes() - before;  // wraps around for less: as meant
  if (node.overlay.empty() && node.size == node.synced_size) {
    node.dirty_since = 0;
  } else if (node.dirty_since == 0) {
    node.dirty_since = ++order_;
  }
  return error;
}

int VolatileNodes::write(VolatileNode& node, uint64_t offset, std::span<const char> data) {
  if (node.failing) return EIO;
  if (full) return ENOSPC;
  {
    std::unique_lock guard(node.lock);
    uint64_t end = offset + data.size();
    if (end > node.size) {
      // The size is metadata and passes through; synced_size remembers what a power cut may take back.
      if (ftruncate(node.backing, off_t(end)) != 0) return errno;
      node.size = end;
    }
    int error = change_overlay(node, [&] { return node.overlay.write(node.backing, offset, data); });
    if (error != 0) return error;
  }
  if (unsynced_ > kMaximumUnsynced) relieve();
  return 0;
}

int VolatileNodes::flush_locked(VolatileNode& node) {
  return change_overlay(node, [&] {
    int error = node.overlay.flush(node.backing, node.size);
    if (error == 0) node.synced_size = node.size;
    return error;
  });
}

int VolatileNodes::sync(VolatileNode& node, bool data_only) {
  if (node.failing) return EIO;
  int backing;
  {
    std::unique_lock guard(node.lock);
    backing = node.backing;
    if (backing < 0) return 0;  // never opened: nothing unsynced
    if (node.losing) {
      return change_overlay(node, [&] {
        node.overlay.resize(0);
        return EIO;
      });
    }
    if (int error = flush_locked(node); error != 0) return error;
  }
  return (data_only ? fdatasync(backing) : fsync(backing)) == 0 ? 0 : errno;
}

int VolatileNodes::sync_all() {
  int result = 0;
  for (const auto& node : all()) {
    if (node->dirty_since == 0) continue;
    if (int error = sync(*node, false); error != 0) result = error;
  }
  return result;
}

int VolatileNodes::truncate(VolatileNode& node, uint64_t size) {
  if (node.failing) return EIO;
  if (int error = open_backing(node); error != 0) return error;
  std::unique_lock guard(node.lock);
  if (full && size > node.size) return ENOSPC;
  if (ftruncate(node.backing, off_t(size)) != 0) return errno;
  return change_overlay(node, [&] {
    node.overlay.resize(size);
    node.size = node.synced_size = size;
    return 0;
  });
}

int VolatileNodes::allocate(VolatileNode& node, int mode, uint64_t offset, uint64_t length) {
  constexpr int kZeroing = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE;
  if ((mode & ~(FALLOC_FL_KEEP_SIZE | kZeroing)) != 0) return EOPNOTSUPP;
  if (node.failing) return EIO;
  if (full) return ENOSPC;
  std::unique_lock guard(node.lock);
  if (fallocate(node.backing, mode, off_t(offset), off_t(length)) != 0) return errno;
  return change_overlay(node, [&] {
    if ((mode & kZeroing) != 0) node.overlay.zero(offset, length);
    if ((mode & FALLOC_FL_KEEP_SIZE) == 0 && offset + length > node.size) {
      node.size = node.synced_size = offset + length;
    }
    return 0;
  });
}

Losses VolatileNodes::lose(uint64_t seed) {
  std::mt19937_64 random(seed);
  Losses losses;
  for (const auto& node : all()) {  // in the order of inode numbers: the same seed does the same
    std::unique_lock guard(node->lock);
    if (node->backing < 0) continue;
    (void)change_overlay(*node, [&] {
      bool cut = node->size > node->synced_size && random() % 2 == 0;
      if (cut && ftruncate(node->backing, off_t(node->synced_size)) == 0) {
        losses.cut_back++;
        node->size = node->synced_size;
        uint64_t before = node->overlay.bytes();
        node->overlay.resize(node->size);
        uint64_t gone = (before - node->overlay.bytes()) / kPageSize;
        losses.unsynced += gone;
        losses.dropped += gone;
      }
      int error = node->overlay.lose(node->backing, node->size, random, losses);
      node->synced_size = node->size;
      return error;
    });
  }
  return losses;
}

int VolatileNodes::set_failing(const std::string& name, bool on) {
  return set_fault(name, &VolatileNode::failing, on);
}

int VolatileNodes::set_losing(const std::string& name, bool on) {
  return set_fault(name, &VolatileNode::losing, on);
}

int VolatileNodes::set_fault(const std::string& name, std::atomic<bool> VolatileNode::*fault, bool on) {
  int path = openat(root_->path, name.c_str(), O_PATH | O_NOFOLLOW | O_CLOEXEC);
  struct stat attributes {};
  if (path < 0) return errno;
  if (fstat(path, &attributes) != 0) return errno;
  auto* node = adopt(path, attributes);
  node->*fault = on;
  forget(node, 1);
  return 0;
}

std::vector<std::shared_ptr<VolatileNode>> VolatileNodes::all() {
  std::lock_guard guard(lock_);
  std::vector<std::shared_ptr<VolatileNode>> nodes;
  for (const auto& [key, node] : nodes_) nodes.push_back(node);
  return nodes;
}

std::vector<VolatileNode*> VolatileNodes::known() {
  std::lock_guard guard(lock_);
  std::vector<VolatileNode*> nodes;
  for (const auto& [key, node] : nodes_) {
    if (node->lookups > 0) nodes.push_back(node.get());
  }
  return nodes;
}

void VolatileNodes::relieve() {
  std::shared_ptr<VolatileNode> oldest;
  for (const auto& node : all()) {
    uint64_t since = node->dirty_since;
    if (since != 0 && (!oldest || since < oldest->dirty_since)) oldest = node;
  }
  if (!oldest) return;
  std::unique_lock guard(oldest->lock);
  (void)flush_locked(*oldest);
}

}  // namespace baton::lab
