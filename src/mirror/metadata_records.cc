// Every sector starts with a magic number of its kind and ends with the CRC32C of the bytes before it.
#include "src/mirror/metadata_records.h"

#include <algorithm>
#include <bit>

#include "src/mirror/metadata_sector.h"

namespace baton::mirror {

using namespace sector;

bool all_zero(std::span<const uint8_t> bytes) {
  return bytes.empty() || (bytes[0] == 0 && std::memcmp(bytes.data(), bytes.data() + 1, bytes.size() - 1) == 0);
}

std::vector<BlockRange> sector::ranges_of(uint64_t page, std::span<const uint8_t> bits) {
  std::vector<BlockRange> ranges;
  const uint64_t start = page * kBitmapPageBlocks;
  const auto add = [&](uint64_t first, uint64_t count) {
    if (!ranges.empty() && ranges.back().end() == first) {
      ranges.back().count += count;
    } else {
      ranges.push_back({first, count});
    }
  };
  // Word by word: the usual page is all clear or all set in most places.
  for (uint64_t bit = 0; bit < kBitmapPageBlocks; bit += 64) {
    uint64_t word = 0;
    std::memcpy(&word, bits.data() + bit / 8, sizeof word);
    for (uint64_t at = 0; word != 0;) {
      const auto gap = static_cast<uint64_t>(std::countr_zero(word));
      at += gap;
      word >>= gap;
      const auto run = static_cast<uint64_t>(std::countr_one(word));
      add(start + bit + at, run);
      at += run;
      word = run == 64 ? 0 : word >> run;
    }
  }
  return ranges;
}

void encode_header(const MetadataHeader& header, std::span<uint8_t> out) {
  Bytes content;
  ByteWriter writer(content);
  writer.put(kHeaderMagic);
  writer.put(kMetadataVersion);
  writer.put(static_cast<uint32_t>(kActivitySlots));
  writer.put(static_cast<uint64_t>(header.being_made ? 1 : 0));
  writer.put_string(header.mirror);
  seal(content, out);
}

Result<MetadataHeader> decode_header(std::span<const uint8_t> sector) {
  if (sector.size() != kSectorBytes) return fail_as(ErrorCode::kInvalid, "it is shorter than its header");
  ByteReader reader(sector.first(kChecksumOffset));
  if (reader.take<uint64_t>() != kHeaderMagic) return fail_as(ErrorCode::kInvalid, "it is not a mirror's metadata");
  MetadataHeader header;
  header.version = reader.take<uint32_t>();
  // A newer version may keep its checksum elsewhere: look at the number first.
  if (header.version > kMetadataVersion) {
    return fail_as(ErrorCode::kInvalid, "it has format version {}, this program knows versions up to {}",
                   header.version, kMetadataVersion);
  }
  if (!sealed(sector) || header.version == 0) return fail_as(ErrorCode::kInvalid, "its header is damaged (checksum)");
  const auto slots = reader.take<uint32_t>();
  const auto last = reader.take<uint64_t>();  // the size in version 1, flags since
  header.size_blocks = header.version == 1 ? last : 0;
  header.being_made = header.version > 1 && (last & 1) != 0;
  header.mirror = reader.take_string();
  const bool known_flags = header.version == 1 || last <= 1;
  if (reader.failed() || slots != kActivitySlots || !known_flags) {
    return fail_as(ErrorCode::kInvalid, "its header makes no sense");
  }
  return header;
}

void encode_superblock(const Superblock& superblock, uint64_t era, uint64_t sequence, std::span<uint8_t> out) {
  BATON_ASSERT(superblock.ancestors.size() <= kMaxAncestors);
  Bytes content;
  ByteWriter writer(content);
  writer.put(kSuperblockMagic);
  writer.put((superblock.was_primary ? kWasPrimary : 0) | (superblock.clean ? kClean : 0) |
             (superblock.consistent ? kConsistent : 0) | (superblock.detached ? kDetached : 0) |
             (superblock.snapshot ? kSnapshot : 0));
  writer.put(sequence);
  writer.put(era);
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
  if (sector.size() == kSectorBytes && all_zero(sector)) return record;
  record.condition = RecordCondition::kDamaged;
  if (sector.size() != kSectorBytes || !sealed(sector)) return record;
  ByteReader reader(sector.first(kChecksumOffset));
  if (reader.take<uint32_t>() != kSuperblockMagic) return record;
  const auto flags = reader.take<uint32_t>();
  record.sequence = reader.take<uint64_t>();
  record.era = reader.take<uint64_t>();
  if (take_superblock(reader, flags, &record.superblock)) record.condition = RecordCondition::kValid;
  return record;
}

void encode_activity(const std::vector<uint64_t>& extents, uint64_t era, uint64_t sequence, std::span<uint8_t> out) {
  BATON_ASSERT(extents.size() <= kMaxActivityExtents && out.size() == activity_sectors(extents.size()) * kSectorBytes);
  Bytes content;
  content.reserve(out.size());
  ByteWriter writer(content);
  writer.put(kActivityMagic);
  writer.put(static_cast<uint32_t>(extents.size()));
  writer.put(sequence);
  writer.put(era);
  writer.put(uint32_t{0});  // the checksum's place
  for (uint64_t extent : extents) {
    BATON_ASSERT(extent <= UINT32_MAX);
    writer.put(static_cast<uint32_t>(extent));
  }
  std::fill(std::copy(content.begin(), content.end(), out.begin()), out.end(), uint8_t{0});
  const uint32_t checksum = crc32c(out);
  std::memcpy(out.data() + kActivityHead - sizeof checksum, &checksum, sizeof checksum);
}

ActivityRecord decode_activity(std::span<const uint8_t> slot, uint64_t era) {
  ActivityRecord record;
  if (slot.size() >= kSectorBytes && all_zero(slot.first(kSectorBytes))) return record;
  record.condition = RecordCondition::kDamaged;
  if (slot.size() < kSectorBytes) return record;
  ByteReader reader(slot);
  if (reader.take<uint32_t>() != kActivityMagic) return record;
  const auto count = reader.take<uint32_t>();
  if (count > kMaxActivityExtents || slot.size() < activity_sectors(count) * kSectorBytes) return record;
  record.sequence = reader.take<uint64_t>();
  const auto stored_era = reader.take<uint64_t>();
  const auto checksum = reader.take<uint32_t>();
  Bytes content(slot.begin(), slot.begin() + static_cast<ptrdiff_t>(activity_sectors(count) * kSectorBytes));
  std::memset(content.data() + kActivityHead - sizeof checksum, 0, sizeof checksum);
  if (checksum != crc32c(content)) return record;
  if (stored_era != era) return {};
  for (uint32_t i = 0; i < count; ++i) record.extents.push_back(reader.take<uint32_t>());
  record.condition = RecordCondition::kValid;
  return record;
}

void encode_bitmap(uint64_t page, const std::vector<BlockRange>& ranges, uint64_t era, uint64_t sequence,
                   std::span<uint8_t> out) {
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
  writer.put(era);
  seal(content, out.first(kSectorBytes));
}

BitmapRecord decode_bitmap(uint64_t page, std::span<const uint8_t> bytes, uint64_t era) {
  BitmapRecord record;
  if (bytes.size() == kBitmapRecordBytes && all_zero(bytes)) return record;
  record.condition = RecordCondition::kDamaged;
  if (bytes.size() != kBitmapRecordBytes || !sealed(bytes.first(kSectorBytes))) return record;
  ByteReader reader(bytes);
  if (reader.take<uint32_t>() != kBitmapMagic) return record;
  const auto checksum = reader.take<uint32_t>();
  record.sequence = reader.take<uint64_t>();
  const auto stored_page = reader.take<uint64_t>();
  if (reader.take<uint64_t>() != era) return {};
  auto bits = bytes.subspan(kSectorBytes);
  if (stored_page != page || checksum != crc32c(bits)) return record;
  record.ranges = ranges_of(page, bits);
  record.condition = RecordCondition::kValid;
  return record;
}

void encode_map(uint64_t index, std::span<const uint8_t> bits, uint64_t era, uint64_t sequence, std::span<uint8_t> out) {
  BATON_ASSERT(bits.size() == kMapSectorPages / 8);
  Bytes content;
  content.reserve(kSectorBytes);
  ByteWriter writer(content);
  writer.put(kMapMagic);
  writer.put(static_cast<uint32_t>(index));
  writer.put(sequence);
  writer.put(era);
  writer.put_bytes(bits);
  seal(content, out);
}

MapRecord decode_map(uint64_t index, std::span<const uint8_t> sector, uint64_t era) {
  MapRecord record;
  if (sector.size() == kSectorBytes && all_zero(sector)) return record;
  record.condition = RecordCondition::kDamaged;
  if (sector.size() != kSectorBytes || !sealed(sector)) return record;
  ByteReader reader(sector.first(kChecksumOffset));
  if (reader.take<uint32_t>() != kMapMagic) return record;
  if (reader.take<uint32_t>() != index) return record;
  record.sequence = reader.take<uint64_t>();
  if (reader.take<uint64_t>() != era) return {};
  auto bits = reader.take_bytes(kMapSectorPages / 8);
  record.bits.assign(bits.begin(), bits.end());
  record.condition = RecordCondition::kValid;
  return record;
}

}  // namespace baton::mirror
