// CRC32C: long inputs by ISA-L, which leaves the inversions to its caller; short ones by the processor's own
// instruction, as ISA-L's wide registers cost more to enter than they save. Any thread.
#include "src/base/checksum.h"

#include <isa-l/crc.h>

#include <cstring>

namespace baton {
namespace {

constexpr size_t kShort = 128;

#if defined(__x86_64__)
__attribute__((target("sse4.2"))) uint32_t short_crc32c(std::span<const uint8_t> bytes) {
  uint64_t sum = 0xFFFFFFFFu;
  while (bytes.size() >= 8) {
    uint64_t word = 0;
    std::memcpy(&word, bytes.data(), sizeof word);
    sum = __builtin_ia32_crc32di(sum, word);
    bytes = bytes.subspan(8);
  }
  for (const uint8_t byte : bytes) sum = __builtin_ia32_crc32qi(static_cast<uint32_t>(sum), byte);
  return ~static_cast<uint32_t>(sum);
}
bool has_instruction() {
  static const bool kHas = __builtin_cpu_supports("sse4.2");
  return kHas;
}
#else
uint32_t short_crc32c(std::span<const uint8_t>) { return 0; }
bool has_instruction() { return false; }
#endif

}  // namespace

uint32_t crc32c(std::span<const uint8_t> bytes) {
  if (bytes.size() <= kShort && has_instruction()) return short_crc32c(bytes);
  // ISA-L's signature lacks const; it does not write.
  auto* start = const_cast<unsigned char*>(bytes.data());
  return ~crc32_iscsi(start, static_cast<int>(bytes.size()), 0xFFFFFFFFu);
}

}  // namespace baton
