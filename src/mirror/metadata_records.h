// The records of a copy's metadata file as bytes: pure encoders and decoders, robust against any input.
// docs/disk-format.md has the layout with a worked example. Any thread.
#pragma once

#include <optional>
#include <span>

#include "src/base/bytes.h"
#include "src/base/result.h"
#include "src/core/mirror/mirror_types.h"

namespace baton::mirror {

constexpr uint32_t kMetadataVersion = 2;
constexpr uint64_t kSectorBytes = 4096;

// Where what stands in the file.
constexpr uint64_t kHeaderOffset = 0;
constexpr uint64_t kSuperblockOffset = kSectorBytes;  // two copies, one sector each
constexpr uint64_t kActivityOffset = 4 * kSectorBytes;
constexpr uint64_t kActivitySlots = 64;
constexpr uint64_t kActivitySlotBytes = 4 * kSectorBytes;
constexpr uint64_t kActivityHead = 28;                                                // bytes before the extents
constexpr uint64_t kMaxActivityExtents = (kActivitySlotBytes - kActivityHead) / 4;    // 4089
constexpr uint64_t kMapOffset = kActivityOffset + kActivitySlots * kActivitySlotBytes;
constexpr uint64_t kMapSectors = 32;
constexpr uint64_t kMapSectorPages = 32000;                                           // bitmap pages per sector of the map
constexpr uint64_t kBitmapOffset = kMapOffset + 2 * kMapSectors * kSectorBytes;       // the map has two copies
constexpr uint64_t kBitmapRecordBytes = 2 * kSectorBytes;                             // a sector about the bits, then the bits
constexpr uint64_t kBitmapPageStride = 2 * kBitmapRecordBytes;                        // two copies
constexpr uint64_t kMaxMirrorBlocks = kMapSectors * kMapSectorPages * kBitmapPageBlocks;  // 125 TiB

constexpr uint64_t bitmap_pages(uint64_t size_blocks) { return (size_blocks + kBitmapPageBlocks - 1) / kBitmapPageBlocks; }
constexpr uint64_t bitmap_offset(uint64_t page, unsigned copy) {
  return kBitmapOffset + page * kBitmapPageStride + copy * kBitmapRecordBytes;
}
constexpr uint64_t map_offset(uint64_t sector, unsigned copy) { return kMapOffset + (2 * sector + copy) * kSectorBytes; }
constexpr uint64_t metadata_bytes(uint64_t size_blocks) { return bitmap_offset(bitmap_pages(size_blocks), 0); }
/// Sectors that a slot with so many extents takes.
constexpr uint64_t activity_sectors(uint64_t extents) {
  return (kActivityHead + 4 * extents + kSectorBytes - 1) / kSectorBytes;
}

/// What never changes: whose metadata this is.
struct MetadataHeader {
  std::string mirror;
  uint32_t version = kMetadataVersion;
  bool being_made = false;   // the rest of the file is not written yet
  uint64_t size_blocks = 0;  // version 1 only: later ones have it in the superblock alone
};

/// How a record was found. Blank: all zero, never written.
enum class RecordCondition { kBlank, kValid, kDamaged };

struct SuperblockRecord {
  RecordCondition condition = RecordCondition::kBlank;
  uint64_t sequence = 0;
  uint64_t era = 0;
  Superblock superblock;
};
struct ActivityRecord {
  RecordCondition condition = RecordCondition::kBlank;
  uint64_t sequence = 0;
  std::vector<uint64_t> extents;
};
struct BitmapRecord {
  RecordCondition condition = RecordCondition::kBlank;
  uint64_t sequence = 0;
  std::vector<BlockRange> ranges;  // block numbers of the mirror
};
struct MapRecord {
  RecordCondition condition = RecordCondition::kBlank;
  uint64_t sequence = 0;
  std::vector<uint8_t> bits;  // kMapSectorPages / 8 bytes
};

// An *era* is a random number, chosen when the metadata is made or made anew. The superblock names the present one;
// records of the other kinds that carry another are from before, and count as blank.

// Encoders fill a whole sector (a bitmap record: two; an activity slot: activity_sectors()).
// REQUIRES: `out` has that size.
void encode_header(const MetadataHeader& header, std::span<uint8_t> out);
void encode_superblock(const Superblock& superblock, uint64_t era, uint64_t sequence, std::span<uint8_t> out);
void encode_activity(const std::vector<uint64_t>& extents, uint64_t era, uint64_t sequence, std::span<uint8_t> out);
void encode_bitmap(uint64_t page, const std::vector<BlockRange>& ranges, uint64_t era, uint64_t sequence,
                   std::span<uint8_t> out);
void encode_map(uint64_t index, std::span<const uint8_t> bits, uint64_t era, uint64_t sequence, std::span<uint8_t> out);

/// The error says what is wrong with it, not where: the caller knows the path.
Result<MetadataHeader> decode_header(std::span<const uint8_t> sector);
SuperblockRecord decode_superblock(std::span<const uint8_t> sector);
/// A whole slot, of which only what the record needs is looked at.
ActivityRecord decode_activity(std::span<const uint8_t> slot, uint64_t era);
BitmapRecord decode_bitmap(uint64_t page, std::span<const uint8_t> record, uint64_t era);
MapRecord decode_map(uint64_t index, std::span<const uint8_t> sector, uint64_t era);

/// All bytes zero; of any length.
bool all_zero(std::span<const uint8_t> bytes);

}  // namespace baton::mirror
