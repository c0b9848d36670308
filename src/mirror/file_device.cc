// Opening is synchronous (start-up); reads, writes and flushes are the ring's. A short transfer is continued, and one
// that no longer moves ends as an I/O error. A range is zeroed in the best way that the store knows.
#include "src/mirror/file_device.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "src/base/assert.h"

namespace baton::mirror {
namespace {

Status create_store(const std::string& path, uint64_t size_bytes) {
  const std::string temporary = path + ".new";
  OwnedFd fd(::open(temporary.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
  if (!fd) {
    const int error = errno;
    return fail("cannot create the store {}: {}. {}", path, errno_text(error),
                error == ENOENT ? "Make its directory, or correct `store` in the configuration"
                                : "Correct that, or `store` in the configuration");
  }
  if (ftruncate(fd.get(), static_cast<off_t>(size_bytes)) != 0 || fsync(fd.get()) != 0 ||
      rename(temporary.c_str(), path.c_str()) != 0) {
    const int error = errno;
    unlink(temporary.c_str());
    return fail("cannot create the store {} of {} bytes: {}", path, size_bytes, errno_text(error));
  }
  const std::string directory = path.substr(0, path.rfind('/') + 1);
  OwnedFd parent(::open(directory.empty() ? "." : directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!parent || fsync(parent.get()) != 0) return fail("cannot sync the directory of {}: {}", path, errno_text());
  return {};
}

Result<uint64_t> size_of(int fd, const std::string& path) {
  struct stat status {};
  if (fstat(fd, &status) != 0) return fail("cannot look at the store {}: {}", path, errno_text());
  if (S_ISREG(status.st_mode)) return static_cast<uint64_t>(status.st_size);
  if (!S_ISBLK(status.st_mode)) return fail("the store {} is neither a file nor a block device", path);
  uint64_t bytes = 0;
  if (ioctl(fd, BLKGETSIZE64, &bytes) != 0) return fail("cannot ask {} for its size: {}", path, errno_text());
  return bytes;
}

/// Opens it for good. A block device is claimed, so that nobody mounts it meanwhile.
Result<OwnedFd> open_store(const std::string& path, bool* direct) {
  struct stat status {};
  const bool device = stat(path.c_str(), &status) == 0 && S_ISBLK(status.st_mode);
  const int flags = O_RDWR | O_CLOEXEC | (device ? O_EXCL : 0);
  *direct = true;
  OwnedFd fd(::open(path.c_str(), flags | O_DIRECT));
  if (!fd && errno == EINVAL) {
    *direct = false;
    fd = OwnedFd(::open(path.c_str(), flags));
  }
  if (!fd) {
    const int error = errno;
    return fail("cannot open the store {}: {}{}", path, errno_text(error),
                error == EBUSY ? ". It is in use: mounted, or part of something else" : "");
  }
  return fd;
}

/// A file in which there is nothing but holes. Of a block device nobody knows.
bool holds_no_data(int fd) {
  struct stat status {};
  if (fstat(fd, &status) != 0 || !S_ISREG(status.st_mode)) return false;
  return lseek(fd, 0, SEEK_DATA) < 0 && errno == ENXIO;
}

constexpr uint64_t kZeroPiece = uint64_t{1} << 20;    // of zeroes that are written
constexpr uint64_t kFallocatePiece = uint64_t{1} << 30;  // of zeroes that the store makes

/// Zeroes to write from. Never written to, so that the whole of it is the kernel's one page of zeroes.
const uint8_t* zero_memory() {
  static const uint8_t* const memory = [] {
    void* mapped = mmap(nullptr, kZeroPiece, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    BATON_ASSERT(mapped != MAP_FAILED);
    return static_cast<const uint8_t*>(mapped);
  }();
  return memory;
}

}  // namespace

Result<FileDevice::Opened> FileDevice::open(Ring& ring, const std::string& path, uint64_t size_bytes) {
  if (size_bytes == 0 || size_bytes % kBlockBytes != 0) {
    return fail_as(ErrorCode::kInvalid, "the mirror's size of {} bytes is not a multiple of {}", size_bytes, kBlockBytes);
  }
  Opened opened;
  struct stat status {};
  if (stat(path.c_str(), &status) != 0 && errno == ENOENT) {
    if (auto made = create_store(path, size_bytes); !made) return pass(made);
    opened.created = true;
  }
  bool direct = true;
  auto fd = open_store(path, &direct);
  if (!fd) return pass(fd);
  auto size = size_of(fd->get(), path);
  if (!size) return pass(size);
  if (*size < size_bytes) {
    return fail_as(ErrorCode::kInvalid,
                   "the store {} is too small: it has {} bytes, the mirror needs {}. Enlarge it (for a file: "
                   "truncate -s {} {}), or make the mirror smaller in the configuration",
                   path, *size, size_bytes, size_bytes, path);
  }
  opened.known_zero = opened.created || holds_no_data(fd->get());
  opened.device.reset(new FileDevice(ring, path, std::move(*fd), size_bytes / kBlockBytes, direct));
  return opened;
}

void FileDevice::read(BlockRange range, uint8_t* data, Done done) { begin(false, range, data, std::move(done)); }

void FileDevice::write(BlockRange range, const uint8_t* data, Done done) {
  begin(true, range, const_cast<uint8_t*>(data), std::move(done));
}

void FileDevice::flush(Done done) {
  // Everything that has ended is on the disk already: PostgreSQL alone asks a thousand times when it recovers.
  // SAFETY: I2. Only a flush that was begun after the last write's end counts.
  if (flushed_writes_ == ended_writes_ && flush_error_ == 0) return done(0);
  Transfer* transfer = take_transfer(std::move(done));
  ring_.fdatasync(fd_.get(),
                  [this, transfer, covered = ended_writes_](int result) { flushed(transfer, covered, result); });
}

void FileDevice::flushed(Transfer* transfer, uint64_t covered, int result) {
  // SAFETY: I2. The kernel reports a lost write to one flush only: what comes after that one proves nothing any more.
  if (result < 0 && flush_error_ == 0) flush_error_ = -result;
  if (flush_error_ == 0) flushed_writes_ = std::max(flushed_writes_, covered);
  finish(transfer, flush_error_);
}

void FileDevice::retry() {
  // SAFETY: D3. Behind a page cache a lost write goes on being read as if it were there: only a new start tells.
  if (direct_) flush_error_ = 0;
}

Result<uint64_t> FileDevice::available_bytes() const { return size_of(fd_.get(), path_); }

Status FileDevice::grow(uint64_t size_bytes) {
  const uint64_t present = size_blocks_ * kBlockBytes;
  if (size_bytes % kBlockBytes != 0 || size_bytes < present) {
    return fail_as(ErrorCode::kInvalid, "the store {} of {} bytes cannot be made {} bytes large: it must be a multiple "
                   "of {} and not less than now", path_, present, size_bytes, kBlockBytes);
  }
  auto available = available_bytes();
  if (!available) return pass(available);
  struct stat status {};
  const bool file = fstat(fd_.get(), &status) == 0 && S_ISREG(status.st_mode);
  if (*available < size_bytes && !file) {
    return fail_as(ErrorCode::kNoSpace, "the store {} has {} bytes, {} are wanted: enlarge the device first (for "
                   "example with lvextend), then grow the mirror", path_, *available, size_bytes);
  }
  if (*available < size_bytes && ftruncate(fd_.get(), static_cast<off_t>(size_bytes)) != 0) {
    return fail("cannot enlarge the store {} to {} bytes: {}", path_, size_bytes, errno_text());
  }
  if (file && fsync(fd_.get()) != 0) return fail("cannot sync the store {}: {}", path_, errno_text());
  size_blocks_ = size_bytes / kBlockBytes;
  return {};
}

void FileDevice::zero(BlockRange range, bool unmap, Done done) {
  BATON_ASSERT(range.count > 0 && range.first < size_blocks_ && range.count <= size_blocks_ - range.first);
  Transfer* transfer = take_transfer(std::move(done));
  transfer->writing = true;
  transfer->unmap = unmap;
  transfer->data = nullptr;
  transfer->left = range.count * kBlockBytes;
  transfer->offset = range.first * kBlockBytes;
  go_on_zeroing(transfer);
}

void FileDevice::go_on_zeroing(Transfer* transfer) {
  const Zeroing way = transfer->unmap ? unmapping_ : zeroing_;
  const uint64_t size = std::min(transfer->left, way == Zeroing::kWrite ? kZeroPiece : kFallocatePiece);
  if (way == Zeroing::kWrite) {
    ring_.write(fd_.get(), zero_memory(), static_cast<uint32_t>(size), transfer->offset, [this, transfer](int result) {
      zeroed(transfer, Zeroing::kWrite, result > 0 ? static_cast<uint64_t>(result) : 0, result == 0 ? -EIO : result);
    });
    return;
  }
  const int mode = (way == Zeroing::kPunch ? FALLOC_FL_PUNCH_HOLE : FALLOC_FL_ZERO_RANGE) | FALLOC_FL_KEEP_SIZE;
  ring_.fallocate(fd_.get(), mode, transfer->offset, size,
                  [this, transfer, way, size](int result) { zeroed(transfer, way, size, result); });
}

void FileDevice::zeroed(Transfer* transfer, Zeroing way, uint64_t size, int result) {
  if (result == -EAGAIN || result == -EINTR) return go_on_zeroing(transfer);
  if (result == -EOPNOTSUPP && way != Zeroing::kWrite) {
    const Zeroing next = way == Zeroing::kPunch ? Zeroing::kZeroRange : Zeroing::kWrite;
    Zeroing& known = transfer->unmap ? unmapping_ : zeroing_;
    known = std::max(known, next);
    return go_on_zeroing(transfer);
  }
  if (result < 0) return finish(transfer, -result);
  if (size % kBlockBytes != 0) return finish(transfer, EIO);
  transfer->left -= size;
  transfer->offset += size;
  if (transfer->left == 0) return finish(transfer, 0);
  go_on_zeroing(transfer);
}

FileDevice::Transfer* FileDevice::take_transfer(Done done) {
  if (free_transfers_.empty()) {
    transfers_.push_back(std::make_unique<Transfer>());
    free_transfers_.push_back(transfers_.back().get());
  }
  Transfer* transfer = free_transfers_.back();
  free_transfers_.pop_back();
  transfer->done = std::move(done);
  return transfer;
}

void FileDevice::begin(bool writing, BlockRange range, uint8_t* data, Done done) {
  BATON_ASSERT(range.count > 0 && range.first < size_blocks_ && range.count <= size_blocks_ - range.first);
  BATON_ASSERT(reinterpret_cast<uintptr_t>(data) % kBlockBytes == 0);
  Transfer* transfer = take_transfer(std::move(done));
  transfer->writing = writing;
  transfer->data = data;
  transfer->left = range.count * kBlockBytes;
  BATON_ASSERT(transfer->left <= UINT32_MAX);
  transfer->offset = range.first * kBlockBytes;
  go_on(transfer);
}

void FileDevice::go_on(Transfer* transfer) {
  auto callback = [this, transfer](int result) { transferred(transfer, result); };
  if (transfer->writing) {
    ring_.write(fd_.get(), transfer->data, static_cast<uint32_t>(transfer->left), transfer->offset, callback);
  } else {
    ring_.read(fd_.get(), transfer->data, static_cast<uint32_t>(transfer->left), transfer->offset, callback);
  }
}

void FileDevice::transferred(Transfer* transfer, int result) {
  if (result == -EAGAIN || result == -EINTR) return go_on(transfer);
  if (result < 0) return finish(transfer, -result);
  if (result == 0) return finish(transfer, EIO);  // the store has shrunk under us
  const auto moved = static_cast<uint32_t>(result);
  BATON_ASSERT(moved <= transfer->left);
  transfer->left -= moved;
  transfer->data += moved;
  transfer->offset += moved;
  if (transfer->left == 0) return finish(transfer, 0);
  // Direct I/O goes on only from a block's start; what is left of a torn block is an error.
  if (direct_ && moved % kBlockBytes != 0) return finish(transfer, EIO);
  go_on(transfer);
}

void FileDevice::finish(Transfer* transfer, int error_number) {
  if (transfer->writing) ++ended_writes_;
  transfer->writing = false;
  Done done = std::move(transfer->done);
  transfer->done = nullptr;
  free_transfers_.push_back(transfer);
  done(error_number);
}

}  // namespace baton::mirror
