// See np_disk.h.
#include "src/os/np_disk.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#include <algorithm>
#include <cstdlib>
#include <memory>
#include <optional>

#include "src/base/checksum.h"

namespace baton {

namespace {

constexpr size_t kSector = 4096;
constexpr uint64_t kSize = 128 * kSector;  // ids up to 63
constexpr uint32_t kVersion = 1;
constexpr uint32_t kMostServers = 63;
constexpr char kHeaderMagic[] = "BTNNPD1";  // with its zero
constexpr char kSlotMagic[] = "BNPS";
constexpr int kReads = 5;  // of a slot that is just being written

/// A sector at an address that direct I/O takes.
class Sector {
 public:
  Sector() : bytes_(static_cast<uint8_t*>(std::aligned_alloc(kSector, kSector))) { std::memset(bytes_.get(), 0, kSector); }
  uint8_t* data() { return bytes_.get(); }
  std::span<const uint8_t> body() const { return {bytes_.get(), kSector - 4}; }
  bool zero() const { return std::all_of(bytes_.get(), bytes_.get() + kSector, [](uint8_t byte) { return byte == 0; }); }
  void fill(const Bytes& content) {
    std::memcpy(bytes_.get(), content.data(), content.size());
    const uint32_t sum = crc32c(body());
    std::memcpy(bytes_.get() + kSector - 4, &sum, 4);
  }
  bool whole() const {
    uint32_t sum = 0;
    std::memcpy(&sum, bytes_.get() + kSector - 4, 4);
    return sum == crc32c(body());
  }

