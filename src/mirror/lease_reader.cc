// The page is mapped once and read with one atomic load; only its file is looked at from time to time.
#include "src/mirror/lease_reader.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "src/os/owned_fd.h"

namespace baton::mirror {
namespace {
constexpr size_t kMapped = kLeasePageBytes;
}

LeaseReader::LeaseReader(std::string path, ServerId self) : path_(std::move(path)), self_(self) { refresh(); }

LeaseReader::~LeaseReader() { unmap(); }

void LeaseReader::unmap() {
  if (page_ != nullptr) munmap(const_cast<LeasePageLayout*>(page_), kMapped);
  page_ = nullptr;
}

void LeaseReader::refresh() {
  struct stat status {};
  if (stat(path_.c_str(), &status) != 0) {
    problem_ = fmt::format("the lease page {} is missing: {}", path_, errno_text());
    return unmap();
  }
  if (page_ != nullptr && status.st_dev == device_ && status.st_ino == inode_) return;
  unmap();
  OwnedFd fd(open(path_.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd) {
    problem_ = fmt::format("cannot open the lease page {}: {}", path_, errno_text());
    return;
  }
  map(fd.get());
}

void LeaseReader::map(int fd) {
  struct stat status {};
  // A page beyond the file's end would kill the reader.
  if (fstat(fd, &status) != 0 || status.st_size < static_cast<off_t>(sizeof(LeasePageLayout))) {
    problem_ = fmt::format("the lease page {} is too short", path_);
    return;
  }
  void* memory = mmap(nullptr, kMapped, PROT_READ, MAP_SHARED, fd, 0);
  if (memory == MAP_FAILED) {
    problem_ = fmt::format("cannot map the lease page {}: {}", path_, errno_text());
    return;
  }
  page_ = static_cast<const LeasePageLayout*>(memory);
  if (page_->magic != kLeasePageMagic || page_->version != kLeasePageVersion || page_->server != self_.value) {
    problem_ = fmt::format("the lease page {} is not one of server {} in version {}", path_, self_, kLeasePageVersion);
    return unmap();
  }
  device_ = status.st_dev;
  inode_ = status.st_ino;
  problem_.clear();
}

}  // namespace baton::mirror
