// MetadataFile: a copy's superblock, activity log and dirty bitmap on disk, in a file (KEY.meta) or a partition of
// their own. Opening, growing and resetting are synchronous; the persists go through the ring. docs/disk-format.md.
// The loop's thread.
#pragma once

#include <deque>
#include <functional>
#include <memory>

#include "src/mirror/metadata_io.h"
#include "src/mirror/metadata_load.h"
#include "src/mirror/metadata_records.h"
#include "src/mirror/ring.h"
#include "src/os/owned_fd.h"

namespace baton::mirror {

class MetadataFile {
 public:
  /// 0, or the errno of what failed.
  using Done = std::function<void(int error_number)>;

  struct Opened {
    std::unique_ptr<MetadataFile> file;
    StoredCopy stored;
    bool created = false;
    std::vector<std::string> warnings;  // for the log: what was found damaged and survived
  };

  /// Opens and locks the metadata of `blank.superblock.mirror`; makes it from `blank` if there is none: no file, or a
  /// block device whose start is empty. Waits up to `lock_limit` for another mirror daemon to let go of it. Metadata of
  /// an older format is written anew. One of a smaller mirror is refused unless `may_grow`: `stored` then has the size
  /// that it has, and the caller grows it.
  static Result<Opened> open(Ring& ring, const std::string& path, const StoredCopy& blank, Duration lock_limit = 10s,
                             bool may_grow = false);
  ~MetadataFile();

  // Each is durable when `done` comes, which is never from inside. Calls of one kind happen one after the other;
  // after a crash the newest completed one is found, or the one that was under way.
  void persist_superblock(const Superblock& superblock, Done done);
  /// REQUIRES: at most kMaxActivityExtents.
  void persist_activity(const std::vector<uint64_t>& extents, Done done);
  void persist_bitmap(const std::map<uint64_t, std::vector<BlockRange>>& pages, Done done);

  /// Makes room for a mirror of so many blocks and says so in the superblock, durably: after a crash the old size is
  /// found, or the new one. REQUIRES: idle.
  Status grow(uint64_t size_blocks);
  /// Everything begins anew with `blank`, durably and atomically: nothing of the activity log and bitmap of before counts
  /// any more. REQUIRES: idle; no dirty blocks in `blank`.
  Status reset(const StoredCopy& blank);

  /// Nothing under way, second copies included.
  bool idle() const { return writes_under_way_ == 0; }
  /// When the oldest write under way was begun; kNever: none is.
  Instant oldest() const;
  uint64_t size_blocks() const { return superblock_.size_blocks; }
  const std::string& path() const { return path_; }

 private:
  struct SuperblockJob {
    Superblock superblock;
    Done done;
  };
  struct ActivityJob {
    std::vector<uint64_t> extents;
    Done done;
  };
  struct BitmapJob {
    std::map<uint64_t, std::vector<BlockRange>> pages;
    Done done;
  };
  MetadataFile(Ring& ring, std::string path, OwnedFd fd, LoadedMetadata&& loaded);
  static Result<Opened> open_once(Ring& ring, const std::string& path, const StoredCopy& blank, Instant deadline,
                                  bool may_grow, bool* again);

  void write_all(const uint8_t* data, uint32_t size, uint64_t offset, Done done);
  void next_superblock();
  void write_superblock_copy(unsigned copy);
  void next_activity();
  // A bitmap job: what it changes in the map, both copies; then its pages, chunk by chunk, both copies.
  void next_bitmap_job();
  bool in_map(uint64_t page) const { return (map_[page / 8] >> (page % 8) & 1) != 0; }
  void flip_in_map(uint64_t page) { map_[page / 8] ^= static_cast<uint8_t>(1u << (page % 8)); }
  std::vector<uint64_t> change_map(BitmapJob& job);
  void write_map(unsigned copy);
  void map_written(unsigned copy);
  void next_bitmap_chunk();
  void write_bitmap_chunk(unsigned copy);
  void bitmap_chunk_written(unsigned copy);
  void end_bitmap_job(int error);

  Ring& ring_;
  std::string path_;
  OwnedFd fd_;
  uint64_t era_ = 0;
  int writes_under_way_ = 0;

  // The job at each queue's front is under way, since when.
  std::deque<SuperblockJob> superblock_jobs_;
  Instant superblock_since_ = kNever;
  Superblock superblock_;  // the last that was given
  uint64_t superblock_sequence_ = 0;
  Aligned superblock_memory_;

  std::deque<ActivityJob> activity_jobs_;
  Instant activity_since_ = kNever;
  uint64_t activity_sequence_ = 0;
  Aligned activity_memory_;

  std::deque<BitmapJob> bitmap_jobs_;
  Instant bitmap_since_ = kNever;
  uint64_t bitmap_sequence_ = 0;
  uint64_t map_sequence_ = 0;
  std::vector<uint8_t> map_;              // one bit for each page: it may hold set bits
  std::vector<uint64_t> flipped_;         // pages whose bit the job under way has changed
  std::vector<uint64_t> map_sectors_;     // that it writes
  std::vector<bool> doubtful_;            // map sectors of which a write failed: on disk is the old one, or the new
  std::vector<uint64_t> chunk_;           // pages of the chunk under way
  unsigned writes_left_ = 0;              // of the map's or the chunk's present copy
  int write_error_ = 0;
  Aligned map_memory_;
  Aligned bitmap_memory_;
};

}  // namespace baton::mirror
