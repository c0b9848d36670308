// Fuzzes what reads a mirror's metadata: each decoder alone, and the loading of a whole file. Nothing may crash, and
// nothing damaged may pass for "consistent and clean". By hand:
//   clang++ -std=c++20 -g -O1 -fsanitize=fuzzer,address,undefined -I. fuzz/metadata_fuzz.cc src/mirror/metadata_records.cc
//     src/mirror/metadata_load.cc src/mirror/metadata_version_1.cc src/mirror/metadata_io.cc src/base/checksum.cc
//     src/base/assert.cc -lfmt -lisal -o metadata_fuzz && ./metadata_fuzz -max_total_time=1200 -max_len=65536
#include <sys/mman.h>
#include <unistd.h>

#include <cstdlib>

#include "src/base/checksum.h"
#include "src/mirror/metadata_load.h"
#include "src/mirror/metadata_records.h"

namespace {

using namespace baton;
using namespace baton::mirror;

constexpr uint64_t kEra = 0x5A5A5A5A00000001;
constexpr uint64_t kBlocks = 5 * kBitmapPageBlocks / 2;

void must(bool holds) {
  if (!holds) std::abort();
}

/// A file to work on, whole and clean; made once.
class Sample {
 public:
  explicit Sample(uint32_t version) : bytes_(version == 1 ? 278528 + 3 * kBitmapPageStride : metadata_bytes(kBlocks), 0) {
    StoredCopy copy;
    copy.superblock.mirror = "db.data";
    copy.superblock.size_blocks = kBlocks;
    const std::span<uint8_t> all(bytes_);
    for (uint64_t i = 0; i < 2; ++i) {
      encode_superblock(copy.superblock, kEra, 9, all.subspan(kSuperblockOffset + i * kSectorBytes, kSectorBytes));
    }
    if (version == 1) return;
    encode_activity({1, 2, 600}, kEra, 64, all.subspan(kActivityOffset, kSectorBytes));
    std::vector<uint8_t> bits(kMapSectorPages / 8, 0);
    bits[0] = 2;
    for (unsigned i = 0; i < 2; ++i) {
      encode_map(0, bits, kEra, 3, all.subspan(map_offset(0, i), kSectorBytes));
      encode_bitmap(1, {{40000, 5}}, kEra, 4, all.subspan(bitmap_offset(1, i), kBitmapRecordBytes));
    }
  }
  const Bytes& bytes() const { return bytes_; }

 private:
  Bytes bytes_;
};

class MemoryFile {
 public:
  MemoryFile() : fd_(memfd_create("metadata", MFD_CLOEXEC)) { must(fd_ >= 0); }
  ~MemoryFile() { close(fd_); }
  void fill(std::span<const uint8_t> bytes) {
    must(ftruncate(fd_, 0) == 0 && pwrite(fd_, bytes.data(), bytes.size(), 0) == static_cast<ssize_t>(bytes.size()));
  }
  int fd() const { return fd_; }

 private:
  int fd_;
};

void check(const StoredCopy& stored, uint64_t size_blocks) {
  const uint64_t extents = (size_blocks + kExtentBlocks - 1) / kExtentBlocks;
  for (uint64_t extent : stored.activity) must(extent < extents);
  uint64_t end = 0;
  for (const BlockRange& range : stored.dirty) {
    must(range.count > 0 && range.first >= end && range.end() <= size_blocks);
    end = range.end();
  }
  must(stored.superblock.ancestors.size() <= 32);
}

/// The input as it is, and again with its checksum made right, so that what is behind the checksum is reached.
void decode_all(std::span<const uint8_t> input) {
  Bytes sector(input.begin(), input.begin() + static_cast<ptrdiff_t>(std::min<size_t>(input.size(), kSectorBytes)));
  for (int round = 0; round < 2; ++round) {
    (void)decode_header(sector);
    (void)decode_superblock(sector);
    (void)decode_activity(sector, kEra);
    (void)decode_map(0, sector, kEra);
    sector.resize(kSectorBytes);
    const uint32_t checksum = crc32c(std::span(sector).first(kSectorBytes - 4));
    std::memcpy(sector.data() + kSectorBytes - 4, &checksum, 4);
  }
  (void)decode_activity(input.first(std::min<size_t>(input.size(), kActivitySlotBytes)), kEra);
  (void)decode_bitmap(0, input.first(std::min<size_t>(input.size(), kBitmapRecordBytes)), kEra);
}

/// Parts of a good file written over: (offset, length, bytes) one after the other.
Bytes damaged(const Sample& sample, std::span<const uint8_t> input, bool* superblocks_hit) {
  Bytes bytes = sample.bytes();
  ByteReader reader(input);
  while (reader.left() >= 6) {
    const uint64_t offset = reader.take<uint32_t>() % bytes.size();
    uint64_t length = reader.take<uint16_t>() % 600 + 1;
    length = std::min({length, bytes.size() - offset, static_cast<uint64_t>(reader.left())});
    const auto part = reader.take_bytes(length);
    std::copy(part.begin(), part.end(), bytes.begin() + static_cast<ptrdiff_t>(offset));
  }
  *superblocks_hit = true;
  for (uint64_t i = 0; i < 2; ++i) {
    const uint64_t offset = kSuperblockOffset + i * kSectorBytes;
    if (std::memcmp(bytes.data() + offset, sample.bytes().data() + offset, kSectorBytes) == 0) *superblocks_hit = false;
  }
  return bytes;
}

/// A record overwritten with zeroes cannot be told from one never written.
bool blanked(std::span<const uint8_t> bytes) {
  bool any = false;
  for (unsigned copy = 0; copy < 2; ++copy) {
    any = any || all_zero(bytes.subspan(map_offset(0, copy), kSectorBytes)) ||
          all_zero(bytes.subspan(bitmap_offset(1, copy), kBitmapRecordBytes));
  }
  return any;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const Sample present(2), old(1);
  static MemoryFile file;
  const std::span<const uint8_t> input(data, size);
  decode_all(input);

  // Arbitrary bytes as a whole file.
  file.fill(input);
  if (auto loaded = load_metadata(file.fd(), "input")) check(loaded->stored, loaded->stored.superblock.size_blocks);
  if (auto loaded = load_metadata_version_1(file.fd(), "input", kBlocks)) check(loaded->stored, kBlocks);

  bool superblocks_hit = false;
  const Bytes hurt = damaged(present, input, &superblocks_hit);
  file.fill(hurt);
  auto loaded = load_metadata(file.fd(), "damaged");
  // CRC32C finds what a fuzzer that does not compute it can do to both superblocks.
  must(!superblocks_hit || !loaded);
  if (loaded) {
    check(loaded->stored, loaded->stored.superblock.size_blocks);
    // Everything that was covered still is, or the whole copy is compared.
    const StoredCopy& stored = loaded->stored;
    const bool whole = stored.activity == std::vector<uint64_t>{1, 2, 600} &&
                       stored.dirty == std::vector<BlockRange>{{40000, 5}};
    must(whole || stored.journal_unreliable || !loaded->warnings.empty() || blanked(hurt));
  }
  file.fill(damaged(old, input, &superblocks_hit));
  if (auto older = load_metadata_version_1(file.fd(), "damaged", kBlocks)) check(older->stored, kBlocks);
  return 0;
}
