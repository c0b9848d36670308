// Every sector starts with a magic number of its kind and ends with the CRC32C of the bytes before it.
#include "src/mirror/metadata_records.h"

#include <algorithm>
#include <cstring>

#include "src/base/assert.h"
#include "src/base/checksum.h"

namespace baton::mirror {
namespace {

constexpr uint64_t kHeaderMagic = 0x315249'4D4E5442;  // "BTNMIR1" read as little-endian bytes
constexpr uint32_t kSuperblockMagic = 0x50555342;     // "BSUP"
constexpr uint32_t kActivityMagic = 0x54434142;       // "BACT"
constexpr uint32_t kBitmapMagic = 0x504D4242;         // "BBMP"
constexpr size_t kChecksumOffset = kSectorBytes - 4;
constexpr size_t kMaxAncestors = 32;
constexpr uint32_t kWasPrimary = 1;
constexpr uint32_t kClean = 2;
constexpr uint32_t kConsistent = 4;

void seal(const Bytes& content, std::span<uint8_t> sector) {
  BATON_ASSERT(sector.size() == kSectorBytes && content.size() <= kChecksumOffset);
  std::fill(sector.begin(), sector.end(), uint8_t{0});
  std::copy(content.begin(), content.end(), sector.begin());
  const uint32_t checksum = crc32c(sector.first(kChecksumOffset));
  std::memcpy(sector.data() + kChecksumOffset, &checksum, sizeof checksum);
}

bool sealed(std::span<const uint8_t> sector) {
  uint32_t checksum = 0;
  std::memcpy(&checksum, sector.data() + kChecksumOffset, sizeof checksum);
  return checksum == crc32c(sector.first(kChecksumOffset));
}

bool blank(std::span<const uint8_t> bytes) {
  return std::all_of(bytes.begin(), bytes.end(), [](uint8_t byte) { return byte == 0; });
}

void put_generation(ByteWriter& writer, const Generation& generation) {
  writer.put(generation.counter);
  writer.put(generation.random);
}

Generation take_generation(ByteReader& reader) {
  Generation generation;
  generation.counter = reader.take<uint64_t>();
  generation.random = reader.take<uint64_t>();
  return generation;
}

/// The runs of set bits, as blocks of the mirror.
std::vector<BlockRange> ranges_of(uint64_t page, std::span<const uint8_t> bits) {
  std::vector<BlockRange> ranges;
  const uint64_t start = page * kBitmapPageBlocks;
  for (uint64_t bit = 0; bit < kBitmapPageBlocks; ++bit) {
    if (bits[bit / 8] == 0) {
      bit |= 7;
      continue;
    }
    if ((bits[bit / 8] >> (bit % 8) & 1) == 0) continue;
    if (!ranges.empty() && ranges.back().end() == start + bit) {
      ++ranges.back().count;
    } else {
      ranges.push_back({start + bit, 1});
    }
  }
  return ranges;
}

}  // namespace

void encode_header(const MetadataHeader& header, std::span<uint8_t> out) {
  Bytes content;
  ByteWriter writer(content);
  writer.put(kHeaderMagic);
  writer.put(kMetadataVersion);
  writer.put(static_cast<uint32_t>(kActivitySlots));
  writer.put(header.size_blocks);
  writer.put_string(header.mirror);
  seal(content, out);
}

Result<MetadataHeader> decode_header(std::span<const uint8_t> sector) {
  if (sector.size() != kSectorBytes) return fail_as(ErrorCode::kInvalid, "it is shorter than its header");
  ByteReader reader(sector.first(kChecksumOffset));
  if (reader.take<uint64_t>() != kHeaderMagic) return fail_as(ErrorCode::kInvalid, "it is not a mirror's metadata");
  const auto version = reader.take<uint32_t>();
  // A newer version may keep its checksum elsewhere: look at the number first.
  if (version > kMetadataVersion) {
    return fail_as(ErrorCode::kInvalid, "it has format version {}, this program knows versions up to {}", version,
                   kMetadataVersion);
  }
  if (!sealed(sector) || version == 0) return fail_as(ErrorCode::kInvalid, "its header is damaged (checksum)");
  const auto slots = reader.take<uint32_t>();
  MetadataHeader header;
  header.size_blocks = reader.take<uint64_t>();
  header.mirror = reader.take_string();
  if (reader.failed() || slots != kActivitySlots) return fail_as(ErrorCode::kInvalid, "its header makes no sense");
  return header;
}

void encode_superblock(const Superblock& superblock, uint64_t sequence, std::span<uint8_t> out) {
  BATON_ASSERT(superblock.ancestors.size() <= kMaxAncestors);
  Bytes content;
  ByteWriter writer(content);
  writer.put(kSuperblockMagic);
  writer.put((superblock.was_primary ? kWasPrimary : 0) | (superblock.clean ? kClean : 0) |
             (superblock.consistent ? kConsistent : 0));
  writer.put(sequence);
  writer.put(superblock.size_blocks);
  writer.put(superblock.permit.value);
  writer.put(superblock.incarnation.value);
  put_generation(writer, superblock.generation);
  put_generation(writer, superblock.base);
  writer.put(static_cast<uint32_t>(superblock.ancestors.size()));
  for (const Generation& ancestor : superblock.ancestors) put_generation(writer, ancestor);
  writer.put_string(superblock.mirror);
  seal(content, out);
}

SuperblockRecord decode_superblock(std::span<const uint8_t> sector) {
  SuperblockRecord record;
  if (sector.size() == kSectorBytes && blank(sector)) return record;
  record.condition = RecordCondition::kDamaged;
  if (sector.size() != kSectorBytes || !sealed(sector)) return record;
  ByteReader reader(sector.first(kChecksumOffset));
  if (reader.take<uint32_t>() != kSuperblockMagic) return record;
  Superblock& superblock = record.superblock;
  const auto flags = reader.take<uint32_t>();
  superblock.was_primary = (flags & kWasPrimary) != 0;
  superblock.clean = (flags & kClean) != 0;
  superblock.consistent = (flags & kConsistent) != 0;
  record.sequence = reader.take<uint64_t>();
  superblock.size_blocks = reader.take<uint64_t>();
  superblock.permit = Permit(reader.take<uint64_t>());
  superblock.incarnation = Incarnation(reader.take<uint64_t>());
  superblock.generation = take_generation(reader);
  superblock.base = take_generation(reader);
  const auto ancestors = reader.take<uint32_t>();
  if (ancestors > kMaxAncestors) return record;
  for (uint32_t i = 0; i < ancestors; ++i) superblock.ancestors.push_back(take_generation(reader));
  superblock.mirror = reader.take_string();
  if (!reader.failed()) record.condition = RecordCondition::kValid;
  return record;
}

void encode_activity(const std::vector<uint64_t>& extents, uint64_t sequence, std::span<uint8_t> out) {
  BATON_ASSERT(extents.size() <= kMaxActivityExtents);
  Bytes content;
  ByteWriter writer(content);
  writer.put(kActivityMagic);
  writer.put(static_cast<uint32_t>(extents.size()));
  writer.put(sequence);
  for (uint64_t extent : extents) {
    BATON_ASSERT(extent <= UINT32_MAX);
    writer.put(static_cast<uint32_t>(extent));
  }
  seal(content, out);
}

ActivityRecord decode_activity(std::span<const uint8_t> sector) {
  ActivityRecord record;
  if (sector.size() == kSectorBytes && blank(sector)) return record;
  record.condition = RecordCondition::kDamaged;
  if (sector.size() != kSectorBytes || !sealed(sector)) return record;
  ByteReader reader(sector.first(kChecksumOffset));
  if (reader.take<uint32_t>() != kActivityMagic) return record;
  const auto count = reader.take<uint32_t>();
  record.sequence = reader.take<uint64_t>();
  if (count > kMaxActivityExtents) return record;
  for (uint32_t i = 0; i < count; ++i) record.extents.push_back(reader.take<uint32_t>());
  record.condition = RecordCondition::kValid;
  return record;
}

void encode_bitmap(uint64_t page, const std::vector<BlockRange>& ranges, uint64_t sequence, std::span<uint8_t> out) {
  BATON_ASSERT(out.size() == kBitmapRecordBytes);
  auto bits = out.subspan(kSectorBytes);
  std::fill(bits.begin(), bits.end(), uint8_t{0});
  const uint64_t start = page * kBitmapPageBlocks;
  for (const BlockRange& range : ranges) {
    BATON_ASSERT(range.first >= start && range.end() <= start + kBitmapPageBlocks);
    for (uint64_t bit = range.first - start; bit < range.end() - start;) {
      if (bit % 8 == 0 && bit + 8 <= range.end() - start) {
        bits[bit / 8] = 0xFF;
        bit += 8;
      } else {
        bits[bit / 8] |= static_cast<uint8_t>(1u << (bit % 8));
        ++bit;
      }
    }
  }
  Bytes content;
  ByteWriter writer(content);
  writer.put(kBitmapMagic);
  writer.put(crc32c(bits));
  writer.put(sequence);
  writer.put(page);
  seal(content, out.first(kSectorBytes));
}

BitmapRecord decode_bitmap(uint64_t page, std::span<const uint8_t> bytes) {
  BitmapRecord record;
  if (bytes.size() == kBitmapRecordBytes && blank(bytes)) return record;
  record.condition = RecordCondition::kDamaged;
  if (bytes.size() != kBitmapRecordBytes || !sealed(bytes.first(kSectorBytes))) return record;
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

}  // namespace baton::mirror
