// Bytes that follow from a secret: HKDF with SHA-256 (RFC 5869).
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

namespace baton {

/// Fills `out` (at most 8160 bytes). `info` says what for: other words give other bytes. An empty `salt` is none.
void hkdf_sha256(std::string_view secret, std::string_view salt, std::string_view info, std::span<uint8_t> out);

}  // namespace baton
