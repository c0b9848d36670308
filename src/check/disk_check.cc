// See disk_check.h.
#include "src/check/disk_check.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/random.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdlib>

#include "src/base/result.h"
#include "src/os/owned_fd.h"

namespace baton::check {

namespace {

constexpr size_t kBlock = 4096;
struct alignas(kBlock) Block {
  std::array<unsigned char, kBlock> bytes;
};

/// Not every filesystem has files without a name (some of FUSE), or reads past the cache (O_DIRECT).
OwnedFd open_file(const std::string& directory) {
  for (const int direct : {O_DIRECT, 0}) {
    OwnedFd file(::open(directory.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC | direct, 0600));
    if (file || (errno != EINVAL && errno != EOPNOTSUPP && errno != EISDIR)) return file;
  }
  std::string path = directory + "/.baton-check-XXXXXX";
  OwnedFd file(::mkostemp(path.data(), O_CLOEXEC));
  if (file) ::unlink(path.c_str());
  return file;
}

CheckResult failed(const char* what, const std::string& directory) {
  // These are no fault of the disk.
  constexpr int kOthers[] = {ENOSPC, EDQUOT, ENOENT, ENOTDIR, EACCES, EPERM, EMFILE, ENFILE, ENOMEM};
  const bool unknown = std::find(std::begin(kOthers), std::end(kOthers), errno) != std::end(kOthers);
  return {unknown ? Outcome::kCouldNotCheck : Outcome::kBad, fmt::format("{} {}: {}", what, directory, errno_text())};
}

}  // namespace

CheckResult check_disk(const std::string& directory) {
  const auto begin = std::chrono::steady_clock::now();
  Block written, read;
  if (::getrandom(written.bytes.data(), kBlock, 0) != static_cast<ssize_t>(kBlock)) return {Outcome::kCouldNotCheck, "no random bytes"};
  const OwnedFd file = open_file(directory);
  if (!file) return failed("cannot make a file in", directory);
  ssize_t done = ::pwrite(file.get(), written.bytes.data(), kBlock, 0);
  if (done >= 0 && done != static_cast<ssize_t>(kBlock)) errno = ENOSPC;
  if (done != static_cast<ssize_t>(kBlock)) return failed("cannot write to the disk of", directory);
  if (::fdatasync(file.get()) != 0) return failed("cannot flush the disk of", directory);
  ::posix_fadvise(file.get(), 0, kBlock, POSIX_FADV_DONTNEED);
  done = ::pread(file.get(), read.bytes.data(), kBlock, 0);
  if (done < 0) return failed("cannot read from the disk of", directory);
  if (done != static_cast<ssize_t>(kBlock) || read.bytes != written.bytes)
    return {Outcome::kBad, "the disk of " + directory + " gave back something else than was written"};
  const auto took = std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::steady_clock::now() - begin);
  return {Outcome::kGood, fmt::format("written and read in {} ms", took.count())};
}

}  // namespace baton::check
