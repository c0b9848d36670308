// CRC32C (Castagnoli) of records on disk and frames on the wire. Any thread.
#pragma once

#include <cstdint>
#include <span>

namespace baton {

/// The standard CRC32C: initial value and final inversion included; crc32c("123456789") is 0xE3069283.
uint32_t crc32c(std::span<const uint8_t> bytes);

}  // namespace baton
