// Superblock, map and bitmap pages are kept twice. A persist is done when the first copy is durable; the second follows
// at once, and nothing else of that kind begins before it is there. So a crash tears at most one copy, and one rotten
// copy loses nothing. The activity log needs no second copy: its ring keeps the older slots.
#include "src/mirror/metadata_file.h"

#include <algorithm>

#include "src/base/assert.h"
#include "src/mirror/metadata_create.h"

namespace baton::mirror {
namespace {
constexpr size_t kChunkPages = 64;
}

MetadataFile::MetadataFile(Ring& ring, std::string path, OwnedFd fd, LoadedMetadata&& loaded)
    : ring_(ring),
      path_(std::move(path)),
      fd_(std::move(fd)),
      era_(loaded.era),
      superblock_(loaded.stored.superblock),
      superblock_sequence_(loaded.superblock_sequence),
      superblock_memory_(aligned(kSectorBytes)),
      activity_sequence_(loaded.activity_sequence),
      activity_memory_(aligned(kActivitySlotBytes)),
      bitmap_sequence_(loaded.bitmap_sequence),
      map_sequence_(loaded.map_sequence),
      map_(std::move(loaded.map)),
      // A map that was found damaged is written whole at the first occasion.
      doubtful_(kMapSectors, loaded.stored.journal_unreliable),
      map_memory_(aligned(kMapSectors * kSectorBytes)),
      bitmap_memory_(aligned(kChunkPages * kBitmapRecordBytes)) {}

MetadataFile::~MetadataFile() = default;

Instant MetadataFile::oldest() const { return std::min({superblock_since_, activity_since_, bitmap_since_}); }

Status MetadataFile::grow(uint64_t size_blocks) {
  BATON_ASSERT(idle());
  if (size_blocks < superblock_.size_blocks) {
    return fail_as(ErrorCode::kInvalid, "the metadata {} of {} blocks cannot be made smaller ({} blocks)", path_,
                   superblock_.size_blocks, size_blocks);
  }
  if (auto room = make_room(fd_.get(), path_, size_blocks); !room) return room;
  superblock_.size_blocks = size_blocks;
  ++superblock_sequence_;
  const std::span<uint8_t> sector(superblock_memory_.get(), kSectorBytes);
  encode_superblock(superblock_, era_, superblock_sequence_, sector);
  for (unsigned copy = 0; copy < 2; ++copy) {
    auto written = write_fully(fd_.get(), sector, kSuperblockOffset + copy * kSectorBytes, path_);
    if (!written) return written;
  }
  return {};
}

Status MetadataFile::reset(const StoredCopy& blank) {
  BATON_ASSERT(idle() && blank.dirty.empty());
  if (auto room = make_room(fd_.get(), path_, blank.superblock.size_blocks); !room) return room;
  const uint64_t era = new_era();
  // The new era's log first: until the superblock names that era its slot counts as never written. It takes the place
  // of the oldest slot.
  const uint64_t sequence = activity_sequence_ + 1;
  const uint64_t size = activity_sectors(blank.activity.size()) * kSectorBytes;
  const std::span<uint8_t> slot(activity_memory_.get(), size);
  encode_activity(blank.activity, era, sequence, slot);
  const uint64_t place = kActivityOffset + sequence % kActivitySlots * kActivitySlotBytes;
  if (auto written = write_fully(fd_.get(), slot, place, path_); !written) return written;

  const std::span<uint8_t> sector(superblock_memory_.get(), kSectorBytes);
  encode_superblock(blank.superblock, era, ++superblock_sequence_, sector);
  for (unsigned copy = 0; copy < 2; ++copy) {
    auto written = write_fully(fd_.get(), sector, kSuperblockOffset + copy * kSectorBytes, path_);
    if (!written) return written;
  }
  superblock_ = blank.superblock;
  era_ = era;
  activity_sequence_ = sequence;
  std::fill(map_.begin(), map_.end(), uint8_t{0});
  std::fill(doubtful_.begin(), doubtful_.end(), false);
  return {};
}

void MetadataFile::write_all(const uint8_t* data, uint32_t size, uint64_t offset, Done done) {
  ++writes_under_way_;
  // A short write is an error and not continued: records are small, it means a full or shrunken filesystem.
  ring_.write(fd_.get(), data, size, offset, [this, size, done = std::move(done)](int result) {
    --writes_under_way_;
    done(result < 0 ? -result : static_cast<uint32_t>(result) == size ? 0 : ENOSPC);
  });
}

// ---- Superblock ----

void MetadataFile::persist_superblock(const Superblock& superblock, Done done) {
  superblock_jobs_.push_back({superblock, std::move(done)});
  if (superblock_jobs_.size() == 1) next_superblock();
}

void MetadataFile::next_superblock() {
  superblock_since_ = superblock_jobs_.empty() ? kNever : Ring::now();
  if (superblock_jobs_.empty()) return;
  superblock_ = superblock_jobs_.front().superblock;
  const std::span<uint8_t> sector(superblock_memory_.get(), kSectorBytes);
  encode_superblock(superblock_, era_, ++superblock_sequence_, sector);
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

// ---- Activity log ----

void MetadataFile::persist_activity(const std::vector<uint64_t>& extents, Done done) {
  activity_jobs_.push_back({extents, std::move(done)});
  if (activity_jobs_.size() == 1) next_activity();
}

void MetadataFile::next_activity() {
  activity_since_ = activity_jobs_.empty() ? kNever : Ring::now();
  if (activity_jobs_.empty()) return;
  const std::vector<uint64_t>& extents = activity_jobs_.front().extents;
  const auto size = static_cast<uint32_t>(activity_sectors(extents.size()) * kSectorBytes);
  const uint64_t sequence = activity_sequence_ + 1;
  encode_activity(extents, era_, sequence, {activity_memory_.get(), size});
  const uint64_t offset = kActivityOffset + sequence % kActivitySlots * kActivitySlotBytes;
  write_all(activity_memory_.get(), size, offset, [this, sequence](int error) {
    // A slot whose write failed is written again by the next persist, so that only one can be damaged.
    if (error == 0) activity_sequence_ = sequence;
    Done done = std::move(activity_jobs_.front().done);
    activity_jobs_.pop_front();
    next_activity();
    done(error);
  });
}

// ---- Bitmap ----

void MetadataFile::persist_bitmap(const std::map<uint64_t, std::vector<BlockRange>>& pages, Done done) {
  BATON_ASSERT(pages.empty() || pages.rbegin()->first < kMapSectors * kMapSectorPages);
  bitmap_jobs_.push_back({pages, std::move(done)});
  if (bitmap_jobs_.size() == 1) next_bitmap_job();
}

void MetadataFile::next_bitmap_job() {
  bitmap_since_ = bitmap_jobs_.empty() ? kNever : Ring::now();
  if (bitmap_jobs_.empty()) return;
  write_error_ = 0;
  map_sectors_ = change_map(bitmap_jobs_.front());
  if (map_sectors_.empty()) return next_bitmap_chunk();
  for (size_t i = 0; i < map_sectors_.size(); ++i) {
    const uint64_t index = map_sectors_[i];
    const std::span<const uint8_t> bits(map_.data() + index * kMapSectorPages / 8, kMapSectorPages / 8);
    encode_map(index, bits, era_, ++map_sequence_, {map_memory_.get() + i * kSectorBytes, kSectorBytes});
  }
  write_map(0);
}

/// A page without set bits need only leave the map; one with set bits must be there before it is written. Returns the
/// map sectors to be written; what is left in the job are the pages to be written.
std::vector<uint64_t> MetadataFile::change_map(BitmapJob& job) {
  flipped_.clear();
  for (auto at = job.pages.begin(); at != job.pages.end();) {
    const bool empty = at->second.empty();
    if (in_map(at->first) == empty) {
      flip_in_map(at->first);
      flipped_.push_back(at->first);
    }
    at = empty ? job.pages.erase(at) : std::next(at);
  }
  std::vector<bool> wanted = doubtful_;
  for (uint64_t page : flipped_) wanted[page / kMapSectorPages] = true;
  std::vector<uint64_t> sectors;
  for (uint64_t index = 0; index < kMapSectors; ++index) {
    if (wanted[index]) sectors.push_back(index);
  }
  return sectors;
}

void MetadataFile::write_map(unsigned copy) {
  writes_left_ = static_cast<unsigned>(map_sectors_.size());
  for (size_t i = 0; i < map_sectors_.size(); ++i) {
    write_all(map_memory_.get() + i * kSectorBytes, kSectorBytes, map_offset(map_sectors_[i], copy),
              [this, copy](int error) {
                if (error != 0) write_error_ = error;
                if (--writes_left_ == 0) map_written(copy);
              });
  }
}

void MetadataFile::map_written(unsigned copy) {
  for (uint64_t index : map_sectors_) doubtful_[index] = write_error_ != 0;
  if (write_error_ != 0) {
    // SAFETY: C2. What is on disk now is not known: in memory it is as before, and it is written again before use.
    for (uint64_t page : flipped_) flip_in_map(page);
    return end_bitmap_job(write_error_);
  }
  // Pages follow only when both copies name them; pages that have left it are done with one.
  if (copy == 1) return next_bitmap_chunk();
  Done done;
  if (bitmap_jobs_.front().pages.empty()) done = std::exchange(bitmap_jobs_.front().done, nullptr);
  write_map(1);
  if (done) done(0);
}

void MetadataFile::next_bitmap_chunk() {
  BitmapJob& job = bitmap_jobs_.front();
  chunk_.clear();
  while (chunk_.size() < kChunkPages && !job.pages.empty()) {
    auto entry = job.pages.extract(job.pages.begin());
    const std::span<uint8_t> record(bitmap_memory_.get() + chunk_.size() * kBitmapRecordBytes, kBitmapRecordBytes);
    encode_bitmap(entry.key(), entry.mapped(), era_, ++bitmap_sequence_, record);
    chunk_.push_back(entry.key());
  }
  if (!chunk_.empty()) return write_bitmap_chunk(0);
  // A job without anything to write still answers from the loop.
  if (!map_sectors_.empty()) return end_bitmap_job(0);
  ring_.after(Duration::zero(), [this] { end_bitmap_job(0); });
}

void MetadataFile::write_bitmap_chunk(unsigned copy) {
  writes_left_ = static_cast<unsigned>(chunk_.size());
  for (size_t i = 0; i < chunk_.size(); ++i) {
    const uint8_t* record = bitmap_memory_.get() + i * kBitmapRecordBytes;
    write_all(record, kBitmapRecordBytes, bitmap_offset(chunk_[i], copy), [this, copy](int error) {
      if (error != 0) write_error_ = error;
      if (--writes_left_ == 0) bitmap_chunk_written(copy);
    });
  }
}

void MetadataFile::bitmap_chunk_written(unsigned copy) {
  const bool last = bitmap_jobs_.front().pages.empty();
  if (write_error_ != 0) return end_bitmap_job(write_error_);
  if (copy == 1) return last ? end_bitmap_job(0) : next_bitmap_chunk();
  Done done;
  if (last) done = std::exchange(bitmap_jobs_.front().done, nullptr);
  write_bitmap_chunk(1);
  if (done) done(0);
}

void MetadataFile::end_bitmap_job(int error) {
  Done done = std::move(bitmap_jobs_.front().done);
  bitmap_jobs_.pop_front();
  next_bitmap_job();
  if (done) done(error);
}

}  // namespace baton::mirror