 private:
  struct Free {
    void operator()(uint8_t* bytes) const { std::free(bytes); }
  };
  std::unique_ptr<uint8_t, Free> bytes_;
};

Status read_sector(int fd, const std::string& path, uint64_t number, Sector& into) {
  const ssize_t got = ::pread(fd, into.data(), kSector, static_cast<off_t>(number * kSector));
  if (got == static_cast<ssize_t>(kSector)) return {};
  return fail("{} cannot be read: {}", path, got < 0 ? errno_text() : "it is too small");
}

Status write_sector(int fd, const std::string& path, uint64_t number, Sector& sector) {
  const ssize_t put = ::pwrite(fd, sector.data(), kSector, static_cast<off_t>(number * kSector));
  if (put == static_cast<ssize_t>(kSector)) return {};
  return fail("{} cannot be written: {}", path, put < 0 ? errno_text() : "it is too small");
}

/// SAFETY: Q1. Between two machines a page cache would show what was on the disk some time ago.
Result<OwnedFd> open_direct(const std::string& path, int more) {
  OwnedFd fd(::open(path.c_str(), O_RDWR | O_DIRECT | O_DSYNC | O_CLOEXEC | more, 0600));
  if (fd) return fd;
  if (errno == EINVAL) return fail_as(ErrorCode::kInvalid, "{} cannot be read and written past the cache (its filesystem knows no direct I/O)", path);
  return fail("{} cannot be opened: {}", path, errno_text());
}

Bytes header_of(const Bytes& cluster) {
  Bytes content;
  ByteWriter writer(content);
  writer.put_bytes({reinterpret_cast<const uint8_t*>(kHeaderMagic), sizeof kHeaderMagic});
  writer.put(kVersion);
  writer.put_bytes(cluster);
  return content;
}

bool is_header(Sector& sector) { return std::memcmp(sector.data(), kHeaderMagic, sizeof kHeaderMagic) == 0; }

Status check_header(const std::string& path, Sector& sector, const Bytes& cluster) {
  if (!is_header(sector))
    return fail_as(ErrorCode::kInvalid, "{} is not prepared: baton cluster np-disk {}", path, path);
  ByteReader reader({sector.data() + sizeof kHeaderMagic, kSector - sizeof kHeaderMagic});
  const auto version = reader.take<uint32_t>();
  if (version > kVersion) return fail_as(ErrorCode::kInvalid, "{} was prepared by a newer Baton (format {})", path, version);
  if (!sector.whole()) return fail_as(ErrorCode::kInvalid, "the first sector of {} is damaged", path);
  const auto named = reader.take_bytes(cluster.size());
  if (!std::equal(named.begin(), named.end(), cluster.begin(), cluster.end()))
    return fail_as(ErrorCode::kConflict, "{} belongs to another cluster", path);
  return {};
}

/// A slot that was torn, or is being written: nothing.
std::optional<NpRecord> record_in(Sector& sector, uint32_t server) {
  if (sector.zero()) return NpRecord{};
  if (!sector.whole() || std::memcmp(sector.data(), kSlotMagic, 4) != 0) return std::nullopt;
  ByteReader reader({sector.data() + 4, kSector - 8});
  NpRecord record;
  const auto named = reader.take<uint32_t>();
  record.sequence = reader.take<uint64_t>();
  const auto payload = reader.take_bytes(reader.take<uint32_t>());
  record.payload.assign(payload.begin(), payload.end());
  if (reader.failed() || named != server) return std::nullopt;
  return record;
}

uint64_t slot_of(uint32_t server, uint64_t sequence) { return uint64_t{2} * server + sequence % 2; }

}  // namespace

Result<NpDisk> NpDisk::open(const std::string& path, const Bytes& cluster, const std::string& lock_file) {
  NpDisk disk;
  disk.path_ = path;
  disk.lock_ = OwnedFd(::open(lock_file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  if (!disk.lock_) return fail("{} cannot be opened: {}", lock_file, errno_text());
  // SAFETY: Q4. It is let go when the last operation of that process has ended.
  if (::flock(disk.lock_.get(), LOCK_EX | LOCK_NB) != 0)
    return fail("an earlier batond of this server still waits for the disk ({} is locked)", lock_file);
  auto fd = open_direct(path, 0);
  if (!fd) return pass(fd);
  disk.disk_ = std::move(*fd);
  Sector header;
  if (auto read = read_sector(disk.disk_.get(), path, 0, header); !read) return pass(read);
  if (auto checked = check_header(path, header, cluster); !checked) return pass(checked);
  return disk;
}

Status NpDisk::write(uint32_t server, const NpRecord& record) {
  Bytes content;
  ByteWriter writer(content);
  writer.put_bytes({reinterpret_cast<const uint8_t*>(kSlotMagic), 4});
  writer.put(server);
  writer.put(record.sequence);
  writer.put(static_cast<uint32_t>(record.payload.size()));
  writer.put_bytes(record.payload);
  Sector sector;
  sector.fill(content);
  return write_sector(disk_.get(), path_, slot_of(server, record.sequence), sector);
}

/// SAFETY: Q1. A slot that does not read well may just be written, and then the other one may be older than what was there when the
/// reading began: both are read again, and what is torn for good reads the same twice.
Result<NpRecord> NpDisk::read(uint32_t server) const {
  Bytes before;
  for (int attempt = 0; attempt < kReads; ++attempt) {
    Sector slots[2];
    Bytes both;
    for (uint64_t slot = 0; slot < 2; ++slot) {
      if (auto read = read_sector(disk_.get(), path_, uint64_t{2} * server + slot, slots[slot]); !read) return pass(read);
      both.insert(both.end(), slots[slot].data(), slots[slot].data() + kSector);
    }
    const auto first = record_in(slots[0], server);
    const auto second = record_in(slots[1], server);
    if (first && second) return first->sequence > second->sequence ? *first : *second;
    if (both == before && (first || second)) return first ? *first : *second;
    if (both == before) return fail_as(ErrorCode::kInvalid, "both sectors of server {} on {} are damaged", server, path_);
    before = std::move(both);
  }
  return fail("the sectors of server {} on {} change faster than they can be read", server, path_);
}

Status NpDisk::format(const std::string& path, const Bytes& cluster, bool overwrite) {
  struct stat about {};
  const bool there = ::stat(path.c_str(), &about) == 0;
  if (there && !S_ISBLK(about.st_mode) && !S_ISREG(about.st_mode))
    return fail_as(ErrorCode::kInvalid, "{} is neither a block device nor a file", path);
  auto fd = open_direct(path, there ? 0 : O_CREAT | O_EXCL);
  if (!fd) return pass(fd);
  uint64_t size = there ? static_cast<uint64_t>(about.st_size) : 0;
  if (there && S_ISBLK(about.st_mode) && ::ioctl(fd->get(), BLKGETSIZE64, &size) != 0) return fail("{}: {}", path, errno_text());
  if ((!there || S_ISREG(about.st_mode)) && size < kSize) {
    if (size > 0) return fail_as(ErrorCode::kConflict, "{} is a file of {} bytes that holds something else", path, size);
    if (const int error = ::posix_fallocate(fd->get(), 0, static_cast<off_t>(kSize)); error != 0) return fail("{}: {}", path, errno_text(error));
    size = kSize;
  }
  if (size < kSize) return fail_as(ErrorCode::kInvalid, "{} is too small: {} bytes are needed", path, kSize);
  for (uint64_t number = 0; number < kSize / kSector && !overwrite; ++number) {
    Sector sector;
    if (auto read = read_sector(fd->get(), path, number, sector); !read) return read;
    if (sector.zero()) continue;
    return fail_as(ErrorCode::kConflict, "{} {}", path, number == 0 && is_header(sector)
                                                        ? "is prepared already: made anew it forgets whom it names"
                                                        : "is not empty: it may hold something else");
  }
  Sector empty, header;
  for (uint64_t number = 0; number < kSize / kSector; ++number)
    if (auto written = write_sector(fd->get(), path, number, empty); !written) return written;
  header.fill(header_of(cluster));
  return write_sector(fd->get(), path, 0, header);
}

}  // namespace baton
