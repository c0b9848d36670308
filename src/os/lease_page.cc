// See lease_page.h.
#include "src/os/lease_page.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <new>

#include "src/os/file_text.h"
#include "src/os/owned_fd.h"

namespace baton {

namespace {

LeasePageLayout* map_page(const std::string& path, bool writable) {
  OwnedFd file(::open(path.c_str(), (writable ? O_RDWR : O_RDONLY) | O_CLOEXEC | O_NOFOLLOW));
  struct stat status {};
  if (!file || ::fstat(file.get(), &status) != 0 || status.st_size != kLeasePageBytes) return nullptr;
  void* memory =
      ::mmap(nullptr, kLeasePageBytes, PROT_READ | (writable ? PROT_WRITE : 0), MAP_SHARED, file.get(), 0);
  return memory == MAP_FAILED ? nullptr : static_cast<LeasePageLayout*>(memory);
}

bool is_valid(const LeasePageLayout* page) {
  return page != nullptr && page->magic == kLeasePageMagic && page->version == kLeasePageVersion;
}

void unmap_page(const LeasePageLayout* page) {
  if (page != nullptr) ::munmap(const_cast<LeasePageLayout*>(page), kLeasePageBytes);
}

}  // namespace

Result<LeaseWriter> LeaseWriter::open(const std::string& path, ServerId server) {
  LeasePageLayout* page = map_page(path, true);
  if (!is_valid(page) || page->server != server.value) {
    unmap_page(page);
    std::string text(kLeasePageBytes, '\0');
    auto* fresh = ::new (text.data()) LeasePageLayout;
    fresh->magic = kLeasePageMagic;
    fresh->version = kLeasePageVersion;
    fresh->server = server.value;
    fresh->deadline_ns.store(0);
    auto made = make_directories(path.substr(0, path.rfind('/')));
    if (made) made = replace_text_file(path, text, 0644);
    if (!made) return pass(made);
    page = map_page(path, true);
  }
  if (page == nullptr) return fail("cannot map the lease page {}: {}", path, errno_text());
  ::mlock(page, kLeasePageBytes);  // best effort: tmpfs pages could be swapped out
  return LeaseWriter(page);
}

LeaseWriter::LeaseWriter(LeaseWriter&& other) noexcept : page_(std::exchange(other.page_, nullptr)) {}

LeaseWriter& LeaseWriter::operator=(LeaseWriter&& other) noexcept {
  std::swap(page_, other.page_);
  return *this;
}

LeaseWriter::~LeaseWriter() { unmap_page(page_); }

void LeaseWriter::set_deadline(Instant deadline) {
  page_->deadline_ns.store(to_ns(deadline), std::memory_order_release);
}

Instant LeaseWriter::deadline() const {
  return Instant(Duration(page_->deadline_ns.load(std::memory_order_acquire)));
}

LeaseReader::LeaseReader(std::string path) : path_(std::move(path)) { reopen(); }

LeaseReader::LeaseReader(LeaseReader&& other) noexcept
    : path_(std::move(other.path_)), page_(std::exchange(other.page_, nullptr)) {}

LeaseReader& LeaseReader::operator=(LeaseReader&& other) noexcept {
  std::swap(path_, other.path_);
  std::swap(page_, other.page_);
  return *this;
}

LeaseReader::~LeaseReader() { unmap(); }

void LeaseReader::unmap() { unmap_page(std::exchange(page_, nullptr)); }

bool LeaseReader::reopen() {
  unmap();
  const LeasePageLayout* page = map_page(path_, false);
  is_valid(page) ? static_cast<void>(page_ = page) : unmap_page(page);
  return mapped();
}

}  // namespace baton
