// What all records of a metadata file share: a sector ends with the CRC32C of what is before it. Any thread.
#pragma once

#include <algorithm>
#include <cstring>
#include <span>

#include "src/base/assert.h"
#include "src/base/bytes.h"
#include "src/base/checksum.h"
#include "src/core/mirror/mirror_types.h"
#include "src/mirror/metadata_records.h"

namespace baton::mirror::sector {

constexpr uint64_t kHeaderMagic = 0x315249'4D4E5442;  // "BTNMIR1" read as little-endian bytes
constexpr uint32_t kSuperblockMagic = 0x50555342;     // "BSUP"
constexpr uint32_t kActivityMagic = 0x54434142;       // "BACT"
constexpr uint32_t kMapMagic = 0x50414D42;            // "BMAP"
constexpr uint32_t kBitmapMagic = 0x504D4242;         // "BBMP"
constexpr size_t kChecksumOffset = kSectorBytes - 4;
constexpr size_t kMaxAncestors = 32;
constexpr uint32_t kWasPrimary = 1;
constexpr uint32_t kClean = 2;
constexpr uint32_t kConsistent = 4;
constexpr uint32_t kDetached = 8;
constexpr uint32_t kSnapshot = 16;

inline void seal(const Bytes& content, std::span<uint8_t> out) {
  BATON_ASSERT(out.size() == kSectorBytes && content.size() <= kChecksumOffset);
  std::fill(out.begin(), out.end(), uint8_t{0});
  std::copy(content.begin(), content.end(), out.begin());
  const uint32_t checksum = crc32c(out.first(kChecksumOffset));
  std::memcpy(out.data() + kChecksumOffset, &checksum, sizeof checksum);
}

inline bool sealed(std::span<const uint8_t> bytes) {
  uint32_t checksum = 0;
  std::memcpy(&checksum, bytes.data() + kChecksumOffset, sizeof checksum);
  return checksum == crc32c(bytes.first(kChecksumOffset));
}

inline void put_generation(ByteWriter& writer, const Generation& generation) {
  writer.put(generation.counter);
  writer.put(generation.random);
}

inline Generation take_generation(ByteReader& reader) {
  Generation generation;
  generation.counter = reader.take<uint64_t>();
  generation.random = reader.take<uint64_t>();
  return generation;
}

/// What follows the flags, sequence (and era) of a superblock, alike in all versions. False: it makes no sense.
inline bool take_superblock(ByteReader& reader, uint32_t flags, Superblock* superblock) {
  superblock->was_primary = (flags & kWasPrimary) != 0;
  superblock->clean = (flags & kClean) != 0;
  superblock->consistent = (flags & kConsistent) != 0;
  superblock->detached = (flags & kDetached) != 0;
  superblock->snapshot = (flags & kSnapshot) != 0;
  superblock->size_blocks = reader.take<uint64_t>();
  superblock->permit = Permit(reader.take<uint64_t>());
  superblock->incarnation = Incarnation(reader.take<uint64_t>());
  superblock->generation = take_generation(reader);
  superblock->base = take_generation(reader);
  const auto ancestors = reader.take<uint32_t>();
  if (ancestors > kMaxAncestors) return false;
  for (uint32_t i = 0; i < ancestors; ++i) superblock->ancestors.push_back(take_generation(reader));
  superblock->mirror = reader.take_string();
  return !reader.failed();
}

/// The runs of set bits of a bitmap page, as blocks of the mirror.
std::vector<BlockRange> ranges_of(uint64_t page, std::span<const uint8_t> bits);

}  // namespace baton::mirror::sector
