// Only the pages that the map names are read: of a copy without dirty blocks nothing but the first 1.3 MB, whatever
// the mirror's size.
#include "src/mirror/metadata_load.h"

#include <algorithm>
#include <cstring>

#include "src/mirror/metadata_io.h"

namespace baton::mirror {
namespace {

constexpr uint64_t kChunkPages = 64;
constexpr size_t kMostWarnings = 100;

void warn(LoadedMetadata* loaded, std::string text) {
  if (loaded->warnings.size() < kMostWarnings) loaded->warnings.push_back(std::move(text));
}

Status load_superblock(int fd, const std::string& path, LoadedMetadata* loaded) {
  Aligned memory(aligned(2 * kSectorBytes));
  const std::span<uint8_t> both(memory.get(), 2 * kSectorBytes);
  if (auto got = read_fully(fd, both, kSuperblockOffset, path); !got) return got;
  bool found = false;
  for (unsigned copy = 0; copy < 2; ++copy) {
    SuperblockRecord record = decode_superblock(both.subspan(copy * kSectorBytes, kSectorBytes));
    if (record.condition != RecordCondition::kValid) {
      warn(loaded, fmt::format("{}: copy {} of the superblock is damaged; the other one is used", path, copy));
      continue;
    }
    if (found && record.sequence <= loaded->superblock_sequence) continue;
    found = true;
    loaded->superblock_sequence = record.sequence;
    loaded->era = record.era;
    loaded->stored.superblock = std::move(record.superblock);
  }
  if (!found) {
    return fail_as(ErrorCode::kInvalid,
                   "both superblocks of {} are damaged: what this copy holds is not known. Check the disk under it, then "
                   "give it up ({}), and this server's copy is made anew by a full copy",
                   path, how_to_remove(fd, path));
  }
  const uint64_t blocks = loaded->stored.superblock.size_blocks;
  if (blocks == 0 || blocks > kMaxMirrorBlocks) {
    return fail_as(ErrorCode::kInvalid, "the superblock of {} speaks of {} blocks: that makes no sense. Give it up ({}), "
                   "and this server's copy is made anew by a full copy", path, blocks, how_to_remove(fd, path));
  }
  return {};
}

Status load_activity(int fd, const std::string& path, LoadedMetadata* loaded) {
  const size_t size = kActivitySlots * kActivitySlotBytes;
  Aligned memory(aligned(size));
  const std::span<uint8_t> all(memory.get(), size);
  if (auto got = read_fully(fd, all, kActivityOffset, path); !got) return got;
  std::vector<RecordCondition> conditions;
  bool found = false;
  for (uint64_t slot = 0; slot < kActivitySlots; ++slot) {
    ActivityRecord record = decode_activity(all.subspan(slot * kActivitySlotBytes, kActivitySlotBytes), loaded->era);
    if (record.sequence % kActivitySlots != slot && record.condition == RecordCondition::kValid) {
      record.condition = RecordCondition::kDamaged;
    }
    conditions.push_back(record.condition);
    if (record.condition != RecordCondition::kValid || (found && record.sequence <= loaded->activity_sequence)) continue;
    found = true;
    loaded->activity_sequence = record.sequence;
    loaded->stored.activity = std::move(record.extents);
  }
  const uint64_t extents = (loaded->stored.superblock.size_blocks + kExtentBlocks - 1) / kExtentBlocks;
  judge_activity(conditions, found, loaded->activity_sequence, extents, path, loaded);
  return {};
}

Status load_map(int fd, const std::string& path, LoadedMetadata* loaded) {
  const size_t size = 2 * kMapSectors * kSectorBytes;
  Aligned memory(aligned(size));
  const std::span<uint8_t> all(memory.get(), size);
  if (auto got = read_fully(fd, all, kMapOffset, path); !got) return got;
  loaded->map.assign(kMapSectors * kMapSectorPages / 8, 0);
  for (uint64_t index = 0; index < kMapSectors; ++index) {
    MapRecord newest;
    bool damaged = false;
    for (uint64_t copy = 0; copy < 2; ++copy) {
      MapRecord record = decode_map(index, all.subspan((2 * index + copy) * kSectorBytes, kSectorBytes), loaded->era);
      if (record.condition == RecordCondition::kDamaged) damaged = true;
      if (record.condition != RecordCondition::kValid) continue;
      if (newest.condition != RecordCondition::kValid || record.sequence > newest.sequence) newest = std::move(record);
    }
    const bool valid = newest.condition == RecordCondition::kValid;
    if (valid) {
      loaded->map_sequence = std::max(loaded->map_sequence, newest.sequence);
      std::copy(newest.bits.begin(), newest.bits.end(), loaded->map.begin() + static_cast<ptrdiff_t>(index * kMapSectorPages / 8));
    }
    if (!damaged) continue;
    if (!valid) loaded->stored.journal_unreliable = true;
    warn(loaded, fmt::format("{}: {} of sector {} of the bitmap's map damaged; {}", path,
                             valid ? "one copy" : "no valid copy", index,
                             valid ? "the other one is used" : "the whole copy will be compared"));
  }
  return {};
}

bool in_map(const LoadedMetadata& loaded, uint64_t page) { return (loaded.map[page / 8] >> (page % 8) & 1) != 0; }

Status load_bitmap(int fd, const std::string& path, LoadedMetadata* loaded) {
  const uint64_t size_blocks = loaded->stored.superblock.size_blocks;
  const uint64_t pages = bitmap_pages(size_blocks);
  Aligned memory;
  for (uint64_t first = 0; first < pages;) {
    if (!in_map(*loaded, first)) {
      ++first;
      continue;
    }
    uint64_t count = 1;
    while (count < kChunkPages && first + count < pages && in_map(*loaded, first + count)) ++count;
    if (memory == nullptr) memory = aligned(kChunkPages * kBitmapPageStride);
    const std::span<uint8_t> bytes(memory.get(), count * kBitmapPageStride);
    if (auto got = read_fully(fd, bytes, bitmap_offset(first, 0), path); !got) return got;
    for (uint64_t i = 0; i < count; ++i) {
      const auto both = bytes.subspan(i * kBitmapPageStride, kBitmapPageStride);
      // Nearly always both copies are the same: one is enough then.
      const bool same = std::memcmp(both.data(), both.data() + kBitmapRecordBytes, kBitmapRecordBytes) == 0;
      BitmapRecord records[2] = {decode_bitmap(first + i, both.first(kBitmapRecordBytes), loaded->era), {}};
      if (!same) records[1] = decode_bitmap(first + i, both.subspan(kBitmapRecordBytes), loaded->era);
      const uint64_t sequence = take_bitmap_page(first + i, std::span(records).first(same ? 1 : 2), size_blocks, path, loaded);
      loaded->bitmap_sequence = std::max(loaded->bitmap_sequence, sequence);
    }
    first += count;
  }
  // A map that names pages beyond the mirror's end is as wrong as a page that does.
  for (uint64_t page = pages; page < kMapSectors * kMapSectorPages; ++page) {
    if (page % 8 == 0 && loaded->map[page / 8] == 0) {
      page += 7;
    } else if (in_map(*loaded, page)) {
      loaded->stored.journal_unreliable = true;
      loaded->map[page / 8] &= static_cast<uint8_t>(~(1u << (page % 8)));
    }
  }
  return {};
}

}  // namespace

uint64_t take_bitmap_page(uint64_t page, std::span<BitmapRecord> copies, uint64_t size_blocks, const std::string& path,
                          LoadedMetadata* loaded) {
  BitmapRecord* newest = nullptr;
  bool damaged = false;
  for (BitmapRecord& record : copies) {
    if (!record.ranges.empty() && record.ranges.back().end() > size_blocks) record.condition = RecordCondition::kDamaged;
    if (record.condition == RecordCondition::kDamaged) damaged = true;
    if (record.condition != RecordCondition::kValid) continue;
    if (newest == nullptr || record.sequence > newest->sequence) newest = &record;
  }
  auto& dirty = loaded->stored.dirty;
  for (const BlockRange& range : newest == nullptr ? std::vector<BlockRange>{} : newest->ranges) {
    if (!dirty.empty() && dirty.back().end() == range.first) {
      dirty.back().count += range.count;
    } else {
      dirty.push_back(range);
    }
  }
  if (damaged) {
    // Damaged beside blank is the very first write of this page, torn by a crash: the page was clear. But the same
    // would be seen if the rot came before the second copy: only a valid copy counts.
    if (newest == nullptr) loaded->stored.journal_unreliable = true;
    warn(loaded, fmt::format("{}: {} of page {} of the bitmap damaged; {}", path,
                             newest == nullptr ? "no valid copy" : "one copy", page,
                             newest == nullptr ? "the whole copy will be compared" : "the other one is used"));
  }
  return newest == nullptr ? 0 : newest->sequence;
}

void judge_activity(const std::vector<RecordCondition>& slots, bool found, uint64_t newest, uint64_t extents,
                    const std::string& path, LoadedMetadata* loaded) {
  auto& activity = loaded->stored.activity;
  // A damaged slot after the newest valid one may have been newer: completed and then rotten, or torn by a crash.
  const bool next_damaged = slots[(newest + 1) % kActivitySlots] == RecordCondition::kDamaged;
  const bool outside = std::any_of(activity.begin(), activity.end(), [&](uint64_t extent) { return extent >= extents; });
  if (outside) activity.clear();
  if (found && !next_damaged && !outside) return;
  warn(loaded, fmt::format("{}: the activity log is damaged; the whole copy will be compared", path));
  loaded->stored.journal_unreliable = true;
}

Result<LoadedMetadata> load_metadata(int fd, const std::string& path) {
  LoadedMetadata loaded;
  if (auto got = load_superblock(fd, path, &loaded); !got) return pass(got);
  if (auto got = load_activity(fd, path, &loaded); !got) return pass(got);
  if (auto got = load_map(fd, path, &loaded); !got) return pass(got);
  if (auto got = load_bitmap(fd, path, &loaded); !got) return pass(got);
  return loaded;
}

}  // namespace baton::mirror
