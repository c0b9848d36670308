// What is never written needs no space to be read: a page of the bitmap counts only when the map names it.
#include "src/mirror/metadata_create.h"

#include <fcntl.h>
#include <sys/random.h>
#include <unistd.h>

#include "src/base/assert.h"
#include "src/mirror/metadata_io.h"
#include "src/os/owned_fd.h"

namespace baton::mirror {
namespace {

/// How much of a device's start must be zero before it is written over: where filesystems and others have their marks.
constexpr uint64_t kLookedAt = uint64_t{1} << 20;

std::map<uint64_t, std::vector<BlockRange>> by_page(const std::vector<BlockRange>& ranges) {
  std::map<uint64_t, std::vector<BlockRange>> pages;
  for (BlockRange range : ranges) {
    while (range.count > 0) {
      const uint64_t page = range.first / kBitmapPageBlocks;
      const uint64_t count = std::min(range.count, (page + 1) * kBitmapPageBlocks - range.first);
      pages[page].push_back({range.first, count});
      range = {range.first + count, range.count - count};
    }
  }
  return pages;
}

Status write_pages(int fd, const std::string& path, const std::map<uint64_t, std::vector<BlockRange>>& pages,
                   uint64_t era) {
  Aligned memory(aligned(kBitmapPageStride));
  const std::span<uint8_t> both(memory.get(), kBitmapPageStride);
  for (const auto& [page, ranges] : pages) {
    encode_bitmap(page, ranges, era, 1, both.first(kBitmapRecordBytes));
    encode_bitmap(page, ranges, era, 1, both.subspan(kBitmapRecordBytes));
    if (auto written = write_fully(fd, both, bitmap_offset(page, 0), path); !written) return written;
  }
  return {};
}

/// Everything before the pages, without the header.
void encode_start(const StoredCopy& content, const std::map<uint64_t, std::vector<BlockRange>>& pages, uint64_t era,
                  std::span<uint8_t> all) {
  std::fill(all.begin(), all.end(), uint8_t{0});
  for (uint64_t copy = 0; copy < 2; ++copy) {
    encode_superblock(content.superblock, era, 1, all.subspan(kSuperblockOffset + copy * kSectorBytes, kSectorBytes));
  }
  // Without any slot the log is unreliable: as it was.
  if (!content.journal_unreliable) {
    const uint64_t size = activity_sectors(content.activity.size()) * kSectorBytes;
    encode_activity(content.activity, era, kActivitySlots, all.subspan(kActivityOffset, size));
  }
  for (uint64_t index = 0; index < kMapSectors && !pages.empty(); ++index) {
    std::vector<uint8_t> bits(kMapSectorPages / 8, 0);
    const uint64_t first = index * kMapSectorPages;
    for (auto at = pages.lower_bound(first); at != pages.end() && at->first < first + kMapSectorPages; ++at) {
      bits[(at->first - first) / 8] |= static_cast<uint8_t>(1u << ((at->first - first) % 8));
    }
    for (unsigned copy = 0; copy < 2; ++copy) {
      encode_map(index, bits, era, 1, all.subspan(map_offset(index, copy), kSectorBytes));
    }
  }
}

Status write_header(int fd, const std::string& path, const StoredCopy& content, bool being_made) {
  Aligned memory(aligned(kSectorBytes));
  const std::span<uint8_t> bytes(memory.get(), kSectorBytes);
  encode_header({content.superblock.mirror, kMetadataVersion, being_made, 0}, bytes);
  if (auto written = write_fully(fd, bytes, kHeaderOffset, path); !written) return written;
  if (fsync(fd) != 0) return fail("cannot sync {}: {}", path, errno_text());
  return {};
}

/// The header says "being made" until everything else is durable.
Status write_content(int fd, const std::string& path, const StoredCopy& content) {
  const auto pages = by_page(content.dirty);
  const uint64_t era = new_era();
  Aligned memory(aligned(kBitmapOffset));
  const std::span<uint8_t> start(memory.get(), kBitmapOffset);
  encode_start(content, pages, era, start);
  if (auto written = write_header(fd, path, content, true); !written) return written;
  if (auto written = write_fully(fd, start.subspan(kSectorBytes), kSectorBytes, path); !written) return written;
  if (auto written = write_pages(fd, path, pages, era); !written) return written;
  if (fsync(fd) != 0) return fail("cannot sync {}: {}", path, errno_text());
  return write_header(fd, path, content, false);
}

Status check_size(uint64_t size_blocks) {
  if (size_blocks > 0 && size_blocks <= kMaxMirrorBlocks) return {};
  return fail_as(ErrorCode::kInvalid, "a mirror of {} bytes is not possible: at most {} bytes are", size_blocks * kBlockBytes,
                 kMaxMirrorBlocks * kBlockBytes);
}

}  // namespace

uint64_t new_era() {
  uint64_t era = 0;
  while (era == 0) BATON_ASSERT(getrandom(&era, sizeof era, 0) == static_cast<ssize_t>(sizeof era));
  return era;
}

Status make_room(int fd, const std::string& path, uint64_t size_blocks) {
  if (auto sane = check_size(size_blocks); !sane) return sane;
  const uint64_t size = metadata_bytes(size_blocks);
  if (is_block_device(fd)) {
    auto present = bytes_of(fd, path);
    if (!present) return pass(present);
    if (*present >= size) return {};
    return fail_as(ErrorCode::kNoSpace, "the device {} is too small for the mirror's metadata: it has {} bytes, a mirror "
                   "of {} bytes needs {}. Enlarge it, or name another one as `metadata` in the configuration", path,
                   *present, size_blocks * kBlockBytes, size);
  }
  // Reserved as a whole, so that a full filesystem is met now and not under a write. What is reserved only reads as
  // zeroes and is not looked at.
  if (int error = posix_fallocate(fd, 0, static_cast<off_t>(size)); error != 0) {
    return fail_as(error == ENOSPC ? ErrorCode::kNoSpace : ErrorCode::kFailed,
                   "cannot reserve {} bytes for the mirror's metadata {}: {}", size, path, errno_text(error));
  }
  if (fsync(fd) != 0) return fail("cannot sync {}: {}", path, errno_text());
  return {};
}

Status create_metadata_file(const std::string& path, const StoredCopy& content) {
  const std::string temporary = path + ".new";
  OwnedFd fd(::open(temporary.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
  if (!fd) {
    return fail("cannot create the mirror's metadata {}: {}. Its directory must exist and be writable", path,
                errno_text());
  }
  auto written = make_room(fd.get(), path, content.superblock.size_blocks);
  if (written) written = write_content(fd.get(), path, content);
  if (written && rename(temporary.c_str(), path.c_str()) != 0) {
    written = fail("cannot rename {} to {}: {}", temporary, path, errno_text());
  }
  if (!written) {
    unlink(temporary.c_str());
    return written;
  }
  return sync_directory_of(path);
}

Status create_metadata_on_device(int fd, const std::string& path, const StoredCopy& content) {
  if (auto room = make_room(fd, path, content.superblock.size_blocks); !room) return room;
  Aligned memory(aligned(kLookedAt));
  const std::span<uint8_t> start(memory.get(), kLookedAt);
  if (auto got = read_fully(fd, start, 0, path); !got) return got;
  auto header = decode_header(start.first(kSectorBytes));
  const bool half_made = header && header->being_made && header->mirror == content.superblock.mirror;
  if (!half_made && !all_zero(start)) {
    return fail_as(ErrorCode::kConflict,
                   "the device {} holds something already: mirror {} does not write its metadata over it. See what it "
                   "is (wipefs {}); if nothing on it is needed, empty it: dd if=/dev/zero of={} bs=1M count=2",
                   path, content.superblock.mirror, path, path);
  }
  return write_content(fd, path, content);
}

}  // namespace baton::mirror
