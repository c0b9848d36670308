// MetadataFile, the half at start-up: claiming the file or device, telling what it is, making it or bringing it to the
// present format.
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>

#include <thread>

#include "src/mirror/metadata_create.h"
#include "src/mirror/metadata_file.h"

namespace baton::mirror {
namespace {

Status lock_metadata(int fd, const std::string& path, Instant deadline) {
  while (flock(fd, LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK) return fail("cannot lock {}: {}", path, errno_text());
    // A killed daemon keeps the lock until its last disk operation has ended: that is worth waiting for.
    if (Ring::now() >= deadline) {
      return fail_as(ErrorCode::kConflict, "another baton-mirrord uses {}: end it first (fuser {})", path, path);
    }
    std::this_thread::sleep_for(10ms);
  }
  return {};
}

/// A device is claimed: nobody mounts it meanwhile, and no second daemon opens it.
Result<OwnedFd> open_device(const std::string& path, Instant deadline) {
  while (true) {
    OwnedFd fd(::open(path.c_str(), O_RDWR | O_DSYNC | O_CLOEXEC | O_DIRECT | O_EXCL));
    if (fd) return fd;
    if (errno != EBUSY) return fail("cannot open the mirror's metadata {}: {}", path, errno_text());
    if (Ring::now() >= deadline) {
      return fail_as(ErrorCode::kConflict, "the device {} for a mirror's metadata is in use: mounted, part of something "
                     "else, or held by another baton-mirrord (lsblk {}; fuser {})", path, path, path);
    }
    std::this_thread::sleep_for(10ms);
  }
}

Result<OwnedFd> open_file(const std::string& path) {
  // Some filesystems cannot do direct I/O: synchronous writes through the cache are as durable.
  for (int flags : {O_DIRECT, 0}) {
    OwnedFd fd(::open(path.c_str(), O_RDWR | O_DSYNC | O_CLOEXEC | flags));
    if (fd) return fd;
    if (errno != EINVAL) break;
  }
  return fail("cannot open the mirror's metadata {}: {}", path, errno_text());
}

Result<OwnedFd> claim(const std::string& path, Instant deadline) {
  struct stat status {};
  if (stat(path.c_str(), &status) == 0 && S_ISBLK(status.st_mode)) return open_device(path, deadline);
  auto fd = open_file(path);
  if (!fd) return pass(fd);
  if (auto locked = lock_metadata(fd->get(), path, deadline); !locked) return pass(locked);
  return fd;
}

/// False: the name has come to stand for another file since it was opened.
bool still_named(int fd, const std::string& path) {
  struct stat opened {}, named {};
  return fstat(fd, &opened) == 0 && stat(path.c_str(), &named) == 0 && opened.st_ino == named.st_ino &&
         opened.st_dev == named.st_dev;
}

/// The header; on a device that is empty, or half-made for this mirror, after making the metadata.
Result<MetadataHeader> find_header(int fd, const std::string& path, const StoredCopy& blank, bool* created) {
  Aligned memory(aligned(kSectorBytes));
  const std::span<uint8_t> bytes(memory.get(), kSectorBytes);
  if (auto got = read_fully(fd, bytes, kHeaderOffset, path); !got) return pass(got);
  auto header = decode_header(bytes);
  const bool ours = bytes[0] == 'B' && std::equal(bytes.begin(), bytes.begin() + 8, "BTNMIR1");
  const bool half_made = header && header->being_made && header->mirror == blank.superblock.mirror;
  if (is_block_device(fd) && (!ours || half_made)) {
    if (auto made = create_metadata_on_device(fd, path, blank); !made) return pass(made);
    *created = true;
    return MetadataHeader{blank.superblock.mirror};
  }
  if (!header) {
    return fail_as(ErrorCode::kInvalid,
                   "the mirror's metadata {} cannot be used: {}. If this server's copy may be made anew by a full copy, "
                   "give it up ({}); otherwise restore it, or use the program that wrote it",
                   path, header.error().message, how_to_remove(fd, path));
  }
  if (header->mirror != blank.superblock.mirror) {
    return fail_as(ErrorCode::kInvalid,
                   "the metadata {} belongs to mirror {}, but the configuration names it for mirror {}. Correct the "
                   "configuration; to give up what that copy holds, {}",
                   path, header->mirror, blank.superblock.mirror, how_to_remove(fd, path));
  }
  if (header->being_made) {
    return fail_as(ErrorCode::kInvalid, "the metadata {} was never finished: {}", path, how_to_remove(fd, path));
  }
  return header;
}

Status check_superblock(int fd, const std::string& path, const Superblock& found, const Superblock& wanted,
                        bool may_grow) {
  const bool size_fits = found.size_blocks == wanted.size_blocks || (may_grow && found.size_blocks < wanted.size_blocks);
  if (found.mirror == wanted.mirror && size_fits) return {};
  return fail_as(ErrorCode::kInvalid,
                 "the metadata {} belongs to mirror {} of {} bytes, but the configuration says mirror {} of {} bytes. "
                 "Correct the configuration; to give up what that copy holds, {}",
                 path, found.mirror, found.size_blocks * kBlockBytes, wanted.mirror, wanted.size_blocks * kBlockBytes,
                 how_to_remove(fd, path));
}

}  // namespace

Result<MetadataFile::Opened> MetadataFile::open(Ring& ring, const std::string& path, const StoredCopy& blank,
                                                Duration lock_limit, bool may_grow) {
  const Instant deadline = Ring::now() + lock_limit;
  bool created = false;
  std::vector<std::string> warnings;
  while (true) {
    struct stat status {};
    if (stat(path.c_str(), &status) != 0 && errno == ENOENT) {
      if (auto made = create_metadata_file(path, blank); !made) return pass(made);
      created = true;
    }
    bool again = false;
    auto opened = open_once(ring, path, blank, deadline, may_grow, &again);
    if (!opened) return pass(opened);
    warnings.insert(warnings.end(), opened->warnings.begin(), opened->warnings.end());
    if (again) continue;
    opened->created = opened->created || created;
    opened->warnings = std::move(warnings);
    return opened;
  }
}

Result<MetadataFile::Opened> MetadataFile::open_once(Ring& ring, const std::string& path, const StoredCopy& blank,
                                                     Instant deadline, bool may_grow, bool* again) {
  Opened opened;
  auto fd = claim(path, deadline);
  if (!fd) return pass(fd);
  if (!still_named(fd->get(), path)) {
    *again = true;
    return opened;
  }
  auto header = find_header(fd->get(), path, blank, &opened.created);
  if (!header) return pass(header);
  const bool old = header->version == 1;
  auto loaded = old ? load_metadata_version_1(fd->get(), path, header->size_blocks) : load_metadata(fd->get(), path);
  if (!loaded) return pass(loaded);
  opened.warnings = std::move(loaded->warnings);
  auto fits = check_superblock(fd->get(), path, loaded->stored.superblock, blank.superblock, may_grow);
  if (!fits) return pass(fits);
  if (old) {
    // The lock is held until the new file has the name.
    if (auto made = create_metadata_file(path, loaded->stored); !made) return pass(made);
    *again = true;
    return opened;
  }
  opened.stored = loaded->stored;
  opened.file.reset(new MetadataFile(ring, path, std::move(*fd), std::move(*loaded)));
  return opened;
}

}  // namespace baton::mirror
