// Format version 1, read only: no era and no map, an activity slot is one sector of 256 KiB extents, the pages follow
// the log. A file in it is written anew at its first opening. docs/disk-format.md, "Version 1".
#include <algorithm>

#include "src/mirror/metadata_io.h"
#include "src/mirror/metadata_load.h"
#include "src/mirror/metadata_sector.h"

namespace baton::mirror {
namespace {

using namespace sector;

constexpr uint64_t kOldBitmapOffset = kActivityOffset + kActivitySlots * kSectorBytes;
constexpr uint64_t kOldMaxExtents = (kSectorBytes - 20) / 4;
constexpr uint64_t kOldExtentsInOne = kExtentBlocks / 64;
constexpr uint64_t kChunkPages = 64;

struct OldSuperblock {
  bool valid = false;
  uint64_t sequence = 0;
  Superblock superblock;
};

OldSuperblock decode_old_superblock(std::span<const uint8_t> bytes) {
  OldSuperblock record;
  if (!sealed(bytes)) return record;
  ByteReader reader(bytes.first(kChecksumOffset));
  if (reader.take<uint32_t>() != kSuperblockMagic) return record;
  const auto flags = reader.take<uint32_t>() & (kWasPrimary | kClean | kConsistent);
  record.sequence = reader.take<uint64_t>();
  record.valid = take_superblock(reader, flags, &record.superblock);
  return record;
}

ActivityRecord decode_old_activity(std::span<const uint8_t> bytes) {
  ActivityRecord record;
  if (all_zero(bytes)) return record;
  record.condition = RecordCondition::kDamaged;
  if (!sealed(bytes)) return record;
  ByteReader reader(bytes.first(kChecksumOffset));
  if (reader.take<uint32_t>() != kActivityMagic) return record;
  const auto count = reader.take<uint32_t>();
  record.sequence = reader.take<uint64_t>();
  if (count > kOldMaxExtents) return record;
  for (uint32_t i = 0; i < count; ++i) {
    const uint64_t extent = reader.take<uint32_t>() / kOldExtentsInOne;
    record.extents.push_back(extent);
  }
  std::sort(record.extents.begin(), record.extents.end());
  record.extents.erase(std::unique(record.extents.begin(), record.extents.end()), record.extents.end());
  record.condition = RecordCondition::kValid;
  return record;
}

BitmapRecord decode_old_bitmap(uint64_t page, std::span<const uint8_t> bytes) {
  BitmapRecord record;
  if (all_zero(bytes)) return record;
  record.condition = RecordCondition::kDamaged;
  if (!sealed(bytes.first(kSectorBytes))) return record;
  ByteReader reader(bytes);
  if (reader.take<uint32_t>() != kBitmapMagic) return record;
  const auto checksum = reader.take<uint32_t>();
  record.sequence = reader.take<uint64_t>();
  const auto stored_page = reader.take<uint64_t>();
  auto bits = bytes.subspan(kSectorBytes);
  if (stored_page != page || checksum != crc32c(bits)) return record;
  record.ranges = ranges_of(page, bits);
  record.condition = RecordCondition::kValid;
  return record;
}

Status load_old_superblock(int fd, const std::string& path, LoadedMetadata* loaded) {
  Aligned memory(aligned(2 * kSectorBytes));
  const std::span<uint8_t> both(memory.get(), 2 * kSectorBytes);
  if (auto got = read_fully(fd, both, kSuperblockOffset, path); !got) return got;
  OldSuperblock first = decode_old_superblock(both.first(kSectorBytes));
  OldSuperblock second = decode_old_superblock(both.subspan(kSectorBytes));
  if (!first.valid && !second.valid) {
    return fail_as(ErrorCode::kInvalid, "both superblocks of {} are damaged: what this copy holds is not known. Check "
                   "the disk under it, then give it up ({}), and this server's copy is made anew by a full copy", path,
                   how_to_remove(fd, path));
  }
  const bool use_second = !first.valid || (second.valid && second.sequence > first.sequence);
  loaded->stored.superblock = std::move((use_second ? second : first).superblock);
  return {};
}

Status load_old_activity(int fd, const std::string& path, uint64_t size_blocks, LoadedMetadata* loaded) {
  Aligned memory(aligned(kActivitySlots * kSectorBytes));
  const std::span<uint8_t> all(memory.get(), kActivitySlots * kSectorBytes);
  if (auto got = read_fully(fd, all, kActivityOffset, path); !got) return got;
  std::vector<RecordCondition> conditions;
  bool found = false;
  uint64_t newest = 0;
  for (uint64_t slot = 0; slot < kActivitySlots; ++slot) {
    ActivityRecord record = decode_old_activity(all.subspan(slot * kSectorBytes, kSectorBytes));
    const bool misplaced = record.condition == RecordCondition::kValid && record.sequence % kActivitySlots != slot;
    conditions.push_back(misplaced ? RecordCondition::kDamaged : record.condition);
    if (conditions.back() != RecordCondition::kValid || (found && record.sequence <= newest)) continue;
    found = true;
    newest = record.sequence;
    loaded->stored.activity = std::move(record.extents);
  }
  const uint64_t extents = (size_blocks + kExtentBlocks - 1) / kExtentBlocks;
  judge_activity(conditions, found, newest, extents, path, loaded);
  return {};
}

Status load_old_bitmap(int fd, const std::string& path, uint64_t size_blocks, LoadedMetadata* loaded) {
  const uint64_t pages = bitmap_pages(size_blocks);
  Aligned memory(aligned(kChunkPages * kBitmapPageStride));
  for (uint64_t first = 0; first < pages; first += kChunkPages) {
    const uint64_t count = std::min<uint64_t>(kChunkPages, pages - first);
    const std::span<uint8_t> bytes(memory.get(), count * kBitmapPageStride);
    if (auto got = read_fully(fd, bytes, kOldBitmapOffset + first * kBitmapPageStride, path); !got) return got;
    for (uint64_t i = 0; i < count; ++i) {
      const auto both = bytes.subspan(i * kBitmapPageStride, kBitmapPageStride);
      BitmapRecord records[2] = {decode_old_bitmap(first + i, both.first(kBitmapRecordBytes)),
                                 decode_old_bitmap(first + i, both.subspan(kBitmapRecordBytes))};
      take_bitmap_page(first + i, records, size_blocks, path, loaded);
    }
  }
  return {};
}

}  // namespace

Result<LoadedMetadata> load_metadata_version_1(int fd, const std::string& path, uint64_t size_blocks) {
  LoadedMetadata loaded;
  if (size_blocks == 0 || size_blocks > kMaxMirrorBlocks) {
    return fail_as(ErrorCode::kInvalid, "the header of {} speaks of {} blocks: that makes no sense. Give it up ({}), and "
                   "this server's copy is made anew by a full copy", path, size_blocks, how_to_remove(fd, path));
  }
  if (auto got = load_old_superblock(fd, path, &loaded); !got) return pass(got);
  loaded.stored.superblock.size_blocks = size_blocks;
  if (auto got = load_old_activity(fd, path, size_blocks, &loaded); !got) return pass(got);
  if (auto got = load_old_bitmap(fd, path, size_blocks, &loaded); !got) return pass(got);
  return loaded;
}

}  // namespace baton::mirror
