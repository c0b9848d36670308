// See filesystem_units.h. The numbers are of the kernel's on-disk formats: ext4 in little-endian, xfs in big-endian.
#include "src/format/filesystem_units.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>

namespace baton {

namespace {

constexpr size_t kLookedAt = 2048;
constexpr size_t kExtMagic = 0x438, kExtLogBlockSize = 0x418;
constexpr size_t kXfsSectorSize = 102;

using Begin = std::array<unsigned char, kLookedAt>;

bool is_ext(const Begin& begin) { return begin[kExtMagic] == 0x53 && begin[kExtMagic + 1] == 0xef; }
bool is_xfs(const Begin& begin) { return std::memcmp(begin.data(), "XFSB", 4) == 0; }

std::string judge(const Begin& begin) {
  if (is_ext(begin)) {
    const unsigned exponent = begin[kExtLogBlockSize];  // the upper bytes are zero: at most 64 KiB
    if (exponent >= 2) return "";
    return fmt::format("an ext2, ext3 or ext4 filesystem of blocks of {} bytes", 1024u << exponent);
  }
  if (!is_xfs(begin)) return "";
  const unsigned sector = begin[kXfsSectorSize] * 256u + begin[kXfsSectorSize + 1];
  return sector >= kExportSectorBytes ? "" : fmt::format("an xfs filesystem of sectors of {} bytes", sector);
}

}  // namespace

Result<std::string> describe_small_units(const std::string& path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return fail("cannot open {}: {}", path, std::strerror(errno));
  Begin begin{};
  const ssize_t count = ::pread(fd, begin.data(), begin.size(), 0);
  const int error = errno;
  ::close(fd);
  if (count < 0) return fail("cannot read {}: {}", path, std::strerror(error));
  return judge(begin);
}

std::string help_with_small_units(const std::string& units) {
  const bool xfs = units.find("xfs") != std::string::npos;
  return fmt::format("copy the data into a filesystem made with {}, and adopt that",
                     xfs ? "mkfs.xfs -s size=4096" : "mkfs.ext4 -b 4096");
}

}  // namespace baton
