// The guard's page: memory shared with a file on tmpfs, so that no write waits for a disk. One thread.
#include "src/guard/guard_page.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <atomic>
#include <cstring>

#include "src/base/checksum.h"
#include "src/os/owned_fd.h"

namespace baton::guard {

namespace {

constexpr size_t kPlaceBytes = 64 * 1024;
constexpr size_t kPageBytes = 2 * kPlaceBytes;
constexpr size_t kHeaderBytes = 16;  // number, length, checksum of number, length and content

struct Place {
  uint64_t number = 0;
  std::span<const uint8_t> content;  // empty: not valid
};

uint32_t checksum(uint64_t number, std::span<const uint8_t> content) {
  Bytes covered;
  ByteWriter out(covered);
  out.put(number);
  out.put(static_cast<uint32_t>(content.size()));
  out.put_bytes(content);
  return crc32c(covered);
}

Place read_place(const uint8_t* memory) {
  ByteReader in({memory, kPlaceBytes});
  Place place;
  place.number = in.take<uint64_t>();
  const auto length = in.take<uint32_t>();
  const auto sum = in.take<uint32_t>();
  if (place.number == 0 || length > kPlaceBytes - kHeaderBytes) return {};
  place.content = {memory + kHeaderBytes, length};
  return checksum(place.number, place.content) == sum ? place : Place{};
}

}  // namespace

Result<GuardPage> GuardPage::open(const std::string& path) {
  OwnedFd file(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!file) return fail("cannot open the guard's page {}: {}", path, errno_text());
  if (::ftruncate(file.get(), kPageBytes) != 0) return fail("cannot size the guard's page {}: {}", path, errno_text());
  void* memory = ::mmap(nullptr, kPageBytes, PROT_READ | PROT_WRITE, MAP_SHARED, file.get(), 0);
  if (memory == MAP_FAILED) return fail("cannot map the guard's page {}: {}", path, errno_text());
  return GuardPage(static_cast<uint8_t*>(memory));
}

GuardPage::GuardPage(GuardPage&& other) noexcept : memory_(std::exchange(other.memory_, nullptr)) {}

GuardPage::~GuardPage() {
  if (memory_ != nullptr) ::munmap(memory_, kPageBytes);
}

Kept GuardPage::load() const {
  const Place first = read_place(memory_);
  const Place second = read_place(memory_ + kPlaceBytes);
  const Place& newer = first.number > second.number ? first : second;
  if (newer.number == 0) return {};
  auto kept = decode_kept(newer.content);
  return kept ? *kept : Kept{};
}

Status GuardPage::keep(const Kept& kept) {
  const Bytes content = encode_kept(kept);
  if (content.size() > kPlaceBytes - kHeaderBytes)
    return fail("what batond told takes {} bytes, more than the guard's page has", content.size());
  const uint64_t first = read_place(memory_).number;
  const uint64_t second = read_place(memory_ + kPlaceBytes).number;
  uint8_t* place = first > second ? memory_ + kPlaceBytes : memory_;
  const uint64_t number = std::max(first, second) + 1;
  Bytes header;
  ByteWriter out(header);
  out.put(number);
  out.put(static_cast<uint32_t>(content.size()));
  out.put(checksum(number, content));
  // A kill in between leaves a checksum that does not fit, and the other place.
  std::memcpy(place + kHeaderBytes, content.data(), content.size());
  std::atomic_signal_fence(std::memory_order_seq_cst);
  std::memcpy(place, header.data(), header.size());
  return {};
}

}  // namespace baton::guard
