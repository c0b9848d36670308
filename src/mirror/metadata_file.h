// MetadataFile: a copy's superblock, activity log and dirty bitmap on disk (KEY.meta). Opening and loading are
// synchronous, at start-up; the persists go through the ring. docs/disk-format.md. The loop's thread.
#pragma once

#include <deque>
#include <functional>
#include <memory>

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

  /// Opens and locks the metadata of `blank.superblock.mirror`; makes it from `blank` if there is none. Waits up to
  /// `lock_limit` for another mirror daemon to let go of it.
  static Result<Opened> open(Ring& ring, const std::string& path, const StoredCopy& blank, Duration lock_limit = 10s);
  ~MetadataFile();

  // Each is durable when `done` comes, which is never from inside. Calls of one kind happen one after the other;
  // after a crash the newest completed one is found, or the one that was under way.
  void persist_superblock(const Superblock& superblock, Done done);
  /// REQUIRES: at most kMaxActivityExtents.
  void persist_activity(const std::vector<uint64_t>& extents, Done done);
  void persist_bitmap(const std::map<uint64_t, std::vector<BlockRange>>& pages, Done done);

  /// Nothing under way, second copies included.
  bool idle() const { return writes_under_way_ == 0; }
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
  struct Memory {
    void operator()(uint8_t* memory) const { std::free(memory); }
  };
  using Aligned = std::unique_ptr<uint8_t, Memory>;

  MetadataFile(Ring& ring, std::string path, OwnedFd fd, uint64_t size_blocks);
  Status load(StoredCopy* stored, std::vector<std::string>* warnings);
  Status load_superblock(StoredCopy* stored, std::vector<std::string>* warnings);
  Status load_activity(StoredCopy* stored, std::vector<std::string>* warnings);
  Status load_bitmap(StoredCopy* stored, std::vector<std::string>* warnings);
  void load_bitmap_page(uint64_t page, std::span<const uint8_t> both, StoredCopy* stored,
                        std::vector<std::string>* warnings);

  void write_all(const uint8_t* data, uint32_t size, uint64_t offset, Done done);
  void next_superblock();
  void write_superblock_copy(unsigned copy);
  void next_activity();
  void next_bitmap_chunk();
  void write_bitmap_chunk(unsigned copy);
  void bitmap_chunk_written(unsigned copy);

  Ring& ring_;
  std::string path_;
  OwnedFd fd_;
  uint64_t size_blocks_ = 0;
  int writes_under_way_ = 0;

  // The job at each queue's front is under way.
  std::deque<SuperblockJob> superblock_jobs_;
  uint64_t superblock_sequence_ = 0;
  Aligned superblock_memory_;

  std::deque<ActivityJob> activity_jobs_;
  uint64_t activity_sequence_ = 0;
  Aligned activity_memory_;

  std::deque<BitmapJob> bitmap_jobs_;
  std::vector<uint64_t> bitmap_sequences_;  // by page
  std::vector<uint64_t> chunk_;             // pages of the chunk under way
  unsigned chunk_left_ = 0;
  int chunk_error_ = 0;
  Aligned bitmap_memory_;
};

}  // namespace baton::mirror
