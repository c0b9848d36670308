// Superblock and bitmap pages are kept twice. A persist is done when the first copy is durable; the second follows at
// once, and nothing else of that kind begins before it is there. So a crash tears at most one copy, and one rotten
// copy loses nothing. The activity log needs no second copy: its ring keeps the older slots.
#include "src/mirror/metadata_file.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>

#include <algorithm>
#include <thread>

#include "src/base/assert.h"

namespace baton::mirror {
namespace {

constexpr size_t kChunkPages = 64;

uint8_t* aligned(size_t bytes) {
  auto* memory = static_cast<uint8_t*>(std::aligned_alloc(kSectorBytes, bytes));
  BATON_ASSERT(memory != nullptr);
  std::fill_n(memory, bytes, uint8_t{0});
  return memory;
}

Status write_fully(int fd, std::span<const uint8_t> bytes, uint64_t offset, const std::string& path) {
  while (!bytes.empty()) {
    const ssize_t written = pwrite(fd, bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return fail("cannot write {}: {}", path, errno_text());
    bytes = bytes.subspan(static_cast<size_t>(written));
    offset += static_cast<uint64_t>(written);
  }
  return {};
}

Status read_fully(int fd, std::span<uint8_t> bytes, uint64_t offset, const std::string& path) {
  while (!bytes.empty()) {
    const ssize_t count = pread(fd, bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return fail("cannot read {} at {}: {}", path, offset, errno_text());
    if (count == 0) {
      return fail("{} is cut off at {} bytes. Remove it, and this server's copy is made anew by a full copy", path,
                  offset);
    }
    bytes = bytes.subspan(static_cast<size_t>(count));
    offset += static_cast<uint64_t>(count);
  }
  return {};
}

Status write_blank(int fd, const std::string& path, const StoredCopy& blank) {
  const uint64_t size = metadata_bytes(blank.superblock.size_blocks);
  // Reserved as a whole, so that a full filesystem is met now and not under a write.
  if (int error = posix_fallocate(fd, 0, static_cast<off_t>(size)); error != 0) {
    return fail_as(error == ENOSPC ? ErrorCode::kNoSpace : ErrorCode::kFailed,
                   "cannot reserve {} bytes for the mirror's metadata {}: {}", size, path, errno_text(error));
  }
  Bytes start(kBitmapOffset, 0);
  const std::span<uint8_t> all(start);
  encode_header({blank.superblock.mirror, blank.superblock.size_blocks}, all.first(kSectorBytes));
  encode_superblock(blank.superblock, 1, all.subspan(kSuperblockOffset, kSectorBytes));
  encode_superblock(blank.superblock, 1, all.subspan(kSuperblockOffset + kSectorBytes, kSectorBytes));
  encode_activity(blank.activity, kActivitySlots, all.subspan(kActivityOffset, kSectorBytes));
  if (auto written = write_fully(fd, start, 0, path); !written) return written;
  if (fsync(fd) != 0) return fail("cannot sync {}: {}", path, errno_text());
  return {};
}

/// Atomic: the name appears only with everything durable under it.
Status create_metadata(const std::string& path, const StoredCopy& blank) {
  const std::string temporary = path + ".new";
  OwnedFd fd(::open(temporary.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
  if (!fd) {
    return fail("cannot create the mirror's metadata {}: {}. Its directory must exist and be writable", path,
                errno_text());
  }
  auto written = write_blank(fd.get(), path, blank);
  if (written && rename(temporary.c_str(), path.c_str()) != 0) {
    written = fail("cannot rename {} to {}: {}", temporary, path, errno_text());
  }
  if (!written) {
    unlink(temporary.c_str());
    return written;
  }
  const std::string directory = path.substr(0, path.rfind('/') + 1);
  OwnedFd parent(::open(directory.empty() ? "." : directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!parent || fsync(parent.get()) != 0) return fail("cannot sync the directory of {}: {}", path, errno_text());
  return {};
}

Status lock_metadata(int fd, const std::string& path, Duration limit) {
  const Instant deadline = Ring::now() + limit;
  while (flock(fd, LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK) return fail("cannot lock {}: {}", path, errno_text());
    // A killed daemon keeps the lock until its last disk operation has ended: that is worth waiting for.
    if (Ring::now() >= deadline) {
      return fail_as(ErrorCode::kConflict, "another baton-mirrord uses {}: end it first (fuser {})", path, path);
    }
    std::this_thread::sleep_for(10ms);
  }
  return {};
}

Result<OwnedFd> open_metadata(const std::string& path) {
  // Some filesystems cannot do direct I/O: synchronous writes through the cache are as durable.
  for (int flags : {O_DIRECT, 0}) {
    OwnedFd fd(::open(path.c_str(), O_RDWR | O_DSYNC | O_CLOEXEC | flags));
    if (fd) return fd;
    if (errno != EINVAL) break;
  }
  return fail("cannot open the mirror's metadata {}: {}", path, errno_text());
}

}  // namespace

MetadataFile::MetadataFile(Ring& ring, std::string path, OwnedFd fd, uint64_t size_blocks)
    : ring_(ring),
      path_(std::move(path)),
      fd_(std::move(fd)),
      size_blocks_(size_blocks),
      superblock_memory_(aligned(kSectorBytes)),
      activity_memory_(aligned(kSectorBytes)),
      bitmap_sequences_(bitmap_pages(size_blocks), 0),
      bitmap_memory_(aligned(kChunkPages * kBitmapRecordBytes)) {}

MetadataFile::~MetadataFile() = default;

Result<MetadataFile::Opened> MetadataFile::open(Ring& ring, const std::string& path, const StoredCopy& blank,
                                                Duration lock_limit) {
  Opened opened;
  struct stat status {};
  if (stat(path.c_str(), &status) != 0 && errno == ENOENT) {
    if (auto made = create_metadata(path, blank); !made) return pass(made);
    opened.created = true;
  }
  auto fd = open_metadata(path);
  if (!fd) return pass(fd);
  if (auto locked = lock_metadata(fd->get(), path, lock_limit); !locked) return pass(locked);

  Aligned sector(aligned(kSectorBytes));
  const std::span<uint8_t> bytes(sector.get(), kSectorBytes);
  if (auto got = read_fully(fd->get(), bytes, kHeaderOffset, path); !got) return pass(got);
  auto header = decode_header(bytes);
  if (!header) {
    return fail_as(ErrorCode::kInvalid,
                   "the mirror's metadata {} cannot be used: {}. If this server's copy may be made anew by a full copy, "
                   "remove the file; otherwise restore it, or use the program that wrote it",
                   path, header.error().message);
  }
  const Superblock& wanted = blank.superblock;
  if (header->mirror != wanted.mirror || header->size_blocks != wanted.size_blocks) {
    return fail_as(ErrorCode::kInvalid,
                   "the metadata {} belongs to mirror {} of {} bytes, but the configuration says mirror {} of {} bytes. "
                   "Correct the configuration; to give up what that copy holds, remove the file",
                   path, header->mirror, header->size_blocks * kBlockBytes, wanted.mirror,
                   wanted.size_blocks * kBlockBytes);
  }
  opened.file.reset(new MetadataFile(ring, path, std::move(*fd), wanted.size_blocks));
  if (auto loaded = opened.file->load(&opened.stored, &opened.warnings); !loaded) return pass(loaded);
  return opened;
}

// ---- Loading ----

Status MetadataFile::load(StoredCopy* stored, std::vector<std::string>* warnings) {
  if (auto loaded = load_superblock(stored, warnings); !loaded) return loaded;
  if (auto loaded = load_activity(stored, warnings); !loaded) return loaded;
  return load_bitmap(stored, warnings);
}

Status MetadataFile::load_superblock(StoredCopy* stored, std::vector<std::string>* warnings) {
  Aligned memory(aligned(2 * kSectorBytes));
  const std::span<uint8_t> both(memory.get(), 2 * kSectorBytes);
  if (auto got = read_fully(fd_.get(), both, kSuperblockOffset, path_); !got) return got;
  bool found = false;
  for (unsigned copy = 0; copy < 2; ++copy) {
    SuperblockRecord record = decode_superblock(both.subspan(copy * kSectorBytes, kSectorBytes));
    if (record.condition != RecordCondition::kValid) {
      warnings->push_back(fmt::format("{}: copy {} of the superblock is damaged; the other one is used", path_, copy));
      continue;
    }
    if (found && record.sequence <= superblock_sequence_) continue;
    found = true;
    superblock_sequence_ = record.sequence;
    stored->superblock = std::move(record.superblock);
  }
  if (!found) {
    return fail_as(ErrorCode::kInvalid,
                   "both superblocks of {} are damaged: what this copy holds is not known. Check the disk under it, then "
                   "remove the file, and this server's copy is made anew by a full copy",
                   path_);
  }
  return {};
}

Status MetadataFile::load_activity(StoredCopy* stored, std::vector<std::string>* warnings) {
  const size_t size = kActivitySlots * kSectorBytes;
  Aligned memory(aligned(size));
  const std::span<uint8_t> all(memory.get(), size);
  if (auto got = read_fully(fd_.get(), all, kActivityOffset, path_); !got) return got;
  std::vector<RecordCondition> conditions;
  bool found = false;
  for (uint64_t slot = 0; slot < kActivitySlots; ++slot) {
    ActivityRecord record = decode_activity(all.subspan(slot * kSectorBytes, kSectorBytes));
    if (record.sequence % kActivitySlots != slot && record.condition == RecordCondition::kValid) {
      record.condition = RecordCondition::kDamaged;
    }
    conditions.push_back(record.condition);
    if (record.condition != RecordCondition::kValid || (found && record.sequence <= activity_sequence_)) continue;
    found = true;
    activity_sequence_ = record.sequence;
    stored->activity = std::move(record.extents);
  }
  // A damaged slot after the newest valid one may have been newer: completed and then rotten, or torn by a crash.
  const bool next_damaged = conditions[(activity_sequence_ + 1) % kActivitySlots] == RecordCondition::kDamaged;
  const uint64_t extents = (size_blocks_ + kExtentBlocks - 1) / kExtentBlocks;
  const bool outside = std::any_of(stored->activity.begin(), stored->activity.end(),
                                   [&](uint64_t extent) { return extent >= extents; });
  if (!found || next_damaged || outside) {
    warnings->push_back(fmt::format("{}: the activity log is damaged; the whole copy will be compared", path_));
    stored->journal_unreliable = true;
    if (outside) stored->activity.clear();
  }
  return {};
}

Status MetadataFile::load_bitmap(StoredCopy* stored, std::vector<std::string>* warnings) {
  const uint64_t pages = bitmap_pages(size_blocks_);
  Aligned memory(aligned(kChunkPages * kBitmapPageStride));
  for (uint64_t first = 0; first < pages; first += kChunkPages) {
    const uint64_t count = std::min<uint64_t>(kChunkPages, pages - first);
    const std::span<uint8_t> bytes(memory.get(), count * kBitmapPageStride);
    if (auto got = read_fully(fd_.get(), bytes, bitmap_offset(first, 0), path_); !got) return got;
    for (uint64_t i = 0; i < count; ++i) {
      load_bitmap_page(first + i, bytes.subspan(i * kBitmapPageStride, kBitmapPageStride), stored, warnings);
    }
  }
  return {};
}

void MetadataFile::load_bitmap_page(uint64_t page, std::span<const uint8_t> both, StoredCopy* stored,
                                    std::vector<std::string>* warnings) {
  BitmapRecord records[2] = {decode_bitmap(page, both.first(kBitmapRecordBytes)),
                             decode_bitmap(page, both.subspan(kBitmapRecordBytes))};
  BitmapRecord* newest = nullptr;
  bool damaged = false;
  for (BitmapRecord& record : records) {
    if (!record.ranges.empty() && record.ranges.back().end() > size_blocks_) record.condition = RecordCondition::kDamaged;
    if (record.condition == RecordCondition::kDamaged) damaged = true;
    if (record.condition != RecordCondition::kValid) continue;
    if (newest == nullptr || record.sequence > newest->sequence) newest = &record;
  }
  if (newest != nullptr) {
    bitmap_sequences_[page] = newest->sequence;
    for (const BlockRange& range : newest->ranges) {
      if (!stored->dirty.empty() && stored->dirty.back().end() == range.first) {
        stored->dirty.back().count += range.count;
      } else {
        stored->dirty.push_back(range);
      }
    }
  }
  if (!damaged) return;
  // Damaged beside blank is the very first write of this page, torn by a crash: the page was clear. But the same
  // would be seen if the rot came before the second copy: only a valid copy counts.
  if (newest == nullptr) stored->journal_unreliable = true;
  warnings->push_back(fmt::format("{}: {} of page {} of the bitmap damaged; {}", path_,
                                  newest == nullptr ? "no valid copy" : "one copy", page,
                                  newest == nullptr ? "the whole copy will be compared" : "the other one is used"));
}

// ---- Persisting ----

void MetadataFile::write_all(const uint8_t* data, uint32_t size, uint64_t offset, Done done) {
  ++writes_under_way_;
  // A short write is an error and not continued: records are small, it means a full or shrunken filesystem.
  ring_.write(fd_.get(), data, size, offset, [this, size, done = std::move(done)](int result) {
    --writes_under_way_;
    done(result < 0 ? -result : static_cast<uint32_t>(result) == size ? 0 : ENOSPC);
  });
}

void MetadataFile::persist_superblock(const Superblock& superblock, Done done) {
  superblock_jobs_.push_back({superblock, std::move(done)});
  if (superblock_jobs_.size() == 1) next_superblock();
}

void MetadataFile::next_superblock() {
  if (superblock_jobs_.empty()) return;
  const std::span<uint8_t> sector(superblock_memory_.get(), kSectorBytes);
  encode_superblock(superblock_jobs_.front().superblock, ++superblock_sequence_, sector);
  write_superblock_copy(0);
}

void MetadataFile::write_superblock_copy(unsigned copy) {
  write_all(superblock_memory_.get(), kSectorBytes, kSuperblockOffset + copy * kSectorBytes, [this, copy](int error) {
    // Cleared before it is called: the callee may persist again.
    Done done = std::exchange(superblock_jobs_.front().done, nullptr);
    if (copy == 0 && error == 0) {
      write_superblock_copy(1);
    } else {
      superblock_jobs_.pop_front();
      next_superblock();
    }
    if (done) done(error);
  });
}

void MetadataFile::persist_activity(const std::vector<uint64_t>& extents, Done done) {
  activity_jobs_.push_back({extents, std::move(done)});
  if (activity_jobs_.size() == 1) next_activity();
}

void MetadataFile::next_activity() {
  if (activity_jobs_.empty()) return;
  const std::span<uint8_t> sector(activity_memory_.get(), kSectorBytes);
  const uint64_t sequence = activity_sequence_ + 1;
  encode_activity(activity_jobs_.front().extents, sequence, sector);
  const uint64_t offset = kActivityOffset + sequence % kActivitySlots * kSectorBytes;
  write_all(activity_memory_.get(), kSectorBytes, offset, [this, sequence](int error) {
    // A slot whose write failed is written again by the next persist, so that only one can be damaged.
    if (error == 0) activity_sequence_ = sequence;
    Done done = std::move(activity_jobs_.front().done);
    activity_jobs_.pop_front();
    next_activity();
    done(error);
  });
}

void MetadataFile::persist_bitmap(const std::map<uint64_t, std::vector<BlockRange>>& pages, Done done) {
  BATON_ASSERT(pages.empty() || pages.rbegin()->first < bitmap_sequences_.size());
  bitmap_jobs_.push_back({pages, std::move(done)});
  if (bitmap_jobs_.size() == 1) next_bitmap_chunk();
}

void MetadataFile::next_bitmap_chunk() {
  if (bitmap_jobs_.empty()) return;
  BitmapJob& job = bitmap_jobs_.front();
  chunk_.clear();
  while (chunk_.size() < kChunkPages && !job.pages.empty()) {
    auto entry = job.pages.extract(job.pages.begin());
    const uint64_t page = entry.key();
    const std::span<uint8_t> record(bitmap_memory_.get() + chunk_.size() * kBitmapRecordBytes, kBitmapRecordBytes);
    encode_bitmap(page, entry.mapped(), ++bitmap_sequences_[page], record);
    chunk_.push_back(page);
  }
  chunk_error_ = 0;
  write_bitmap_chunk(0);
}

void MetadataFile::write_bitmap_chunk(unsigned copy) {
  chunk_left_ = static_cast<unsigned>(chunk_.size());
  if (chunk_.empty()) {
    // An empty job still answers from the loop.
    ring_.after(Duration::zero(), [this] { bitmap_chunk_written(0); });
    return;
  }
  for (size_t i = 0; i < chunk_.size(); ++i) {
    const uint8_t* record = bitmap_memory_.get() + i * kBitmapRecordBytes;
    write_all(record, kBitmapRecordBytes, bitmap_offset(chunk_[i], copy), [this, copy](int error) {
      if (error != 0) chunk_error_ = error;
      if (--chunk_left_ == 0) bitmap_chunk_written(copy);
    });
  }
}

void MetadataFile::bitmap_chunk_written(unsigned copy) {
  const int error = chunk_error_;
  Done done;
  const bool last = bitmap_jobs_.front().pages.empty();
  if (error != 0 || (copy == 0 && last)) done = std::exchange(bitmap_jobs_.front().done, nullptr);
  if (error != 0 || (last && (copy == 1 || chunk_.empty()))) {
    bitmap_jobs_.pop_front();
    next_bitmap_chunk();
  } else if (copy == 0) {
    write_bitmap_chunk(1);
  } else {
    next_bitmap_chunk();
  }
  if (done) done(error);
}

}  // namespace baton::mirror
