// CRC32C by ISA-L, which leaves the inversions to its caller. Any thread.
#include "src/base/checksum.h"

#include <isa-l/crc.h>

namespace baton {

uint32_t crc32c(std::span<const uint8_t> bytes) {
  // ISA-L's signature lacks const; it does not write.
  auto* start = const_cast<unsigned char*>(bytes.data());
  return ~crc32_iscsi(start, static_cast<int>(bytes.size()), 0xFFFFFFFFu);
}

}  // namespace baton
