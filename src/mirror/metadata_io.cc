// Short transfers are continued; a file's end where there should be none is told apart from an error of the disk.
#include "src/mirror/metadata_io.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "src/base/assert.h"
#include "src/mirror/metadata_records.h"
#include "src/os/owned_fd.h"

namespace baton::mirror {

Aligned aligned(size_t bytes) {
  auto* memory = static_cast<uint8_t*>(std::aligned_alloc(kSectorBytes, bytes));
  BATON_ASSERT(memory != nullptr);
  return Aligned(memory);
}

Status write_fully(int fd, std::span<const uint8_t> bytes, uint64_t offset, const std::string& path) {
  while (!bytes.empty()) {
    const ssize_t written = pwrite(fd, bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) {
      const int error = written < 0 ? errno : ENOSPC;
      return fail_as(error == ENOSPC ? ErrorCode::kNoSpace : ErrorCode::kFailed, "cannot write {} at {}: {}", path,
                     offset, errno_text(error));
    }
    bytes = bytes.subspan(static_cast<size_t>(written));
    offset += static_cast<uint64_t>(written);
  }
  return {};
}

Status read_fully(int fd, std::span<uint8_t> bytes, uint64_t offset, const std::string& path) {
  while (!bytes.empty()) {
    const ssize_t count = pread(fd, bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return fail("cannot read {} at {}: {}", path, offset, errno_text());
    if (count == 0) {
      return fail_as(ErrorCode::kInvalid, "{} is cut off at {} bytes. Give it up ({}), and this server's copy is made "
                     "anew by a full copy", path, offset, how_to_remove(fd, path));
    }
    bytes = bytes.subspan(static_cast<size_t>(count));
    offset += static_cast<uint64_t>(count);
  }
  return {};
}

std::string how_to_remove(int fd, const std::string& path) {
  if (!is_block_device(fd)) return "remove the file";
  return fmt::format("empty it: dd if=/dev/zero of={} bs=1M count=2", path);
}

bool is_block_device(int fd) {
  struct stat status {};
  return fstat(fd, &status) == 0 && S_ISBLK(status.st_mode);
}

Result<uint64_t> bytes_of(int fd, const std::string& path) {
  struct stat status {};
  if (fstat(fd, &status) != 0) return fail("cannot look at {}: {}", path, errno_text());
  if (S_ISREG(status.st_mode)) return static_cast<uint64_t>(status.st_size);
  if (!S_ISBLK(status.st_mode)) {
    return fail_as(ErrorCode::kInvalid, "{} is neither a file nor a block device: correct `metadata` in the "
                   "configuration", path);
  }
  uint64_t bytes = 0;
  if (ioctl(fd, BLKGETSIZE64, &bytes) != 0) return fail("cannot ask {} for its size: {}", path, errno_text());
  return bytes;
}

Status sync_directory_of(const std::string& path) {
  const std::string directory = path.substr(0, path.rfind('/') + 1);
  OwnedFd parent(::open(directory.empty() ? "." : directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!parent || fsync(parent.get()) != 0) return fail("cannot sync the directory of {}: {}", path, errno_text());
  return {};
}

}  // namespace baton::mirror
