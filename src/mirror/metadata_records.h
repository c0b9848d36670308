// The records of a copy's metadata file as bytes: pure encoders and decoders, robust against any input.
// docs/disk-format.md has the layout with a worked example. Any thread.
#pragma once

#include <optional>
#include <span>

#include "src/base/bytes.h"
#include "src/base/result.h"
#include "src/core/mirror/mirror_types.h"

namespace baton::mirror {

constexpr uint32_t kMetadataVersion = 1;
constexpr uint64_t kSectorBytes = 4096;

// Where what stands in the file.
constexpr uint64_t kHeaderOffset = 0;
constexpr uint64_t kSuperblockOffset = kSectorBytes;  // two copies, one sector each
constexpr uint64_t kActivityOffset = 4 * kSectorBytes;
constexpr uint64_t kActivitySlots = 64;
constexpr uint64_t kBitmapOffset = kActivityOffset + kActivitySlots * kSectorBytes;
constexpr uint64_t kBitmapRecordBytes = 2 * kSectorBytes;            // a sector about the bits, then the bits
constexpr uint64_t kBitmapPageStride = 2 * kBitmapRecordBytes;       // two copies
constexpr uint64_t kMaxActivityExtents = (kSectorBytes - 20) / 4;    // 1019

constexpr uint64_t bitmap_pages(uint64_t size_blocks) { return (size_blocks + kBitmapPageBlocks - 1) / kBitmapPageBlocks; }
constexpr uint64_t bitmap_offset(uint64_t page, unsigned copy) {
  return kBitmapOffset + page * kBitmapPageStride + copy * kBitmapRecordBytes;
}
constexpr uint64_t metadata_bytes(uint64_t size_blocks) { return bitmap_offset(bitmap_pages(size_blocks), 0); }

/// What never changes: whose metadata this is.
struct MetadataHeader {
  std::string mirror;
  uint64_t size_blocks = 0;
};

/// How a record was found. Blank: all zero, never written.
enum class RecordCondition { kBlank, kValid, kDamaged };

struct SuperblockRecord {
  RecordCondition condition = RecordCondition::kBlank;
  uint64_t sequence = 0;
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

// Encoders fill a whole sector (a bitmap record: two). REQUIRES: `out` has that size.
void encode_header(const MetadataHeader& header, std::span<uint8_t> out);
void encode_superblock(const Superblock& superblock, uint64_t sequence, std::span<uint8_t> out);
void encode_activity(const std::vector<uint64_t>& extents, uint64_t sequence, std::span<uint8_t> out);
void encode_bitmap(uint64_t page, const std::vector<BlockRange>& ranges, uint64_t sequence, std::span<uint8_t> out);

/// The error says what is wrong with it, not where: the caller knows the path.
Result<MetadataHeader> decode_header(std::span<const uint8_t> sector);
SuperblockRecord decode_superblock(std::span<const uint8_t> sector);
ActivityRecord decode_activity(std::span<const uint8_t> sector);
BitmapRecord decode_bitmap(uint64_t page, std::span<const uint8_t> record);

}  // namespace baton::mirror
